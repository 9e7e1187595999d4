"""The commands that say how things are: ping, dns, netcheck, report, logout, status and health."""
from __future__ import annotations

import json
import os
import re
from typing import Iterator

import pytest
from support.lab import CONTROLLER, HOME_DNS, ISP_DNS, LAPTOP, PUBLIC_WEB, Lab
from support.netns import Host, Result, wait_for
from support.tg import CLIENT_ADDRESS, Tg

FAILED, USAGE, UNREACHABLE, LOGIN, DENIED, CONFLICT = 1, 2, 3, 4, 5, 6


def answer(result: Result) -> dict[str, object]:
    got = json.loads(result.out)
    assert got["schema_version"] == 1 and result.out.count("\n") == 1, result
    return got


def one_line(result: Result, code: int, *words: str) -> None:
    assert result.code == code, result
    assert result.err.startswith("tg: ") and result.err.count("\n") == 1 and not result.out, result
    assert all(w in result.err for w in words), f"{words} is not in: {result.err}"


def first_probe(result: Result) -> dict[str, str]:
    return answer(result)["probes"][0]                              # type: ignore[index,no-any-return]


# -- ping ------------------------------------------------------------------------------------------------------------
def test_ping_measures_tunnel_and_host(tg: Tg) -> None:
    got = answer(tg.client("ping nas.home.int --count 2 --json"))
    assert (got["host"], got["sent"], got["received"]) == ("nas.home.int", 2, 2)
    for probe in got["probes"]:
        assert (probe["resource"], probe["connector"], probe["path"]) == ("NAS", "home-1", "relayed"), probe
        assert 0 < probe["tunnel_ms"] < 1000 and 0 <= probe["host_ms"] < 1000, probe
        assert probe["total_ms"] >= probe["host_ms"], probe


def test_ping_prints_a_line_a_probe(tg: Tg) -> None:
    lines = tg.client("ping nas.home.int --count 2").ok().out.splitlines()
    assert lines[0] == "nas.home.int is the Resource NAS (network home)"
    for i in (1, 2):
        assert re.match(rf"{i}  home-1: relayed by \S+, tunnel [\d.]+ ms, nas.home.int [\d.]+ ms, together", lines[i]), lines
    assert lines[3].startswith("2 of 2 answered; ")


def test_ping_takes_the_address_that_stands_for_a_name(tg: Tg) -> None:
    assert answer(tg.client(f"ping {tg.lookup('nas.home.int')} --count 1 --json"))["host"] == "nas.home.int"


@pytest.mark.parametrize("host,code,state,words", [
    ("example.org", UNREACHABLE, "no-resource", "no Resource matches"),
    ("web.home.int", DENIED, "not-allowed", "tcp 80, 8000-8100, no ping"),
    ("gone.home.int", UNREACHABLE, "unreachable", "the private DNS does not know gone.home.int"),
    ("down.home.int", UNREACHABLE, "unreachable", "home-1 has no way to down.home.int"),
    ("noarp.home.int", UNREACHABLE, "unreachable", "noarp.home.int, or nobody is there"),       # when ARP has given up
    ("evil.home.int", DENIED, "denied", "an address that a connector dials only when"),
])
def test_ping_says_how_far_it_came(tg: Tg, host: str, code: int, state: str, words: str) -> None:
    result = tg.client(f"ping {host} --count 1 --timeout 20 --json")
    probe = first_probe(result)
    assert (result.code, probe["state"]) == (code, state), result
    assert words in probe["text"]
    shown = tg.client(f"ping {host} --count 1 --timeout 20")
    assert shown.code == code and words in shown.out, shown


def test_ping_says_that_the_host_is_silent(tg: Tg, lab: Lab) -> None:
    lab.nas.nft("table ip mute { chain input { type filter hook input priority filter\nicmp type echo-request drop\n}\n}")
    try:
        result = tg.client("ping nas.home.int --count 1 --timeout 5 --json")      # the tunnel has the whole time to prove that it works
    finally:
        lab.nas.nft("delete table ip mute")
    probe = first_probe(result)
    assert (result.code, probe["state"]) == (UNREACHABLE, "no-reply"), result
    assert "nas.home.int does not answer" in probe["text"]


def test_ping_says_that_the_connector_is_offline(tg: Tg) -> None:
    assert tg.connector
    tg.connector.stop()
    def state() -> str:
        return str(first_probe(tg.client("ping nas.home.int --count 1 --timeout 1 --json"))["state"])
    wait_for("ping says that the connector is offline", lambda: state() == "no-connector", 15)
    result = tg.client("ping nas.home.int --count 1 --timeout 1")
    assert result.code == UNREACHABLE and "the connector home-1 is offline" in result.out, result
    tg.start_connector()
    wait_for("ping answers again", lambda: state() == "reply", 15)


def test_ping_says_that_there_is_no_path(tg: Tg, lab: Lab) -> None:
    lab.internet.nft(f"""table ip wall {{ chain input {{ type filter hook input priority filter
                         ip saddr {LAPTOP} tcp dport 8444 reject with tcp reset
}}
}}""")
    try:
        def probe() -> dict[str, str]:
            return first_probe(tg.client("ping nas.home.int --count 1 --timeout 1 --json"))
        wait_for("ping says that there is no path", lambda: probe()["state"] == "path-down", 20)
        assert "no path to home-1: " in probe()["text"]
    finally:
        lab.internet.nft("delete table ip wall")
    tg.wait_works(10, "the relay may be reached again")


@pytest.mark.parametrize("words", [
    "ping nas.home.int:80", "ping http://nas.home.int/", "ping nas..home", "ping nas --count 0", "ping", "dns",
    "dns nas.home.int BLAH", "dns nas..int", "ping nas.home.int --timeout 0", "netcheck --timeout x", "netcheck --range x",
    "logout now", "explain nas..home", "up --interface a/b", "up --range 10.0.0.1/8", "up --timeout 0"])
def test_wrong_usage_has_one_line(tg: Tg, words: str) -> None:
    one_line(tg.client(words), USAGE)


# -- dns -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("question,code,expect,rule", [
    ("nas.home.int", 0, {"by": "tg", "rcode": "NOERROR", "resource": "NAS"}, "Resource NAS (nas.home.int, network home)"),
    ("nas.tg", 0, {"by": "tg", "resource": "NAS"}, "of which it is the alias"),
    ("nas.home.int AAAA", 0, {"by": "tg", "rcode": "NOERROR", "records": []}, "AAAA is left empty"),
    ("nas.home.int MX", 0, {"by": "connector"}, "a connector asked the private DNS"),
    ("b.lab.home.int", 0, {"by": "connector", "resource": "Lab"}, "home); a connector says that the name exists"),
    ("nope2.lab.home.int", FAILED, {"by": "connector", "rcode": "NXDOMAIN"}, "does not exist there"),
    ("example.org", 0, {"by": "server", "server": f"{ISP_DNS}:53"}, "no Resource matches"),
    ("no.such.example.org", FAILED, {"by": "server", "rcode": "NXDOMAIN"}, "no Resource matches"),
    ("use-application-dns.net", FAILED, {"by": "tg", "rcode": "NXDOMAIN"}, "browsers"),
])
def test_dns_says_what_is_answered_and_why(tg: Tg, question: str, code: int, expect: dict[str, object],
                                           rule: str) -> None:
    result = tg.client(f"dns {question} --json")
    got = answer(result)
    assert result.code == code and rule in str(got["rule"]), result
    assert {k: got.get(k) for k in expect} == expect, result


def test_dns_shows_what_an_application_gets(tg: Tg) -> None:
    address = tg.lookup("nas.home.int")
    shown = tg.client("dns nas.home.int").ok().out
    assert f"           nas.home.int. 15 IN A {address}\n" in shown, shown
    assert "flags qr aa rd ra ad, 1 record\n" in shown, shown
    assert answer(tg.client("dns nas.home.int --json"))["local"] == address
    assert f"example.org. 60 IN A {PUBLIC_WEB}\n" in tg.client("dns example.org").ok().out
    assert " IN PTR nas.home.int.\n" in tg.client(f"dns {address}").ok().out
    assert " IN MX 10 mail.home.int.\n" in tg.client("dns nas.home.int mx").ok().out


def test_dns_says_that_nobody_answers(tg: Tg, lab: Lab) -> None:
    lab.isp_dns.stop()
    try:
        result = tg.client("dns example.org", timeout=15)
        assert result.code == UNREACHABLE, result
        assert f"no DNS server of the system answers ({ISP_DNS}:53)" in result.out, result
    finally:
        lab.start_isp_dns()


# -- netcheck --------------------------------------------------------------------------------------------------------
def checks(tg: Tg, code: int = 0, more: str = "") -> dict[str, list[dict[str, str]]]:
    result = tg.client(f"netcheck --json --timeout 3 {more}", timeout=30)
    assert result.code == code, result
    out: dict[str, list[dict[str, str]]] = {}
    for one in answer(result)["checks"]:                            # type: ignore[attr-defined]
        out.setdefault(one["check"], []).append(one)
    return out


def test_netcheck_finds_everything_well(tg: Tg) -> None:
    found = checks(tg)
    for name in ("client", "identity", "controller", "clock", "relay", "dns", "tg's dns", "tun", "nftables",
                 "resolv.conf", "uplink", "range"):
        assert [c["state"] for c in found[name]] == ["ok"], found[name]
    assert found["controller"][0]["address"] == f"{CONTROLLER}:8443"
    relayed = [c for c in found["connector"] if c["state"] == "ok"]
    assert [c["path"] for c in relayed] == ["relayed"] and "home-1 (home)" in relayed[0]["text"]
    assert "no direct address" in " ".join(c["text"] for c in found["connector"])
    shown = tg.client("netcheck").ok().out
    assert re.search(rf"^ok +dns +{ISP_DNS}:53: UDP [\d.]+ ms.*, TCP [\d.]+ ms", shown, re.M), shown
    assert tg.works(), "a check disturbs nothing"


def test_netcheck_works_without_the_client(tg: Tg) -> None:
    tg.client("down").ok()
    found = checks(tg)
    assert found["client"][0]["state"] == "unchecked" and found["client"][0]["text"] == "not running"
    for name in ("identity", "controller", "clock", "relay", "dns", "tun", "resolv.conf", "range"):
        assert found[name][0]["state"] == "ok", found[name]
    assert [c["path"] for c in found["connector"] if c["state"] == "ok"] == ["relayed"]
    tg.client_up().ok()


def test_netcheck_says_what_is_broken_and_what_could_not_be_checked(tg: Tg, lab: Lab) -> None:
    assert tg.controller
    tg.client("down").ok()
    tg.controller.stop()
    lab.isp_dns.stop()
    try:
        found = checks(tg, UNREACHABLE)
        assert found["controller"][0]["state"] == "failed" and "refused" in found["controller"][0]["text"]
        assert found["clock"][0]["state"] == found["connector"][0]["state"] == "unchecked"
        assert found["dns"][0]["state"] == "failed" and "UDP no answer, TCP no answer" in found["dns"][0]["text"]
    finally:
        lab.start_isp_dns()
        tg.start_controller()


def test_netcheck_knows_a_captive_portal_from_a_controller_that_is_away(tg: Tg, lab: Lab) -> None:
    """Plain HTTP where the controller should be."""
    tg.client("down").ok()
    lab.internet.nft(f"""table ip portal {{ chain pre {{ type nat hook prerouting priority dstnat
                         ip saddr {LAPTOP} tcp dport {{ 8443, 8444 }} dnat to {PUBLIC_WEB}:80
}}
}}""")
    try:
        text = checks(tg, FAILED)["controller"][0]["text"]
        assert "captive portal" in text, text
    finally:
        lab.internet.nft("delete table ip portal")
    assert "captive" not in checks(tg)["controller"][0]["text"]


def test_netcheck_sees_who_else_has_the_range(tg: Tg, lab: Lab) -> None:
    tg.client("down").ok()
    lab.laptop.ip("route add 100.100.0.0/16 via 198.51.100.1")
    try:
        found = checks(tg, CONFLICT)["range"][0]
        assert found["state"] == "failed" and "overlaps the route 100.100.0.0/16" in found["text"], found
        assert checks(tg, 0, "--range 100.64.0.0/12")["range"][0]["state"] == "ok"
    finally:
        lab.laptop.ip("route del 100.100.0.0/16")


def test_netcheck_of_a_stranger(tg: Tg) -> None:
    result = tg.run(tg.lab.nas, "client netcheck --timeout 3", state="nobody", timeout=20)
    assert result.code == LOGIN, result
    assert re.search(r"^failed +identity +this machine is not enrolled", result.out, re.M), result
    assert re.search(rf"^ok +dns +{HOME_DNS}:53", result.out, re.M) and "unchecked  controller" in result.out, result


# -- report ----------------------------------------------------------------------------------------------------------
def secrets_of(tg: Tg) -> list[str]:
    """Everything in the state directory that must not leave it."""
    keys = [line for name in ("key.pem", "chain.pem", "root.pem")
            for line in (tg.state("client") / name).read_text().splitlines() if not line.startswith("-")]
    return [*keys, json.loads((tg.state("client") / "agent.json").read_text())["token"]]


def test_a_report_holds_no_secret_and_no_name(tg: Tg) -> None:
    token = tg.token("device", "alice@example.com")
    with (tg.state("client") / "client.log").open("a") as log:
        log.write(f"2026-01-01T00:00:00Z info nas.home.int at 192.168.1.50: {token}\n")
    text = tg.client("report -", timeout=30).ok().out
    for private in ["alice", "nas.home.int", "home-1", "NAS", "192.168.1.50", CONTROLLER, LAPTOP, ISP_DNS, "10.0.5.",
                    token, *secrets_of(tg)]:
        assert private not in text, private
    for there in ["== status", "== netcheck", "== routes", "== resolv.conf", "== log", "tg         ",
                  "kernel     Linux", "100.96.0.0/12", "nameserver 100.95.0.251", f"{CLIENT_ADDRESS}/32"]:
        assert there in text, there


def test_a_full_report_keeps_names_and_still_no_secret(tg: Tg) -> None:
    text = tg.client("report - --full", timeout=30).ok().out
    for there in ["alice@example.com", "nas.home.int", CONTROLLER, ISP_DNS]:
        assert there in text, there
    for secret in secrets_of(tg):
        assert secret not in text


def test_a_report_is_a_new_file_for_its_owner(tg: Tg, laptop: Host) -> None:
    result = laptop.run(tg.words("client report"), timeout=30,
                        env={**tg.env(), "SUDO_UID": "65534", "SUDO_GID": "65534"})
    path = tg.lab.root / result.ok().out.strip()
    assert re.fullmatch(r"tg-report-\d{8}-\d{6}\.txt", path.name)
    assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_uid == 65534
    assert result.err.startswith("tg: the report holds ") and "Read it before you send it." in result.err
    before = path.read_text()
    one_line(tg.client("report", str(path), timeout=30), CONFLICT, "exists already")
    link = tg.lab.root / f"link-{os.urandom(4).hex()}"
    link.symlink_to("/etc/tg-nobody-made-this")
    one_line(tg.client("report", str(link), timeout=30), CONFLICT)
    assert path.read_text() == before
    one_line(tg.client("report", "/nowhere/report.txt"), FAILED, "/nowhere/report.txt")
    named = tg.lab.root / f"named-{os.urandom(4).hex()}.txt"
    assert answer(tg.client("report --json", str(named), timeout=30))["file"] == str(named) and named.exists()


def test_a_report_without_the_client(tg: Tg) -> None:
    tg.client("down").ok()
    text = tg.client("report -", timeout=30).ok().out
    assert "tg client is not running" in text and "== netcheck" in text and "== resolv.conf" in text


# -- logout ----------------------------------------------------------------------------------------------------------
def test_logout_forgets_everything(tg: Tg, laptop: Host) -> None:
    device = tg.status()["device"]
    result = tg.client("logout")
    assert result.code == 0 and f"tg controller device delete {device}\n" in result.err, result
    assert sorted(p.name for p in tg.state("client").iterdir()) == ["lock"]
    assert not tg.client_pids() and laptop.resolv_conf.read_text() == f"nameserver {ISP_DNS}\n"
    one_line(tg.client("up"), LOGIN, "--token")
    again = tg.client("logout --json")
    assert again.code == 0 and answer(again) == {"schema_version": 1, "state": "logged-out", "was_logged_in": False}
    tg.admin("device delete", str(device)).ok()
    tg.client_up(tg.token("device", "alice@example.com")).ok()
    assert tg.works()


def test_logout_forgets_a_damaged_identity_too(tg: Tg) -> None:
    (tg.state("client") / "key.pem").write_text("nonsense")
    got = answer(tg.client("logout --json").ok())
    assert got["was_logged_in"] is True and "device" not in got
    assert sorted(p.name for p in tg.state("client").iterdir()) == ["lock"]
    tg.stop()


@pytest.mark.parametrize("said,stays", [("n", True), ("", True), ("y", False)])
def test_logout_asks_at_a_terminal(tg: Tg, laptop: Host, said: str, stays: bool) -> None:
    words = " ".join(tg.words("client logout"))
    result = laptop.run(["script", "-qec", words, "/dev/null"], input=f"{said}\n", env=tg.env())
    assert "Go on? [y/N]" in result.out, result
    assert (tg.state("client") / "agent.json").exists() == stays
    assert tg.client("status").code == (0 if stays else UNREACHABLE)
    if not stays:
        tg.stop()


# -- everywhere ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("words", ["ping nas.home.int", "dns nas.home.int", "resources", "explain nas.home.int",
                                   "status"])
def test_without_the_client_there_is_one_clear_line(cold_tg: Tg, words: str) -> None:
    one_line(cold_tg.run(cold_tg.lab.nas, f"client {words}", state="never"), UNREACHABLE, "tg client is not running")


def test_one_file_serves_all_commands_and_variables_win_over_it(tg: Tg, laptop: Host) -> None:
    path = tg.lab.root / "client.toml"
    path.write_text(f'state = "{tg.state("client")}"\ninterface = "tg0"\ncount = 2\njson = true\n')
    def run(words: str, **env: str) -> Result:
        return laptop.run([tg.binary, *words.split()], env={**tg.env(), **env})
    assert answer(run(f"client status --config {path}"))["state"] == "online"
    assert answer(run("client ping nas.home.int", TG_CONFIG=str(path)))["sent"] == 2
    assert answer(run("client ping nas.home.int", TG_CONFIG=str(path), TG_COUNT="1"))["sent"] == 1
    assert answer(run("client ping nas.home.int --count 1", TG_CONFIG=str(path), TG_COUNT="9"))["sent"] == 1
    path.write_text("cuont = 2\n")
    one_line(run(f"client status --config {path}"), USAGE, f"{path}:1: cuont: unknown key")


@pytest.fixture
def deaf_home(tg: Tg, lab: Lab) -> Iterator[Tg]:
    lab.home_dns.stop()
    yield tg
    lab.start_home_dns()


def test_connector_status_tells_whether_its_dns_answers(tg: Tg) -> None:
    shown = tg.run(tg.lab.connector, "connector status").ok().out
    assert re.search(rf"^dns        {HOME_DNS}:53: answers in [\d.]+ ms", shown, re.M), shown
    assert "connector  home-1 of network home: online\n" in shown, shown
    assert f"relay      {CONTROLLER}:8444: connected\n" in shown, shown


def test_connector_status_tells_that_its_dns_is_silent(deaf_home: Tg) -> None:
    result = deaf_home.run(deaf_home.lab.connector, "connector status --timeout 2")
    assert f"dns        {HOME_DNS}:53: does not answer\n" in result.ok().out
    assert deaf_home.run(deaf_home.lab.connector, "connector health").code == 0, "it can serve addresses"


def test_connector_health_is_one_line_and_0_or_1(tg: Tg) -> None:
    assert tg.connector and tg.controller
    well = tg.run(tg.lab.connector, "connector health")
    assert (well.code, well.err) == (0, "") and re.fullmatch(r"healthy: \d+ tunnels, \d+ flows\n", well.out), well
    one_line(tg.run(tg.lab.connector, "connector health", state="never"), FAILED,
             "unhealthy: tg connector is not running")
    tg.controller.stop()
    wait_for("health says so", lambda: tg.run(tg.lab.connector, "connector health").code == FAILED, 10)
    one_line(tg.run(tg.lab.connector, "connector health"), FAILED, "unhealthy: controller: ")
    assert answer(tg.run(tg.lab.connector, "connector health --json"))["healthy"] is False
    tg.start_controller()
    tg.wait_works(15, "the controller came back")
