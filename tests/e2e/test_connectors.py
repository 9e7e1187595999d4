"""A Network with three connectors, of which a client keeps tunnels to two."""
from __future__ import annotations

import hashlib
import json
import signal
from typing import Any, Iterator

import pytest
from support.flows import flow
from support.lab import PUBLIC_WEB, Lab
from support.netns import Process, wait_for
from support.tg import Tg

NAMES = ["home-1", "home-2", "home-3"]
MORE = "".join(f'[[connector]]\nname = "{name}"\nnetwork = "home"\n' for name in NAMES[1:])
RELAY = f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n'


class Connectors:
    def __init__(self, tg: Tg) -> None:
        self.tg = tg
        assert tg.connector
        self.processes: dict[str, Process] = {"home-1": tg.connector}
        self.tokens: dict[str, str] = {}

    def start(self, name: str) -> None:
        state = "connector" if name == "home-1" else name
        token = ["--token", self.tokens.pop(name)] if name in self.tokens else []
        self.processes[name] = self.tg.lab.connector.start([*self.tg.words("connector run", state), *token], f"tg-{name}",
                                                           env=self.tg.env())
        if name == "home-1":
            self.tg.connector = self.processes[name]

    def all(self) -> dict[str, dict[str, Any]]:
        """The client's tunnels by the connector's name."""
        return {t["connector"]: t for t in json.loads(self.tg.client("status", "--json").out)["tunnels"]}

    def tunnels(self) -> dict[str, dict[str, Any]]:
        """Those that stand."""
        return {name: t for name, t in self.all().items() if t["state"] == "up"}

    def first_two(self) -> set[str]:
        """Those that the client chooses when it sees all: see core/rendezvous.h."""
        device = json.loads(self.tg.client("status", "--json").out)["device"]
        ids = {c["name"]: c["id"] for c in json.loads(self.tg.admin("connector list", "--json").ok().out)["connectors"] if c["name"] in NAMES}
        return set(sorted(ids, key=lambda name: hashlib.sha256(f"{device}{ids[name]}".encode()).hexdigest())[:2])

    def wait_up(self, *names: str) -> None:
        wait_for(f"there are tunnels to {names}", lambda: set(names) <= set(self.tunnels()), 15,
                 explain=lambda: f"{self.tg.admin('connector list').out}\n{self.tg.explain()}")


@pytest.fixture
def three(tg: Tg, lab: Lab) -> Iterator[Connectors]:
    """Relayed by a relay of its own, so that the controller may go."""
    made = Connectors(tg)
    try:
        lab.internet.nft("table ip wall {\n chain input {\n type filter hook input priority filter\n"
                         " tcp dport 8444 ip daddr 203.0.113.10 reject with tcp reset\n }\n}")
        tg.apply(tg.policy + RELAY + MORE).ok()
        tg.start_relay(tg.token("relay", "relay-1"))
        for name in NAMES[1:]:
            made.tokens[name] = tg.token("connector", name)
            made.start(name)
        def all_online() -> bool:
            found = json.loads(tg.admin("connector list", "--json").ok().out)["connectors"]
            return all(c["online"] for c in found if c["name"] in NAMES)
        wait_for("all three are online", all_online, 15, explain=tg.explain)     # or the client's choice would still change
        wanted = made.first_two()
        def two_by_the_relay() -> bool:
            tunnels = made.tunnels()
            return set(tunnels) == wanted and all(PUBLIC_WEB in t["address"] for t in tunnels.values())
        # Where it had chosen before it heard of the third, that tunnel stands idle for a while.
        wait_for(f"the client has tunnels to {wanted} alone", two_by_the_relay, 45, explain=tg.explain)
        yield made
    finally:
        for process in made.processes.values():
            if process.alive():
                process.stop()
        lab.internet.run("nft delete table ip wall")
        tg.stop()
        tg.policy = ""


def test_live_flows_stay_on_a_connector_that_is_no_longer_the_first_choice(three: Connectors, port: int) -> None:
    """Two stop, the third takes over; when they are back, what lives on the third goes on, and new flows leave it."""
    chosen = set(three.tunnels())
    (third,) = set(NAMES) - chosen
    for name in chosen:
        three.processes[name].stop()
    three.wait_up(third)
    with flow(three.tg, port) as (near, far):
        assert three.tunnels()[third]["flows"] == 1, three.tunnels()
        for name in chosen:
            three.start(name)
        three.wait_up(*chosen)
        near.sendall(b"still here")
        assert far.recv(100) == b"still here"
        with flow(three.tg, port + 100) as (other, other_far):
            other_far.sendall(b"new")
            assert other.recv(100) == b"new"
            assert three.tunnels()[third]["flows"] == 1, three.tunnels()
        far.sendall(b"and back")
        assert near.recv(100) == b"and back"


def test_live_flows_outlive_a_controller_that_sees_the_connectors_come_back_one_by_one(three: Connectors, port: int) -> None:
    tg = three.tg
    with flow(tg, port) as (near, far):
        (late,) = [name for name, t in three.tunnels().items() if t["flows"] == 1]
        assert tg.controller
        tg.controller.kill()
        three.processes[late].signal(signal.SIGSTOP)
        try:
            tg.lab.internet.run("nft delete table ip wall")
            tg.start_controller()
            def told() -> bool:
                seen = three.all()
                return not seen.pop(late, {"online": False})["online"] and any(t["online"] for t in seen.values())
            wait_for("the client is told that one is there and that one is not", told, 20, explain=tg.explain)
        finally:
            three.processes[late].signal(signal.SIGCONT)
        near.sendall(b"still here")
        assert far.recv(100) == b"still here"
