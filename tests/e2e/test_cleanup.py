"""However the client ends, the machine is as it was."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time

import pytest
from support.flows import server
from support.lab import ISP_DNS
from support.netns import Host, kill_and_wait, wait_for
from support.tg import CLIENT_ADDRESS, STUB, Tg

RESOLV_CONF = f"# by hand\nsearch lab.home.int example.org\nnameserver {ISP_DNS}\noptions ndots:2 timeout:3\n"


def system(host: Host) -> dict[str, str]:
    shown = {c: host.run(c).out for c in ("ip -br addr", "ip rule", "ip -6 rule", "ip route show table all", "nft list ruleset",
                                          "sysctl -a -r 'net.ipv4.conf.(all|default|eth0|lo)'")}
    return {**shown, "resolv.conf": host.resolv_conf.read_text()}


@pytest.fixture
def clean(tg: Tg, laptop: Host):                                     # type: ignore[no-untyped-def]
    """The laptop before the client came up; tg is up."""
    tg.client("down").ok()
    laptop.resolv_conf.write_text(RESOLV_CONF)
    inode = laptop.resolv_conf.stat().st_ino
    before = system(laptop)
    tg.client_up().ok()
    assert system(laptop) != before and STUB in laptop.resolv_conf.read_text()
    yield before
    assert laptop.resolv_conf.stat().st_ino == inode, "resolv.conf must be edited in place: containers bind-mount it"
    tg.client("down")
    laptop.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
    tg.client_up().ok()


def same(laptop: Host, before: dict[str, str]) -> None:
    now = system(laptop)
    for what, was in before.items():
        assert now[what] == was, f"{what} is not as it was"


def test_down_takes_everything_out(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    tg.client("down").ok()
    same(laptop, clean)
    assert not tg.client_pids()


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "an empty folder"])
def test_down_where_no_client_ever_ran_leaves_nothing(tg: Tg, laptop: Host, there: bool) -> None:
    state = tg.lab.root / "nobody" / "client"
    if there:
        state.mkdir(parents=True)
    result = laptop.run([str(tg.binary), "client", "down", "--state", str(state)]).ok()
    assert "the client was not running" in result.err
    assert not list(state.iterdir()) if there else not state.parent.exists()
    shutil.rmtree(state.parent, ignore_errors=True)
    assert tg.works(), "another client is left alone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_takes_everything_out(tg: Tg, laptop: Host, clean: dict[str, str], number: int) -> None:
    for pid in tg.client_pids():
        os.kill(pid, number)
    wait_for("the client has ended", lambda: not tg.client_pids(), 5)
    same(laptop, clean)


@pytest.mark.parametrize("how", ["down", "SIGTERM"])
def test_live_flows_end_with_a_reset(tg: Tg, laptop: Host, clean: dict[str, str], port: int, how: str) -> None:
    """Their applications would wait for ever otherwise. More flows than a TUN's queue holds packets."""
    def stay(s: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            s.recv(1)

    slow = tg.sanitized()
    with server(tg.lab.nas, port, stay), contextlib.ExitStack() as stack:
        address = tg.lookup("nas.home.int")
        flows = [stack.enter_context(tg.connect(address, port)) for _ in range(700)]
        started = time.monotonic()
        if how == "down":
            tg.client("down").ok()
            started = time.monotonic() if slow else started      # the command itself takes its time to begin
        else:
            for pid in tg.client_pids():
                os.kill(pid, signal.SIGTERM)
        for i, near in enumerate(flows):
            near.settimeout(max(0.01, started + 2 - time.monotonic()))
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            assert time.monotonic() - started < 2, f"flow {i}"
    wait_for("the client has ended", lambda: not tg.client_pids(), 5)
    same(laptop, clean)


def test_the_tail_of_a_flow_that_a_slow_reader_has_not_read_ends_with_a_reset(tg: Tg, laptop: Host, clean: dict[str, str],
                                                                              port: int) -> None:
    def answer(s: socket.socket) -> None:
        assert s.recv(64) == b"question" and s.recv(1) == b""
        s.sendall(bytes(1 << 19))

    with server(tg.lab.nas, port, answer), laptop.socket() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        near.connect((tg.lookup("nas.home.int"), port))
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        def last_ack() -> str:
            return laptop.run(["ss", "-Htn", "state", "last-ack", "sport", f"= :{port}", "or", "src", CLIENT_ADDRESS]).ok().out
        wait_for("the client has all of it, and its kernel the rest", last_ack, 10, explain=tg.explain)
        tg.client("down").ok()
        near.settimeout(2)
        with pytest.raises(ConnectionResetError):
            while near.recv(1 << 16):
                pass


def test_down_after_kill_9_takes_everything_out(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    kill_and_wait(tg.client_pids())
    tg.client("down")
    same(laptop, clean)


def test_the_next_start_after_kill_9_repairs(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    up = system(laptop)
    for _ in range(3):
        kill_and_wait(tg.client_pids())
        tg.client_up().ok()
        assert tg.works()
        assert laptop.resolv_conf.read_text() == up["resolv.conf"], "not taken over twice"
    assert {k: sorted(v.split("\n")) for k, v in system(laptop).items() if k == "ip rule"} == \
        {k: sorted(v.split("\n")) for k, v in up.items() if k == "ip rule"}
    tg.client("down").ok()
    same(laptop, clean)


def test_search_domains_and_options_stay(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    text = laptop.resolv_conf.read_text()
    assert "search lab.home.int example.org" in text and "ndots:2" in text
    assert text.index(STUB) < text.index(ISP_DNS) if ISP_DNS in text else True


def test_resolv_conf_changed_meanwhile_is_not_overwritten_by_the_old_one(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    """As DHCP does in another network: after down, the new content stays."""
    new = "# by another network\nnameserver 198.51.100.1\noptions attempts:4\n"
    laptop.resolv_conf.write_text(new)
    wait_for("the client has put its resolvers back in front", lambda: STUB in laptop.resolv_conf.read_text(), 5)
    assert tg.works()
    tg.client("down").ok()
    assert laptop.resolv_conf.read_text() == new


def test_foreground_ends_with_ctrl_c(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    tg.client("down").ok()
    process = laptop.start([*tg.words("client up"), "--foreground"], "tg-client-foreground", env=tg.env())
    wait_for("the client in the foreground works", tg.works, 10, explain=process.text)
    process.signal(signal.SIGINT)
    assert process.wait(5) == 0
    same(laptop, clean)
    tg.client_up().ok()


def test_a_collision_with_the_address_range_is_named(tg: Tg, laptop: Host, clean: dict[str, str]) -> None:
    tg.client("down").ok()
    laptop.ip("route add 100.100.0.0/16 via 198.51.100.1 dev eth0")
    try:
        result = tg.client_up()
        assert result.code not in (0, 124) and "100.100.0.0/16" in result.err, result
        assert not tg.client_pids()
        assert laptop.resolv_conf.read_text() == RESOLV_CONF
    finally:
        laptop.ip("route del 100.100.0.0/16")
    tg.client_up().ok()
