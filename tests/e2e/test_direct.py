"""A connector that listens is reached directly; where that is blocked, through the relay."""
from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any, Iterator

import pytest
from support.flows import flow, hash_to_end, read_to_end, server
from support.lab import CONNECTOR, NAS, Lab
from support.netns import wait_for
from support.tg import Tg

PORT = 8445


def tunnel_of(tg: Tg) -> dict[str, Any]:
    """The tunnel to the connector, as status says it; {} without one."""
    tunnels = json.loads(tg.client("status", "--json").out)["tunnels"]     # exit status 3 while it is offline
    assert isinstance(tunnels, list)
    return next((t for t in tunnels if t["connector"] == "home-1"), {})


def path_of(tg: Tg) -> str:
    """"direct" or "relayed"; "" without a tunnel."""
    return str(tunnel_of(tg).get("path", ""))


def wait_direct(tg: Tg, deadline: float = 10) -> None:
    wait_for("status says direct", lambda: path_of(tg) == "direct", deadline, explain=tg.explain)


@pytest.fixture
def open_home(tg: Tg, lab: Lab) -> Iterator[Tg]:
    """The connector listens on its own address, and the internet has a way to it."""
    assert tg.connector
    lab.internet.ip(f"route add {CONNECTOR}/32 via 192.0.2.7")
    lab.router.nft(f"insert rule inet home forward tcp dport {PORT} accept")
    try:
        tg.connector.stop()
        tg.connector_arguments = ["--listen", f"{CONNECTOR}:{PORT}"]
        tg.start_connector()
        tg.wait_works(10, "the connector listens")
        yield tg
    finally:
        lab.internet.run("nft delete table ip wall")       # when a test has failed
        lab.internet.ip(f"route del {CONNECTOR}/32")
        rules = lab.router.run("nft -a list chain inet home forward").out
        handle = next(line.split()[-1] for line in rules.splitlines() if str(PORT) in line)
        lab.router.nft(f"delete rule inet home forward handle {handle}")
        tg.connector_arguments = []
        tg.connector.stop()
    tg.start_connector()
    tg.wait_works(10, "the connector no longer listens")


def test_the_direct_path_is_preferred(open_home: Tg) -> None:
    wait_direct(open_home)
    assert open_home.works()


class Counters:
    """While it stands, the internet counts the bytes of the direct path, and those that the relay takes and gives."""

    PATHS = {"direct": PORT, "relayed": 8444}

    def __init__(self, lab: Lab) -> None:
        self.internet = lab.internet

    def __enter__(self) -> Counters:
        counters = "".join(f" counter {name} {{ }}\n" for name in self.PATHS)
        rules = "".join(f" tcp {side} {port} counter name {name}\n" for name, port in self.PATHS.items()
                        for side in ("sport", "dport"))
        hooks = "".join(f" chain {hook} {{\n type filter hook {hook} priority filter\n{rules} }}\n"
                        for hook in ("input", "output", "forward"))
        self.internet.nft(f"table ip count {{\n{counters}{hooks}}}")
        return self

    def bytes(self) -> dict[str, int]:
        told = json.loads(self.internet.run("nft -j list counters table ip count").ok().out)["nftables"]
        return {c["counter"]["name"]: c["counter"]["bytes"] for c in told if "counter" in c}

    def __exit__(self, *_: object) -> None:
        self.internet.nft("delete table ip count")


@pytest.mark.parametrize("way", ["down", "up"])
def test_the_direct_path_carries_the_data(open_home: Tg, lab: Lab, port: int, way: str) -> None:
    wait_direct(open_home)
    size = 20 << 20
    (lab.web_root / "some.bin").write_bytes(bytes(size))
    with Counters(lab) as counters:
        if way == "down":
            lab.laptop.run("curl -sS -o /dev/null http://nas.home.int/files/some.bin", timeout=30).ok()
        else:
            got: list[tuple[str, int]] = []
            with server(lab.nas, port, lambda s: got.append(hash_to_end(s))):
                lab.laptop.run(f"nc -N nas.home.int {port} < {lab.web_root}/some.bin", timeout=30).ok()
            assert [n for _, n in got] == [size]
        seen = counters.bytes()
    assert size < seen["direct"] < size * 5 // 4, seen
    assert seen["relayed"] < 100_000, f"more than what keeps the relay's connections alive: {seen}"


def block(lab: Lab, verdict: str, sides: tuple[str, ...] = ("dport", "sport")) -> None:
    rules = "\n".join(f" tcp {side} {PORT} {verdict}" for side in sides)
    lab.internet.nft(f"table ip wall {{\n chain forward {{\n type filter hook forward priority filter\n{rules}\n }}\n}}")


def unblock(lab: Lab) -> None:
    lab.internet.nft("delete table ip wall")


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_a_blocked_direct_path_falls_back_to_the_relay(open_home: Tg, lab: Lab, verdict: str) -> None:
    wait_direct(open_home)
    block(lab, verdict)
    took = open_home.wait_works(5, "the direct path was blocked")
    print(f"{took:.1f} s until a new flow worked")
    now = tunnel_of(open_home)
    assert now["path"] == "relayed"
    if verdict == "drop":
        assert [t["state"] for t in now["others"] if t["path"] == "direct"] == ["silent"], now
    unblock(lab)
    wait_direct(open_home, 20)


def test_a_connect_that_is_under_way_when_the_path_dies_takes_the_other(open_home: Tg, lab: Lab, port: int) -> None:
    wait_direct(open_home)
    address = open_home.lookup("nas.home.int")
    block(lab, "drop")
    started = time.monotonic()
    with lab.nas.listen(NAS, port) as listener, lab.laptop.socket(timeout=5) as near:
        near.connect((address, port))
        print(f"connect() returned after {time.monotonic() - started:.1f} s")
        far, _ = listener.accept()
        with far:
            near.sendall(b"x")
            assert far.recv(1) == b"x"
    unblock(lab)


def test_live_flows_survive_a_path_that_swallows_for_eight_seconds(open_home: Tg, lab: Lab, port: int) -> None:
    wait_direct(open_home)
    sent, got = bytearray(), bytearray()
    with flow(open_home, port) as (near, far):
        def say(text: bytes) -> None:
            near.sendall(text)
            sent.extend(text)
        def hear() -> bool:
            far.settimeout(0.2)
            try:
                got.extend(far.recv(1 << 16))
            except TimeoutError:
                pass
            return len(got) >= len(sent)
        say(b"before")
        wait_for("the first bytes are there", hear, 5)
        block(lab, "drop")
        started = time.monotonic()
        say(b"into the hole")
        open_home.wait_works(5, "the direct path was blocked")
        while time.monotonic() - started < 8:
            say(bytes(range(256)) * 10)
            threading.Event().wait(0.5)
        assert not hear(), "the path is really dead"
        others = tunnel_of(open_home)["others"]
        assert [(t["state"], t["flows"]) for t in others if t["path"] == "direct"] == [("silent", 1)], others
        unblock(lab)
        wait_for("every byte has arrived", hear, 15, explain=open_home.explain)
        print(f"{time.monotonic() - started:.1f} s until the live flow went on")
        assert got == sent
        far.settimeout(5)
        far.sendall(b"and back")
        assert near.recv(100) == b"and back"
        wait_direct(open_home)


def test_no_connection_is_opened_twice_with_data(open_home: Tg, lab: Lab, port: int) -> None:
    """Only the connector's words are swallowed: it has connected when the client gives up waiting."""
    wait_direct(open_home)
    address = open_home.lookup("nas.home.int")
    with lab.nas.listen(NAS, port) as listener, lab.laptop.socket(timeout=5) as near:
        block(lab, "drop", ("sport",))
        near.connect((address, port))
        near.sendall(b"once")
        near.shutdown(socket.SHUT_WR)
        listener.settimeout(5)
        first, second = listener.accept()[0], listener.accept()[0]
        with first, second:
            first.settimeout(20)
            second.settimeout(5)
            assert read_to_end(second) == b"once"
            unblock(lab)                            # now the RESET of the first gets through
            try:
                assert read_to_end(first) == b""
            except ConnectionResetError:
                pass


def test_a_path_blocked_from_the_start_costs_little(open_home: Tg, lab: Lab) -> None:
    block(lab, "drop")
    open_home.client("down").ok()
    open_home.client_up().ok()
    took = open_home.wait_works(5, "the client came up with the direct path blocked")
    assert took < 3


def test_with_the_controller_and_its_relay_gone_the_direct_path_goes_on(open_home: Tg, port: int) -> None:
    wait_direct(open_home)
    assert open_home.controller
    with flow(open_home, port) as (near, far):
        open_home.controller.kill()
        for _ in range(3):
            near.sendall(b"still there?")
            assert far.recv(100) == b"still there?"
            assert open_home.works(), open_home.explain()
        open_home.start_controller()
        near.sendall(b"and after")
        assert far.recv(100) == b"and after"
    open_home.wait_works(5, "the controller came back")
