"""The record of who used what: every flow with its end, everything that was denied or failed, once, whatever is killed."""
from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
from typing import Any, Callable, Iterator

import pytest
from support.flows import Drop, flow
from support.lab import CONNECTOR, LAPTOP, NAS, UDP_ECHO_PORT
from support.netns import Host, freeze, wait_for
from support.tg import RELAY_LISTEN, REPOSITORY, Tg
from test_direct import open_home, wait_direct      # noqa: F401

FAILED, USAGE, UNREACHABLE = 1, 2, 3
SOON = 10.0
Event = dict[str, Any]
_followers = itertools.count()


def events(tg: Tg, *more: str) -> list[Event]:
    found: list[Event] = json.loads(tg.admin("events", "--json", "--limit", "100000", *more).ok().out)["events"]
    return found


def last(tg: Tg) -> str:
    """A number to ask for what comes after it."""
    return str(json.loads(tg.admin("events", "--json", "--limit", "1").ok().out)["last"])


def of_port(port: int, kinds: set[str] | None = None) -> Callable[[Event], bool]:
    return lambda e: e["port"] == port and (kinds is None or e["kind"] in kinds)


def wait_events(tg: Tg, number: int, wanted: Callable[[Event], bool], *more: str, deadline: float = SOON) -> list[Event]:
    """As soon as there are so many that are wanted, and no more of them."""
    found: list[Event] = []
    def there() -> bool:
        found[:] = [e for e in events(tg, *more) if wanted(e)]
        return len(found) >= number
    wait_for(f"{number} events", there, deadline, 0.1, lambda: f"{json.dumps(found, indent=1)}\n{tg.explain()}")
    assert len(found) == number, found
    return found


def connector_events(tg: Tg) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(tg.run(tg.lab.connector, "connector status", "--json").ok().out)
    return status["events"]      # type: ignore[no-any-return]


def wait_told(tg: Tg) -> None:
    """Everything that was recorded is at the controller."""
    def told() -> bool:
        return connector_events(tg)["waiting"] == 0
    wait_for("the controller has all events", told, SOON, 0.1, tg.explain)


def test_a_tcp_flow_has_its_beginning_and_its_end(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        [opened] = wait_events(tg, 1, of_port(port))
        near.sendall(b"x" * 1000)
        got = 0
        while got < 1000:
            got += len(far.recv(4096))
        far.sendall(b"y" * 5000)
        got = 0
        while got < 5000:
            got += len(near.recv(8192))
    opened, closed = wait_events(tg, 2, of_port(port))
    assert [opened["kind"], closed["kind"]] == ["established", "closed"]
    assert opened["flow"] == closed["flow"] != ""
    for e in (opened, closed):
        assert e["user"] == "alice@example.com" and e["device"] == tg.status()["device"] and e["device_name"], e
        assert e["resource"] == "NAS" and e["groups"] == ["family"], e
        assert e["connector"] == "home-1" and e["network"] == "home", e
        assert e["host"] == "nas.home.int" and e["address"] == f"{NAS}:{port}" and e["protocol"] == "tcp", e
        assert e["path"] == RELAY_LISTEN, e
    assert (closed["up"], closed["down"], closed["reason"]) == (1000, 5000, ""), closed
    assert closed["duration_ms"] == pytest.approx(closed["time_ms"] - opened["time_ms"], abs=50)
    line = next(x for x in tg.admin("events", "--kind", "closed").ok().out.splitlines() if f":{port} " in x)
    assert re.fullmatch(r"\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  closed       tcp nas\.home\.int:%d at %s:%d  "
                        r"1000 B up, 4\.9 KiB down, [\d.]+s  alice@example\.com on \S+  NAS \(by family\)  home-1, %s"
                        % (port, NAS, port, RELAY_LISTEN), line), line


def test_udp_and_ping_have_theirs(tg: Tg) -> None:
    after = last(tg)
    with tg.lab.laptop.socket(kind=socket.SOCK_DGRAM, timeout=5) as s:
        s.connect((tg.lookup("nas.home.int"), UDP_ECHO_PORT))
        s.send(b"twelve bytes")
        assert s.recv(100) == b"twelve bytes"
    tg.lab.laptop.run(["ping", "-c", "2", "-i", "0.2", "-s", "100", "-W", "5", "nas.home.int"]).ok()
    def datagrams(e: Event) -> bool:
        return e["protocol"] in ("udp", "icmp")
    [u, p] = wait_events(tg, 2, datagrams, "--after", after)
    assert (u["protocol"], u["port"], u["address"]) == ("udp", UDP_ECHO_PORT, f"{NAS}:{UDP_ECHO_PORT}"), u
    assert (p["protocol"], p["port"], p["kind"]) == ("icmp", 0, "established"), p
    tg.client("down").ok()                       # datagram flows would be idle for half a minute first
    try:
        ends = {e["protocol"]: e for e in wait_events(tg, 2, lambda e: datagrams(e) and e["kind"] == "closed", "--after", after)}
        assert (ends["udp"]["up"], ends["udp"]["down"], ends["udp"]["flow"]) == (12, 12, u["flow"]), ends
        assert (ends["icmp"]["up"], ends["icmp"]["down"], ends["icmp"]["flow"]) == (200, 200, p["flow"]), ends
    finally:
        tg.client_up().ok()


def test_what_is_denied_has_its_reason(tg: Tg, port: int) -> None:
    after = last(tg)
    with tg.lab.laptop.socket(timeout=5) as s:
        with contextlib.suppress(OSError):
            s.connect((tg.lookup("evil.home.int"), port))
    [e] = wait_events(tg, 1, of_port(port), "--after", after)
    assert (e["kind"], e["reason"], e["resource"]) == ("denied", "address_forbidden", "Evil"), e
    assert (e["host"], e["address"]) == ("evil.home.int", ""), e
    assert (e["up"], e["down"], e["flow"]) == (0, 0, ""), e


def test_a_device_that_has_not_heard_yet_is_denied_with_the_reason(tg: Tg, port: int) -> None:
    """The laptop is cut off from the controller, not from its relay: it asks for what its old grant has."""
    after, address = last(tg), tg.lookup("nas.home.int")
    tg.lab.internet.nft("table ip cut {\n chain input {\n type filter hook input priority filter\n"
                        f" ip saddr {LAPTOP} tcp dport 8443 drop\n }}\n"
                        " chain output {\n type filter hook output priority filter\n"
                        f" ip daddr {LAPTOP} tcp sport 8443 drop\n }}\n}}")
    try:
        tg.apply(tg.policy.replace('["family"]', "[]", 1)).ok()
        def denied() -> bool:
            with tg.lab.laptop.socket(timeout=5) as s, contextlib.suppress(OSError):
                s.connect((address, port))
            return any(e["reason"] == "revoked" and of_port(port, {"denied"})(e) for e in events(tg, "--after", after))
        wait_for("it is denied", denied, SOON, 0.3, tg.explain)
        e = next(e for e in events(tg, "--after", after) if of_port(port, {"denied"})(e))
        assert (e["resource"], e["user"], e["groups"], e["address"]) == ("NAS", "alice@example.com", [], ""), e
    finally:
        tg.lab.internet.run("nft delete table ip cut")
        tg.stop()
        tg.policy = ""


def test_a_flow_that_is_revoked_says_so(tg: Tg, port: int) -> None:
    """With a client that does not end it first, as one that means well does."""
    device = str(tg.status()["device"])
    pids = tg.client_pids()
    with flow(tg, port):
        wait_events(tg, 1, of_port(port))
        try:
            for pid in pids:
                freeze(pid)
            tg.admin("device update", device, "--to", "blocked").ok()
            closed = wait_events(tg, 2, of_port(port))[1]
            assert (closed["kind"], closed["reason"]) == ("closed", "revoked"), closed
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            tg.admin("device update", device, "--to", "pending").ok()
    tg.wait_works(10, "the device was let in again")


def test_what_failed_has_the_error(tg: Tg, nas: Host, port: int) -> None:
    after = last(tg)
    def attempt(name: str, patience: float = 5) -> None:
        with tg.lab.laptop.socket(timeout=patience) as s, contextlib.suppress(OSError):
            s.connect((tg.lookup(name), port))
    attempt("nas.home.int")
    attempt("gone.home.int")
    attempt("down.home.int")
    usual = tg.lab.connector.run("sysctl -n net.ipv4.tcp_syn_retries").ok().out.strip()
    tg.lab.connector.sysctl("net.ipv4.tcp_syn_retries", 1)
    try:
        with Drop(nas, port):
            attempt("nas.home.int", 1)
            found = wait_events(tg, 4, of_port(port), "--after", after, "--kind", "failed")
    finally:
        tg.lab.connector.sysctl("net.ipv4.tcp_syn_retries", usual)
    assert [e["reason"] for e in found] == ["refused", "name_not_found", "host_unreachable", "timed_out"], found
    assert [e["resource"] for e in found] == ["NAS", "Gone", "Down", "NAS"], found
    assert [e["address"] for e in found] == [f"{NAS}:{port}", "", f"10.0.2.1:{port}", f"{NAS}:{port}"], found
    assert all(e["user"] == "alice@example.com" and e["duration_ms"] < 60_000 for e in found), found


def test_the_direct_path_is_named(open_home: Tg, port: int) -> None:      # noqa: F811
    wait_direct(open_home)
    with flow(open_home, port):
        [opened] = wait_events(open_home, 1, of_port(port))
    assert opened["path"] == "direct" and opened["connector"] == "home-1", opened


def test_they_are_chosen_by_who_what_and_when(tg: Tg, port: int) -> None:
    after = last(tg)
    with flow(tg, port):
        pass
    with tg.lab.laptop.socket(timeout=5) as s, contextlib.suppress(OSError):
        s.connect((tg.lookup("evil.home.int"), port))
    wait_events(tg, 3, of_port(port))
    def kinds(*more: str) -> list[str]:
        return [e["kind"] for e in events(tg, "--after", after, *more) if e["port"] == port]
    assert sorted(kinds()) == ["closed", "denied", "established"]
    assert kinds("--kind", "denied") == ["denied"]
    assert sorted(kinds("--kind", "established,closed")) == ["closed", "established"]
    assert sorted(kinds("--resource", "NAS")) == ["closed", "established"]
    assert kinds("--resource", "NAS", "--kind", "denied,failed") == []
    assert len(kinds("--user", "Alice@Example.com")) == 3 and kinds("--user", "bob@example.com") == []
    assert len(kinds("--connector", "home-1")) == 3 and kinds("--connector", "spare") == []
    device = str(tg.status()["device"])
    assert len(kinds("--device", device)) == 3 and kinds("--device", "0" * 16) == []
    assert len(kinds("--since", "1h")) == 3 and kinds("--until", "1h") == [] and kinds("--since", "2099-01-01") == []
    # Pages, from both ends, miss nothing and double nothing.
    every = [e["number"] for e in events(tg)]
    assert every == sorted(set(every))
    assert [e["number"] for e in events(tg, "--after", "0")] == every
    newest = json.loads(tg.admin("events", "--json", "--limit", "2").ok().out)
    assert [e["number"] for e in newest["events"]] == every[-2:] and newest["more"] and newest["schema_version"] == 1, newest
    oldest = tg.admin("events", "--after", "0", "--limit", "1").ok()
    assert oldest.out.startswith(f"{every[0]}  ") and oldest.out.count("\n") == 1, oldest
    assert oldest.err == "the first 1; see --limit\n", oldest


def test_a_wrong_question_has_one_clear_line(tg: Tg) -> None:
    kinds = "established, closed, denied, failed, lost"
    for more, code, words in [(["--kind", "opened"], USAGE, f'--kind: "opened" is none of {kinds}'),
                              (["--kind", "denied,"], USAGE, '--kind: "" is none of'),
                              (["--since", "yesterday"], USAGE, '--since: "yesterday" is neither'),
                              (["--until", "2026-13-01"], USAGE, "--until: "),
                              (["--after", "-1"], USAGE, ""), (["--after", "x"], USAGE, '--after: "x" is no number'),
                              (["--limit", "0"], USAGE, ""), (["--user", "a\nb"], USAGE, "--user: is no name"),
                              (["--device", "no such"], FAILED, 'there is no device "no such"')]:
        result = tg.admin("events", *more)
        assert result.code == code and result.out == "" and words in result.err and result.err.count("\n") == 1, result
    nothing = tg.admin("events", "--user", "nobody@example.com").ok()
    assert nothing.out == "" and nothing.err == "no such events\n", nothing
    nowhere = tg.lab.internet.run([*tg.words("controller events"), "--state", str(tg.lab.root / "nowhere")], env=tg.env())
    assert nowhere.code in (USAGE, UNREACHABLE), nowhere


@contextlib.contextmanager
def follower(tg: Tg, *more: str) -> Iterator[Callable[[], list[Event]]]:
    process = tg.lab.internet.start([*tg.words("controller events"), "--follow", "--json", *more],
                                    f"events-follow-{next(_followers)}", env=tg.env())
    def told() -> list[Event]:
        return [json.loads(line) for line in process.text().splitlines() if line.endswith("}")]
    try:
        yield told
        assert process.alive(), process.text()
    finally:
        process.kill()


def test_they_can_be_followed_and_none_is_missed_or_told_twice(tg: Tg, port: int) -> None:
    wait_told(tg)
    after = last(tg)
    with follower(tg, "--after", after) as all_of_it, follower(tg, "--after", after, "--kind", "denied") as denials:
        for _ in range(30):
            with flow(tg, port):
                pass
        with tg.lab.laptop.socket(timeout=5) as s, contextlib.suppress(OSError):
            s.connect((tg.lookup("evil.home.int"), port))
        wait_for("all are told", lambda: sum(e["port"] == port for e in all_of_it()) >= 61, SOON, 0.1, tg.explain)
        wait_for("the denial is told", lambda: any(e["port"] == port for e in denials()), SOON, 0.1, tg.explain)
        numbers = [e["number"] for e in all_of_it()]
        assert numbers == [e["number"] for e in events(tg, "--after", after) if e["number"] <= numbers[-1]], numbers
        assert all(e["schema_version"] == 1 for e in all_of_it()) and {e["kind"] for e in denials()} == {"denied"}
    flows = [e["flow"] for e in events(tg, "--after", after) if e["port"] == port and e["kind"] == "closed"]
    assert len(flows) == len(set(flows)) == 30


def test_everything_arrives_once_whatever_is_killed(tg: Tg, port: int) -> None:
    """The embedded relay ends with the controller, so the flows take a direct path."""
    assert tg.connector and tg.controller
    wait_told(tg)
    after = last(tg)
    lab = tg.lab
    lab.internet.ip(f"route add {CONNECTOR}/32 via 192.0.2.7")
    lab.router.nft("insert rule inet home forward tcp dport 8445 accept")
    try:
        tg.connector.stop()
        tg.connector_arguments = ["--listen", f"{CONNECTOR}:8445"]
        tg.start_connector()
        wait_direct(tg)
        for _ in range(5):
            with flow(tg, port):
                pass
        tg.controller.kill()
        for _ in range(20):
            with flow(tg, port):
                pass
        def written() -> bool:
            now = connector_events(tg)
            return now["unwritten_bytes"] == 0 and now["waiting"] >= 40
        wait_for("the connector has written what waits", written, SOON, 0.1, tg.explain)
        tg.connector.kill()
        tg.start_connector(ready=False)
        wait_for("it knows what waits", lambda: tg.run(lab.connector, "connector status").code == 0, SOON, 0.1, tg.explain)
        assert connector_events(tg)["waiting"] >= 40
        assert "wait for the controller" in tg.run(lab.connector, "connector status").ok().out
        tg.start_controller()
        tg.wait_connector()
        wait_told(tg)
        found = wait_events(tg, 50, of_port(port), "--after", after)
        closed = [e["flow"] for e in found if e["kind"] == "closed"]
        opened = [e["flow"] for e in found if e["kind"] == "established"]
        assert sorted(closed) == sorted(set(opened)) and len(closed) == 25, found
        assert not [f for f in tg.state("connector").joinpath("events").iterdir()], "nothing is left to send"
    finally:
        tg.stop()
        tg.policy = ""
        tg.connector_arguments = []
        lab.internet.ip(f"route del {CONNECTOR}/32")
        rules = lab.router.run("nft -a list chain inet home forward").out
        handle = next(line.split()[-1] for line in rules.splitlines() if "8445" in line)
        lab.router.nft(f"delete rule inet home forward handle {handle}")


def test_a_flood_of_denials_is_a_few_events_that_tell_how_many_more(tg: Tg, port: int) -> None:
    after = last(tg)
    address = tg.lookup("evil.home.int")
    def knock() -> None:
        with tg.lab.laptop.socket(timeout=5) as s, contextlib.suppress(OSError):
            s.connect((address, port))
    for _ in range(200):
        knock()
    wait_told(tg)
    def counted() -> int:
        knock()
        return sum(1 + e["more"] for e in events(tg, "--after", after) if of_port(port, {"denied"})(e))
    wait_for("all are counted", lambda: counted() > 200, SOON, 0.5, tg.explain)
    found = [e for e in events(tg, "--after", after) if of_port(port)(e)]
    assert len(found) < 60, len(found)
    told = tg.admin("events", "--after", after).ok().out
    assert any(f"and {e['more']} more like it" in told for e in found if e["more"]), found


def test_old_ones_go_and_no_number_comes_back(tg: Tg, port: int) -> None:
    assert tg.controller
    try:
        tg.controller.stop()
        tg.controller_arguments = ["--events-keep", "4s"]
        tg.start_controller()
        tg.wait_connector()
        tg.wait_works(10, "the controller was started anew")
        with flow(tg, port):
            pass
        newest = wait_events(tg, 2, of_port(port))[-1]["number"]
        wait_for("they are gone", lambda: not [e for e in events(tg) if of_port(port)(e)], 30, 0.2, tg.explain)
        with flow(tg, port):
            pass
        assert wait_events(tg, 2, of_port(port))[0]["number"] > newest
        for wrong in (["--events-keep", "0"], ["--events-keep", "soon"], ["--events-max", "0"]):
            result = tg.run(tg.lab.internet, "controller serve", *wrong, state="other")
            assert result.code == USAGE and "--events" in result.err, result
    finally:
        tg.stop()
        tg.policy = ""
        tg.controller_arguments = []


@pytest.mark.parametrize("wrong", ["damaged", "newer"])
def test_a_controller_without_them_controls_access_all_the_same(tg: Tg, port: int, wrong: str) -> None:
    assert tg.controller
    path = tg.state("controller") / "events.db"
    try:
        tg.controller.stop()
        for more in ("", "-wal", "-shm"):
            path.with_name(path.name + more).unlink(missing_ok=True)
        if wrong == "damaged":
            path.write_bytes(b"this is no database" * 1000)
        else:
            import sqlite3
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 99")
        tg.start_controller()
        tg.wait_connector()
        tg.wait_works(10, "the controller was started anew")
        status = tg.admin("status").ok().out
        assert "\nevents      not kept: " in status and ("newer tg" in status or wrong == "damaged"), status
        assert tg.controller.text().count("connection events are not kept") == 1, tg.controller.text()
        refused = tg.admin("events")
        assert refused.code == FAILED and "can't be read" in refused.err, refused
        with flow(tg, port):
            pass
        wait_for("the connector keeps them", lambda: connector_events(tg)["waiting"] >= 2, SOON, 0.1, tg.explain)
        path.rename(path.with_name("events.bad"))
        wait_for("it begins anew without being started", lambda: tg.admin("events").code == 0, 20, 0.2, tg.explain)
        wait_events(tg, 2, of_port(port), deadline=20)
        assert "not kept" not in tg.admin("status").ok().out
    finally:
        tg.stop()
        tg.policy = ""


def test_a_connector_whose_disk_takes_nothing_serves_on(tg: Tg, port: int) -> None:
    assert tg.connector
    folder = tg.state("connector") / "events"
    try:
        tg.connector.stop()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.write_text("no directory\n")
        tg.start_connector()
        tg.wait_works(10, "the connector was started")
        with flow(tg, port):
            pass
        wait_events(tg, 2, of_port(port))
        assert tg.connector.text().count("events are kept in memory") == 1, tg.connector.text()
        assert "\nevents     could not " in tg.run(tg.lab.connector, "connector status").ok().out
    finally:
        folder.unlink(missing_ok=True)
        tg.stop()
        tg.policy = ""


def test_the_readme_s_commands_are_right(tg: Tg) -> None:
    chapter = (REPOSITORY / "README.md").read_text().split("\n## Who used what\n", 1)[1].split("\n## ", 1)[0]
    commands = re.findall(r"^    server\$ sudo tg controller events(.*)$", chapter, re.M)
    assert len(commands) >= 3
    for more in commands:
        if "--follow" in more:
            with follower(tg, *more.replace("--follow", "").split()):
                pass
        else:
            tg.admin("events", *more.split()).ok()
    shape = re.compile(r"\d+  TIME  (established|closed|denied|failed) +\w+ .*")
    for line in re.findall(r"^    (\d+  .*)$", chapter, re.M):
        assert shape.fullmatch(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", line)), line
