"""What others do to the client's interface, routes and rule is put right again; and strict return path checks."""
from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import CONTROLLER, ISP_DNS, NAS_PAGE, Lab
from support.netns import Host, freeze, wait_for
from support.pcap import Capture
from support.tg import PEOPLE, RESOURCES, Tg, resource

SOON = 3.0


def ours(laptop: Host) -> dict[str, str]:
    """All that net/SYSTEM.md names, without the index of the interface."""
    return {"up": str("UP" in laptop.run("ip -br link show tg0").out),
            "mtu": laptop.run("cat /sys/class/net/tg0/mtu").out,
            "addresses": "\n".join(sorted(laptop.run("ip -4 -o addr show dev tg0 | awk '{print $4}'").out.split())),
            "routes": laptop.run("ip route show table 7263").out,
            "local": laptop.run("ip route show table local dev tg0").out,
            "rule": laptop.run("ip rule").out}


@pytest.fixture
def whole(tg: Tg, laptop: Host) -> Iterator[dict[str, str]]:
    """What is there with a client that was just started; afterwards the same process has made it so again."""
    tg.client("down").ok()
    tg.client_up().ok()
    tg.wait_works(5, "the client was started")
    before = ours(laptop)
    pids = set(tg.client_pids())
    yield before
    wait_for("everything of ours is back", lambda: ours(laptop) == before, 15, 0.1,
             lambda: f"{before}\n{ours(laptop)}\n{tg.explain()}")
    assert pids <= set(tg.client_pids()), "the client has exited\n" + tg.explain()


def log_lines(tg: Tg) -> int:
    return len((tg.state("client") / "client.log").read_text().splitlines())


@pytest.mark.parametrize("deed", [
    "ip link set tg0 down; ip link set tg0 up",
    "ip link set tg0 down",
    "ip route flush table 7263",
    "ip rule del priority 7263",
    "ip addr flush dev tg0",
    "ip addr del 172.16.30.1/32 dev tg0",
    "ip link set tg0 mtu 1400",
    "ip rule del priority 7263; ip route flush table 7263; ip addr flush dev tg0; ip link set tg0 down",
    "ip link del tg0",
    "ip link del tg0; ip rule del priority 7263",
])
def test_what_somebody_takes_out_is_put_back(tg: Tg, laptop: Host, whole: dict[str, str], deed: str, port: int) -> None:
    lines = log_lines(tg)
    with flow(tg, port) as (near, far):
        near.sendall(b"before")
        assert far.recv(100) == b"before"
        laptop.run(deed).ok()
        wait_for("everything of ours is back", lambda: ours(laptop) == whole, SOON, 0.05, tg.explain)
        tg.wait_works(SOON, deed)
        near.sendall(b"after")
        assert far.recv(100) == b"after"
        far.sendall(b"and back")
        assert near.recv(100) == b"and back"
    wait_for("status is content", lambda: tg.client("status").code == 0, SOON, explain=tg.explain)
    new = (tg.state("client") / "client.log").read_text().splitlines()[lines:]
    assert len([line for line in new if "put back" in line]) <= 1, new


def test_one_who_insists_is_not_fought_at_full_speed_and_status_says_so(tg: Tg, laptop: Host, whole: dict[str, str]) -> None:
    lines = log_lines(tg)
    laptop.run("i=0; while [ $i -lt 400 ]; do ip rule del priority 7263 2>/dev/null && i=$((i+20)); i=$((i+1)); sleep 0.02; done",
               timeout=30).ok()
    def says_so() -> bool:
        status = tg.client("status")
        return status.code == 3 and "somebody keeps changing tg0" in status.out
    wait_for("status says so", says_so, 12, explain=tg.explain)
    wait_for("the rule is back", lambda: ours(laptop) == whole, 12, 0.1, tg.explain)
    assert tg.works()
    new = (tg.state("client") / "client.log").read_text().splitlines()[lines:]
    assert len(new) <= 4, new


def test_an_interface_that_cannot_be_made_anew_is_told_and_made_later(tg: Tg, laptop: Host, whole: dict[str, str]) -> None:
    laptop.ip("link add taken type bridge")
    pids = tg.client_pids()
    for pid in pids:
        freeze(pid)
    laptop.ip("link del tg0", "link set taken name tg0")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    def told() -> bool:
        status = tg.client("status")
        return status.code == 3 and "tg0 exists and is of another kind" in status.out
    wait_for("status says why it does not work", told, SOON, explain=tg.explain)
    laptop.ip("link del tg0")
    wait_for("everything of ours is back", lambda: ours(laptop) == whole, SOON, 0.05, tg.explain)
    tg.wait_works(SOON, "the name was free again")
    assert tg.client("status").code == 0, tg.explain()


def test_an_interface_made_anew_goes_with_the_client(tg: Tg, laptop: Host) -> None:
    laptop.run("ip link del tg0").ok()
    tg.wait_works(SOON, "the interface was deleted")
    tg.client("down").ok()
    assert "7263" not in laptop.run("ip rule").out and "tg0" not in laptop.run("ip link").out
    tg.client_up().ok()


@pytest.fixture
def strict(tg: Tg, laptop: Host) -> Iterator[Tg]:
    """The laptop checks return paths strictly, as Red Hat's systems do."""
    laptop.sysctl("net.ipv4.conf.all.rp_filter", 1)
    yield tg
    laptop.sysctl("net.ipv4.conf.all.rp_filter", 0)
    tg.policy = ""


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "from then on"])
def test_a_resource_that_covers_tgs_own_peers_with_strict_return_paths(strict: Tg, lab: Lab, late: bool) -> None:
    """Controller, relay and the laptop's own DNS server are inside of Resources. Their answers come back all the same."""
    everything = PEOPLE + RESOURCES + resource("Internet", "203.0.113.0/24") + resource("ISP", "198.51.100.0/24")
    laptop = lab.laptop
    if late:
        strict.wait_works(5, "return paths are checked")
        strict.apply(everything).ok()
    else:
        strict.client("down").ok()
        strict.apply(everything).ok()
        strict.client_up().ok()
    def captured() -> bool:
        return "203.0.113.0/24 dev tg0" in laptop.run("ip route show table 7263").out
    wait_for("the networks are captured", captured, 5, explain=strict.explain)
    # Every connection of tg's is made anew.
    assert strict.controller
    strict.controller.kill()
    strict.start_controller()
    strict.wait_works(5, "the controller came back")
    def connected() -> bool:
        return bool(json.loads(strict.client("status", "--json").out)["controller"]["connected"])
    wait_for("the client hears the controller", connected, 5, explain=strict.explain)
    assert laptop.run("dig +short +tries=1 example.org").out == "203.0.113.80\n", "names elsewhere, by the ISP's server"
    routes = laptop.run("ip route show table 7263").out
    assert f"throw {CONTROLLER}" in routes and f"throw {ISP_DNS}" in routes
    assert laptop.run("ip route get 203.0.113.80").out.split()[2] == "tg0", "only tg's own peers are left out"


def test_without_strict_return_paths_nothing_is_left_out(tg: Tg, laptop: Host) -> None:
    tg.apply(PEOPLE + RESOURCES + resource("Internet", "203.0.113.0/24")).ok()
    wait_for("the network is captured", lambda: "203.0.113.0/24" in laptop.run("ip route show table 7263").out, 5)
    assert "throw" not in laptop.run("ip route show table 7263").out
    started = time.monotonic()
    while time.monotonic() - started < 2:
        assert tg.works(), tg.explain()
        threading.Event().wait(0.2)
    tg.policy = ""


# -- other people's networks ----------------------------------------------------------------------------------------------------
AP, AT_AP, ROGUE_ROUTE = "100.100.0.1", "100.100.0.20", "10.0.1.0/24"


class AccessPoint:
    """A café: its LAN lies inside the range of names, and its DHCP server pushes a route (option 121) over a Resource."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.host = lab, lab.host("ap")
        self.host.sysctl("net.ipv4.ip_forward", 1)
        self.host.ip("link add lan type bridge", f"addr add {AP}/16 dev lan", "link set lan up",
                     f"link add uplink type veth peer name cafe netns {lab.internet.namespace}",
                     "addr add 192.0.3.7/24 dev uplink", "link set uplink up")
        lab.internet.ip("addr add 192.0.3.1/24 dev cafe", "link set cafe up")
        self.host.ip("route add default via 192.0.3.1")
        self.host.nft("table ip nat {\n chain out {\n type nat hook postrouting priority srcnat\n"
                      " oifname uplink masquerade\n }\n}")

    def join(self) -> None:
        self.lab.laptop.ip(f"link add wlan0 type veth peer name laptop netns {self.host.namespace}")
        self.host.ip("link set laptop master lan", "link set laptop up")
        self.lab.laptop.ip("link set eth0 down", f"addr add {AT_AP}/16 dev wlan0", "link set wlan0 up",
                           f"route add default via {AP} dev wlan0", f"route add {ROGUE_ROUTE} via {AP} dev wlan0")

    def leave(self) -> None:
        self.lab.laptop.run("ip link del wlan0")
        self.lab.laptop_goes_away()

    def close(self) -> None:
        self.leave()
        self.lab.internet.run("ip link del cafe")


@pytest.fixture
def cafe(tg: Tg, lab: Lab) -> Iterator[AccessPoint]:
    made = AccessPoint(lab)
    yield made
    made.close()
    tg.wait_works(10, "the laptop left the café")


def test_a_rogue_network_over_the_range_and_a_resource_gets_nothing_and_is_told(tg: Tg, lab: Lab, cafe: AccessPoint,
                                                                                port: int) -> None:
    laptop = lab.laptop
    named = tg.lookup("nas.home.int")
    with Capture(cafe.host, "lan") as seen:
        cafe.join()
        tg.wait_works(15, "the laptop joined the café")
        def told() -> bool:
            warnings = tg.status()["warnings"]
            assert isinstance(warnings, list)
            return (any("100.96.0.0/12 overlaps the route 100.100.0.0/16 dev wlan0" in w for w in warnings)
                    and any(f"10.0.1.25/32 overlaps the route {ROGUE_ROUTE} via {AP} dev wlan0" in w for w in warnings))
        wait_for("status tells of both", told, SOON, explain=tg.explain)
        assert "warning    100.96.0.0/12 overlaps the route 100.100.0.0/16 dev wlan0" in tg.client("status").out
        # Names, addresses lent and not lent, and the Resource under the pushed route: TCP, UDP, ping and DNS.
        assert tg.lookup("nas.home.int") == named
        others = ["100.100.0.77", "100.100.3.4", "10.0.1.25"]
        for address in [named, *others]:
            laptop.run(f"ping -c 1 -W 1 {address}")
            with laptop.socket(timeout=2) as s:
                s.connect_ex((address, 80))
            with laptop.socket(kind=socket.SOCK_DGRAM) as s:
                s.connect((address, port))
                s.send(b"canary")
        assert laptop.run(["curl", "-sS", "--max-time", "5", "http://10.0.1.25/"]).ok().out == NAS_PAGE
        with flow(tg, port) as (near, far):
            near.sendall(b"x")
            assert far.recv(1) == b"x"
        assert laptop.run("dig +short +tries=1 example.org").ok().out == "203.0.113.80\n", "the rest still works"
        wait_for("the capture has caught up", lambda: any(p.target == CONTROLLER for p in seen.packets()), 5)
    leaked = {p.target for p in seen.packets() if p.source != AP and p.target in (named, *others)}
    assert not leaked, f"the café saw packets to {leaked}"
    assert {p.target for p in seen.packets() if p.source == AT_AP} <= {CONTROLLER, ISP_DNS, AP}
    assert b"canary" not in seen.bytes
    log = (tg.state("client") / "client.log").read_text()
    assert log.count("overlaps the route 100.100.0.0/16 dev wlan0") == 1, "told once"
    cafe.leave()
    wait_for("status is content again", lambda: tg.status()["warnings"] == [], SOON, explain=tg.explain)
