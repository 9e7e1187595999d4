"""A connector that listens is reached directly; where that is blocked, through the relay."""
from __future__ import annotations

from typing import Iterator

import pytest
from support.flows import flow
from support.lab import CONNECTOR, Lab
from support.netns import wait_for
from support.tg import Tg

PORT = 8445


def path_of(tg: Tg) -> str:
    """"direct" or "relay", as status says it; "" without a tunnel."""
    tunnels = tg.status()["tunnels"]
    assert isinstance(tunnels, list)
    return str(tunnels[0].get("path", "")) if tunnels else ""


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
        lab.internet.run("nft delete table ip wall")
        lab.internet.ip(f"route del {CONNECTOR}/32")
        rules = lab.router.run("nft -a list chain inet home forward").out
        handle = next(line.split()[-1] for line in rules.splitlines() if str(PORT) in line)
        lab.router.nft(f"delete rule inet home forward handle {handle}")
        tg.connector_arguments = []
        tg.connector.stop()
    tg.start_connector()
    tg.wait_works(10, "the connector no longer listens")


def block(lab: Lab, verdict: str) -> None:
    lab.internet.nft(f"table ip wall {{\n chain forward {{\n type filter hook forward priority filter\n"
                     f" tcp dport {PORT} {verdict}\n tcp sport {PORT} {verdict}\n }}\n}}")


def test_the_direct_path_is_preferred(open_home: Tg) -> None:
    wait_for("status says direct", lambda: path_of(open_home) == "direct", 10, explain=open_home.explain)
    assert open_home.works()


def test_the_direct_path_carries_the_data(open_home: Tg, lab: Lab) -> None:
    wait_for("status says direct", lambda: path_of(open_home) == "direct", 10, explain=open_home.explain)
    def sent() -> int:
        return int(lab.laptop.run("cat /sys/class/net/eth0/statistics/rx_bytes").ok().out)
    (lab.web_root / "some.bin").write_bytes(bytes(20 << 20))
    relay = lambda: int(lab.internet.run("cat /sys/class/net/home/statistics/tx_bytes").ok().out)    # noqa: E731
    before, at_relay = sent(), relay()
    lab.laptop.run("curl -sS -o /dev/null http://nas.home.int/files/some.bin", timeout=30).ok()
    assert sent() - before > 20 << 20
    assert relay() - at_relay < 10 << 20


@pytest.mark.parametrize("verdict", ["drop", "reject with tcp reset"])
def test_a_blocked_direct_path_falls_back_to_the_relay(open_home: Tg, lab: Lab, verdict: str) -> None:
    wait_for("status says direct", lambda: path_of(open_home) == "direct", 10, explain=open_home.explain)
    block(lab, verdict)
    took = open_home.wait_works(30, "the direct path was blocked")
    print(f"{took:.1f} s until a new flow worked")
    assert path_of(open_home).startswith("relay")
    lab.internet.nft("delete table ip wall")


def test_a_path_blocked_from_the_start_costs_little(open_home: Tg, lab: Lab) -> None:
    block(lab, "drop")
    open_home.client("down").ok()
    open_home.client_up().ok()
    took = open_home.wait_works(5, "the client came up with the direct path blocked")
    assert took < 3


def test_with_the_controller_and_its_relay_gone_the_direct_path_goes_on(open_home: Tg, port: int) -> None:
    wait_for("status says direct", lambda: path_of(open_home) == "direct", 10, explain=open_home.explain)
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
