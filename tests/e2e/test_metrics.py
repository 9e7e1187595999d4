"""What the roles tell of themselves to machines: --metrics for Prometheus and for probes, and logs as JSON."""
from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import NAS_PAGE
from support.netns import Host, Result, wait_for
from support.tg import PEOPLE, RELAY_LISTEN, Tg, resource

PORT = 9464
POLICY = PEOPLE + '[[relay]]\nname = "relay-1"\naddress = "203.0.113.80:8444"\n' + resource("NAS", "nas.home.int")
METRICS = ["--metrics", f"127.0.0.1:{PORT}"]


@pytest.fixture(scope="module")
def watched(session_tg: Tg) -> Iterator[Tg]:
    """Every role with --metrics, on the loopback of its host; the relay's is on another port, since the controller is there."""
    tg = session_tg
    tg.stop()
    tg.controller_arguments = [*METRICS, "--log-format", "json"]
    tg.connector_arguments = [*METRICS, "--log-format", "json"]
    tg.client_arguments = [*METRICS, "--log-format", "json"]
    try:
        tg.start_with_relay(POLICY, "--metrics", f"127.0.0.1:{PORT + 1}")
        yield tg
    finally:
        tg.stop()
        tg.relay_listen = RELAY_LISTEN
        tg.controller_arguments, tg.connector_arguments, tg.client_arguments, tg.policy = [], [], [], ""


def where(tg: Tg, role: str) -> tuple[Host, int]:
    return {"controller": (tg.lab.internet, PORT), "relay": (tg.lab.internet, PORT + 1), "connector": (tg.lab.connector, PORT),
            "client": (tg.lab.laptop, PORT)}[role]


def get(tg: Tg, role: str, path: str, *more: str) -> Result:
    host, port = where(tg, role)
    return host.run(["curl", "-sS", "-m", "5", "-w", "\n%{http_code}", *more, f"http://127.0.0.1:{port}{path}"])


def scrape(tg: Tg, role: str) -> dict[str, float]:
    text, _, code = get(tg, role, "/metrics").ok().out.rpartition("\n")
    assert code == "200"
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{.*\})?) (\S+)$", text, re.M)}


ROLES = ["controller", "relay", "connector", "client"]


@pytest.mark.parametrize("role", ROLES)
def test_the_metrics_are_such_as_prometheus_likes(watched: Tg, role: str) -> None:
    text, _, code = get(watched, role, "/metrics").ok().out.rpartition("\n")
    assert code == "200"
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, ""), checked
    for secret in ("alice", "NAS", "nas.home.int", "laptop"):
        assert secret not in text, "metrics name no person, device or Resource"
    found = scrape(watched, role)
    assert found["tg_ready"] == 1 and found[f'tg_build_info{{version="0.1.0",role="{role}"}}'] == 1
    assert found["process_resident_memory_bytes"] > 1e6 and found["process_open_fds"] > 3
    assert abs(found["process_start_time_seconds"] - time.time()) < 600
    assert get(watched, role, "/metrics", "-o", "/dev/null", "-D", "-").out.count("Content-Type: text/plain; version=0.0.4") == 1


@pytest.mark.parametrize("role", ROLES)
def test_probes_and_what_is_no_question(watched: Tg, role: str) -> None:
    assert get(watched, role, "/livez").out == "alive\n\n200"
    assert get(watched, role, "/readyz").out == "ready\n\n200"
    assert get(watched, role, "/").out == "there are /metrics, /livez and /readyz here\n\n404"
    assert get(watched, role, "/metrics", "-X", "DELETE").out == "only GET and HEAD are answered here\n\n405"
    assert get(watched, role, "/metrics", "-d", "x").out == "no body is taken here\n\n413"


def test_they_count_what_happens(watched: Tg) -> None:
    before = {role: scrape(watched, role) for role in ROLES}
    with flow(watched, 5000) as (near, far):
        near.sendall(b"x" * 1000)
        assert far.recv(1000)
        during = scrape(watched, "client")
        assert during['tg_client_flows{kind="tcp"}'] >= 1
        assert scrape(watched, "connector")['tg_connector_flows{protocol="tcp"}'] >= 1
    assert watched.lab.laptop.run(["curl", "-sS", "http://nas.home.int/"]).ok().out == NAS_PAGE
    with watched.lab.laptop.socket(timeout=5) as s:
        assert s.connect_ex((watched.lookup("nas.home.int"), 1)) != 0
    assert watched.admin("user create", "carol@example.com").code == 0
    after = {role: scrape(watched, role) for role in ROLES}

    def grew(role: str, name: str, least: float = 1) -> None:
        assert after[role][name] - before[role].get(name, 0) >= least, (name, before[role].get(name), after[role][name])
    grew("client", 'tg_client_flows_total{kind="tcp"}', 3)
    grew("client", 'tg_client_tcp_refused_total{reason="refused"}')
    grew("client", "tg_client_dns_queries_total", 2)
    grew("client", 'tg_client_dns_answers_total{from="tg"}', 2)
    grew("relay", "tg_relay_bytes_total", 1000)
    grew("connector", 'tg_connector_flows_established_total{protocol="tcp"}', 2)
    grew("connector", 'tg_connector_flows_failed_total{reason="refused"}')
    grew("connector", 'tg_connector_bytes_total{direction="up"}', 1000)
    grew("connector", 'tg_connector_bytes_total{direction="down"}', len(NAS_PAGE))
    grew("controller", "tg_controller_revision_total")
    grew("controller", 'tg_controller_users{kind="person"}')
    grew("controller", "tg_controller_audit_entries_total")
    assert after["controller"]['tg_controller_agents_online{role="device"}'] == 1
    assert after["controller"]['tg_controller_enrolments_total{outcome="let_in"}'] == 3
    assert after["client"]['tg_client_tunnels{state="up"}'] == 1 and after["relay"]["tg_relay_connectors"] == 1


def test_who_cannot_do_its_work_is_alive_and_not_ready(watched: Tg) -> None:
    assert watched.controller
    watched.controller.stop(10)
    try:
        def says(role: str, text: str) -> None:
            def there() -> bool:
                return text in get(watched, role, "/readyz").out and get(watched, role, "/readyz").out.endswith("503")
            wait_for(f"{role} is not ready: {text}", there, 20, explain=lambda: str(get(watched, role, "/readyz")))
            assert get(watched, role, "/livez").out == "alive\n\n200" and scrape(watched, role)["tg_ready"] == 0
        says("client", "not ready: controller 203.0.113.10:8443: ")
        says("connector", "not ready: controller: ")
        assert get(watched, "relay", "/readyz").out == "ready\n\n200"     # it goes on
        assert scrape(watched, "relay")["tg_relay_controller_connected"] == 0
    finally:
        watched.start_controller()
    wait_for("ready again", lambda: get(watched, "client", "/readyz").out == "ready\n\n200", 10)


def test_a_log_may_be_json(watched: Tg) -> None:
    assert watched.controller and watched.connector
    logs = {"connector": watched.connector.text(), "client": (watched.state("client") / "client.log").read_text(),
            "controller": watched.controller.text()}
    for role, text in logs.items():
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines, role
        for line in lines:
            assert set(line) == {"time", "level", "text"} and line["level"] in ("debug", "info", "warning", "error"), line
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["time"])
    assert any("online as alice@example.com" in json.loads(line)["text"] for line in logs["client"].splitlines())


def test_a_port_that_is_taken_and_one_that_is_none(watched: Tg) -> None:
    def said(text: str) -> Result:
        return watched.lab.internet.run([str(watched.binary), "controller", "serve", "--state", str(watched.state("other")), "--listen",
                                         "127.0.0.1:0", "--relay-listen", "none", "--metrics", text], env=watched.env())
    taken = said(f"127.0.0.1:{PORT}")
    assert taken.code == 6 and taken.err == f"tg: could not listen on 127.0.0.1:{PORT}: another program uses this port; see --metrics\n", taken
    wrong = said("localhost")
    assert wrong.code == 2 and wrong.err.startswith("tg: --metrics localhost: "), wrong
