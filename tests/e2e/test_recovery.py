"""Whatever dies or goes away comes back by itself: new flows work within 5 s of the way being there again."""
from __future__ import annotations

import signal
import threading
import time

import pytest
from support.flows import flow
from support.lab import CONTROLLER, HOME_OUTSIDE, LAPTOP, Lab
from support.netns import Host, wait_for
from support.tg import STUB, Tg

SOON = 5.0


@pytest.fixture
def nothing_exits(tg: Tg):                                       # type: ignore[no-untyped-def]
    """The client's process is the same one afterwards, whatever happened."""
    before = tg.client_pids()
    assert before
    yield
    assert set(before) <= set(tg.client_pids()), "the client has exited\n" + tg.explain()


def outage(seconds: float) -> None:
    """How long something is away; not a synchronisation."""
    threading.Event().wait(seconds)


def works_again(tg: Tg, since: float, what: str) -> float:
    """A new flow works within SOON of `since`, when the way was there again: nothing is waited for before."""
    took = tg.wait_works(SOON, what, since)
    print(f"{took:.2f} s after {what}")
    return took


def connector_again(tg: Tg, what: str) -> float:
    """Starts the connector. It has SOON from then on, for new flows and for its health."""
    since = tg.start_connector(ready=False).since
    took = works_again(tg, since, what)
    tg.wait_connector(since + SOON - time.monotonic())
    return took


def test_the_controller_with_its_relay_is_killed_and_comes_back(tg: Tg, nothing_exits: None) -> None:
    assert tg.controller
    tg.controller.kill()
    wait_for("the tunnel through the relay is gone", lambda: not tg.works(0.5), 10)
    works_again(tg, tg.start_controller().since, "the controller and relay came back")


def test_the_controller_is_away_for_long(tg: Tg, nothing_exits: None) -> None:
    assert tg.controller
    tg.controller.kill()
    outage(12)
    since = tg.start_controller().since
    works_again(tg, since, "the controller and relay came back after 12 s")
    tg.wait_connector(since + SOON - time.monotonic())


def test_the_controller_stops_and_starts(tg: Tg, nothing_exits: None) -> None:
    assert tg.controller and tg.connector
    tg.wait_settled()
    connector, client = tg.connector, tg.state("client") / "client.log"
    before = len(connector.text()), len(client.read_text())
    def said() -> list[list[str]]:
        """What connector and client have logged since, without the time."""
        texts = connector.text()[before[0]:], client.read_text()[before[1]:]
        return [[line.split(" ", 1)[1] for line in text.splitlines()] for text in texts]
    tg.controller.signal(signal.SIGTERM)
    goodbye = f"warning controller {CONTROLLER}:8443: the controller is restarting"
    wait_for("both have heard goodbye", lambda: all(goodbye in lines for lines in said()), 1, explain=tg.explain)
    assert tg.controller.wait() == 0
    since = tg.start_controller().since
    works_again(tg, since, "the controller was restarted")
    tg.wait_connector(since + SOON - time.monotonic())
    for lines in said():
        assert not [line for line in lines if line.startswith("error")] and len(lines) <= 6, lines
    assert tg.admin("status").code == 0


def test_the_connector_is_killed_and_comes_back(tg: Tg, nothing_exits: None) -> None:
    assert tg.connector
    tg.connector.kill()
    connector_again(tg, "the connector came back")


def test_the_connector_stops_with_a_goodbye_and_comes_back(tg: Tg, nothing_exits: None) -> None:
    assert tg.connector
    assert tg.connector.stop(5) == 0
    wait_for("the client knows that the connector is gone", lambda: not tg.works(0.5), 2)
    connector_again(tg, "the connector was restarted")


def test_a_live_flow_ends_when_the_connector_stops(tg: Tg, nothing_exits: None, port: int) -> None:
    assert tg.connector
    with flow(tg, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        tg.connector.stop(5)
        near.settimeout(3)
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            pass
    connector_again(tg, "the connector was restarted")


@pytest.mark.parametrize("seconds", [1, 15])
def test_the_laptops_link_goes_down_and_up(tg: Tg, laptop: Host, nothing_exits: None, seconds: float) -> None:
    laptop.ip("link set eth0 down")
    outage(seconds)
    laptop.ip("link set eth0 up", "route replace default via 198.51.100.1")
    works_again(tg, time.monotonic(), "the link came back")


def test_the_laptops_address_changes(tg: Tg, laptop: Host, nothing_exits: None) -> None:
    for old, new in ((LAPTOP, "198.51.100.77"), ("198.51.100.77", LAPTOP)):
        laptop.ip(f"addr del {old}/24 dev eth0", f"addr add {new}/24 dev eth0", "route replace default via 198.51.100.1")
        works_again(tg, time.monotonic(), f"the address became {new}")


@pytest.mark.parametrize("device,address", [("laptop", LAPTOP), ("home", HOME_OUTSIDE)], ids=["laptop", "connector"])
def test_connections_that_the_way_has_forgotten_are_made_anew(tg: Tg, lab: Lab, nothing_exits: None, device: str,
                                                              address: str) -> None:
    """As a NAT does over an hour's sleep: what was connected is swallowed both ways, and new connections pass."""
    def connected() -> set[str]:
        """The device's ports, when it has a control stream and a relayed connection: until it looks, it counts one as
        connected whose address went with the test before."""
        peers = [line.split()[2:4] for line in
                 lab.internet.run(f"ss -Htn state established src {CONTROLLER} dst {address}").ok().out.splitlines()]
        both = {local.rsplit(":", 1)[1] for local, _ in peers} >= {"8443", "8444"}
        return {peer.rsplit(":", 1)[1] for _, peer in peers} if both else set()
    tg.wait_settled()
    ports = "{ " + ", ".join(sorted(wait_for("it is connected to controller and relay", connected, 20, explain=tg.explain))) + " }"
    lab.internet.nft("table ip hole {\n chain in {\n type filter hook prerouting priority raw\n"
                     f" iifname {device} tcp sport {ports} drop\n }}\n"
                     " chain out {\n type filter hook output priority raw\n"
                     f" oifname {device} tcp dport {ports} drop\n }}\n}}")
    try:
        works_again(tg, time.monotonic(), "the way forgot the connections")
    finally:
        lab.internet.nft("delete table ip hole")


@pytest.mark.parametrize("host", ["laptop", "connector"])
def test_packets_are_lost_silently_for_a_while(tg: Tg, lab: Lab, nothing_exits: None, host: str) -> None:
    """Nobody is told: no link event, no reset."""
    device = {"laptop": "laptop", "connector": "home"}[host]
    lab.internet.nft(f"table ip hole {{\n chain in {{\n type filter hook prerouting priority raw\n iifname {device} drop\n }}\n"
                     f" chain out {{\n type filter hook output priority raw\n oifname {device} drop\n }}\n}}")
    try:
        outage(15)
    finally:
        lab.internet.nft("delete table ip hole")
    works_again(tg, time.monotonic(), "packets got through again")


def test_the_homes_dns_is_restarted(tg: Tg, lab: Lab, nothing_exits: None) -> None:
    lab.home_dns.kill()
    works_again(tg, lab.start_home_dns().since, "the home's DNS came back")


def test_names_elsewhere_work_while_the_controller_is_away(tg: Tg, laptop: Host, nothing_exits: None) -> None:
    assert tg.controller
    tg.controller.kill()
    try:
        assert "203.0.113.80" in laptop.run("dig +short example.org").ok().out
        assert laptop.run(f"dig @{STUB} +short nas.home.int").ok().out.startswith("100.")
    finally:
        since = tg.start_controller().since
    works_again(tg, since, "the controller came back")


def test_the_client_is_killed_and_comes_back_with_the_same_addresses(tg: Tg, laptop: Host) -> None:
    from support.netns import kill_and_wait
    names = ["nas.home.int", "web.home.int", "a.lab.home.int"]
    before = [tg.lookup(n) for n in names]
    kill_and_wait(tg.client_pids())
    since = time.monotonic()
    tg.client_up().ok()
    works_again(tg, since, "the client was started again")
    assert [tg.lookup(n) for n in reversed(names)] == before[::-1]


def test_ten_restarts_of_the_connector_in_a_row(tg: Tg, nothing_exits: None) -> None:
    slowest = 0.0
    for i in range(10):
        assert tg.connector
        tg.connector.kill() if i % 2 else tg.connector.stop(5)
        slowest = max(slowest, connector_again(tg, f"restart {i + 1} of the connector"))
    print(f"the slowest took {slowest:.2f} s")


def test_a_long_ping_outlives_every_tunnel(tg: Tg, lab: Lab, laptop: Host, nothing_exits: None) -> None:
    ping = laptop.start("ping -i 0.01 -s 1300 nas.home.int".split(), "ping")
    try:
        for i in range(5):                                   # 130 KB a second wait for each new tunnel
            outage(0.2)
            lab.internet.nft("table ip wall {\n chain input {\n type filter hook input priority filter\n"
                             " iifname laptop tcp dport 8444 reject with tcp reset\n }\n}")
            try:
                outage(0.8)
            finally:
                lab.internet.run("nft delete table ip wall").ok()
            works_again(tg, time.monotonic(), f"end {i} of the tunnel")
        last = ping.text().count("bytes from")
        wait_for("pings come back by the sixth", lambda: ping.text().count("bytes from") > last + 20, SOON, 0.1,
                 lambda: ping.text()[-1000:])
        assert "Unreachable" not in ping.text(), [line for line in ping.text().splitlines() if "Unreachable" in line]
    finally:
        ping.kill()
