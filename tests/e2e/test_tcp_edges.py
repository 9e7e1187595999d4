"""TCP where it is seldom looked at: peers that vanish, stall, reset or are silent."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import os
import pathlib
import select
import socket
import threading
from typing import Iterator

import pytest
from support.dnswire import ask
from support.flows import Drop, flow, read_to_end, reset, server
from support.lab import CONNECTOR, HOME_DNS, NAS, Lab
from support.netns import Host, wait_for
from support.pcap import Capture
from support.tg import CLIENT_ADDRESS, Tg

PIDFD_GETFD = 438
PEERS = tuple(f"172.16.30.{n}" for n in range(2, 7))       # as which the client's own sockets see applications by rewrite
CAPTURED = ipaddress.ip_network("100.96.0.0/12")           # and what those are bound to by split
NAT_MINIMUM = 2 * 3600 + 4 * 60                            # RFC 5382 REQ-5
_libc = ctypes.CDLL(None, use_errno=True)


def sockets(pids: list[int]) -> Iterator[socket.socket]:
    """The connected TCP sockets of other processes, each borrowed until the next is asked for."""
    for pid in pids:
        handle = os.pidfd_open(pid)
        try:
            for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if not os.readlink(entry).startswith("socket:"):
                        continue
                    fd = _libc.syscall(PIDFD_GETFD, handle, int(entry.name), 0)
                    if fd < 0:
                        continue
                    with socket.socket(fileno=fd) as borrowed:
                        if borrowed.family in (socket.AF_INET, socket.AF_INET6) and borrowed.type == socket.SOCK_STREAM:
                            borrowed.getpeername()
                            yield borrowed
        finally:
            os.close(handle)


class Ends:
    """The sockets that tg itself has for one flow to `port` of the NAS, made after this object was."""

    def __init__(self, tg: Tg, port: int) -> None:
        self.tg, self.port = tg, port
        self.before = {s.getpeername() for s in self._all_of_client()}

    def _all_of_client(self) -> Iterator[socket.socket]:
        for s in sockets(self.tg.client_pids()):
            if s.getpeername()[0] in PEERS or ipaddress.ip_address(s.getsockname()[0]) in CAPTURED:
                yield s

    def client(self) -> Iterator[socket.socket]:
        for s in self._all_of_client():
            if s.getpeername() not in self.before:
                yield s

    def connector(self) -> Iterator[socket.socket]:
        for s in sockets(self.tg.lab.connector.pids(self.tg.binary)):
            if s.getpeername() == (NAS, self.port):
                yield s

    def wait_gone(self) -> None:
        wait_for("the client has closed its socket", lambda: not list(self.client()), 10, explain=self.tg.explain)
        wait_for("the connector has closed its socket", lambda: not list(self.connector()), 10, explain=self.tg.explain)


def fill(s: socket.socket) -> int:
    """Sends until nothing on the way takes any more for half a second."""
    s.setblocking(False)
    sent = 0
    while select.select([], [s], [], 0.5)[1]:
        sent += s.send(bytes(1 << 16))
    return sent


def wait_reset(tg: Tg, s: socket.socket, *, ended: bool = False) -> None:
    """Waits for RST; where the other side's FIN was read before, Linux calls it EPIPE."""
    error = wait_for("an RST", lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 10, explain=tg.explain)
    assert error == (errno.EPIPE if ended else errno.ECONNRESET), errno.errorcode[error]


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_reset_is_passed_on_while_the_other_side_takes_nothing(tg: Tg, port: int, direction: str) -> None:
    ends = Ends(tg, port)
    with flow(tg, port) as (near, far):
        sender, stalled = (near, far) if direction == "upload" else (far, near)
        assert fill(sender) > 1 << 18, "less than one window of a stream was sent"
        reset(sender)
        wait_reset(tg, stalled)
        ends.wait_gone()


@pytest.mark.parametrize("first", ["near", "far"])
def test_a_reset_after_a_half_close_is_passed_on(tg: Tg, port: int, first: str) -> None:
    ends = Ends(tg, port)
    with flow(tg, port) as (near, far):
        closing, other = (near, far) if first == "near" else (far, near)
        closing.shutdown(socket.SHUT_WR)
        assert read_to_end(other) == b""
        reset(closing)
        wait_reset(tg, other, ended=True)
        ends.wait_gone()


def test_an_answer_right_before_a_reset_is_heard(tg: Tg, port: int) -> None:
    """A server that has seen enough of an upload, says so, and closes with the rest unread."""
    answer = b"HTTP/1.1 413 Content Too Large\r\n\r\n" * 300

    def upload(s: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                s.sendall(bytes(1 << 16))

    for i in range(10):
        with flow(tg, port) as (near, far):
            uploading = threading.Thread(target=upload, args=(near,))
            uploading.start()
            assert far.recv(1 << 16)
            far.sendall(answer)
            far.close()
            heard = b""
            with contextlib.suppress(ConnectionResetError):     # which the uploading thread may have got instead
                while part := near.recv(1 << 16):
                    heard += part
            assert heard == answer, f"{len(heard)} of {len(answer)} bytes, the {i + 1}th time"
            uploading.join()


def test_an_urgent_byte_is_not_lost(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        near.sendall(b"one")
        near.send(b"!", socket.MSG_OOB)
        near.sendall(b"two")
        near.shutdown(socket.SHUT_WR)
        assert read_to_end(far) == b"one!two"


@pytest.mark.parametrize("half_closed", [False, True], ids=["open", "half-closed"])
def test_a_reset_behind_urgent_data_that_nobody_takes_is_passed_on(tg: Tg, port: int, half_closed: bool) -> None:
    ends = Ends(tg, port)
    with flow(tg, port) as (near, far):
        if half_closed:
            near.shutdown(socket.SHUT_WR)
            assert read_to_end(far) == b""
        far.setblocking(False)
        while select.select([], [far], [], 0.5)[1]:
            far.send(bytes(1 << 14))
            with contextlib.suppress(BlockingIOError):
                far.send(b"!", socket.MSG_OOB)
        reset(far)
        wait_reset(tg, near)
        ends.wait_gone()


def test_peers_are_asked_whether_they_are_still_there(tg: Tg, port: int) -> None:
    ends = Ends(tg, port)
    with flow(tg, port) as (near, far):
        near.sendall(b"?")                  # once that has arrived, the client has taken the connection from its kernel
        assert far.recv(1) == b"?"
        for name, found in ("client", ends.client()), ("connector", ends.connector()):
            s = next(found)
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1, name
            idle, interval, count = (s.getsockopt(socket.IPPROTO_TCP, option) for option in
                                     (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT))
            assert idle <= 600, f"{name}: a peer that has forgotten the flow is noticed after {idle} s only"
            assert idle + interval * count >= NAT_MINIMUM, f"{name}: a silent flow ends after {idle + interval * count} s"
            found.close()


def ask_each_second(s: socket.socket) -> None:
    """The kernel's clock cannot be turned, so that the test asks more often than tg does."""
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)


def test_a_server_that_lost_power_under_an_idle_flow_is_noticed(tg: Tg, nas: Host, port: int) -> None:
    ends = Ends(tg, port)
    with flow(tg, port) as (near, far), Drop(nas, port) as drop:
        for s in ends.connector():
            ask_each_second(s)
        wait_reset(tg, near)
        assert drop.seen() >= 2
        ends.wait_gone()


def test_an_application_that_is_gone_is_noticed_though_its_server_never_closes(tg: Tg, laptop: Host, port: int) -> None:
    ends = Ends(tg, port)
    laptop.sysctl("net.ipv4.tcp_fin_timeout", 1)            # how long its kernel remembers it
    try:
        with flow(tg, port) as (near, far):
            near.close()
            assert read_to_end(far) == b""
            for s in ends.client():
                ask_each_second(s)
            wait_reset(tg, far, ended=True)
            ends.wait_gone()
    finally:
        laptop.sysctl("net.ipv4.tcp_fin_timeout", 60)


@pytest.fixture
def few_syns(lab: Lab) -> Iterator[None]:
    """The connector's kernel gives up a connect() after two SYNs, 3 s, and not after 127 s."""
    settings = {"net.ipv4.tcp_syn_retries": "1", "net.ipv4.tcp_syn_linear_timeouts": "0"}
    with lab.connector.inside():
        paths = {pathlib.Path("/proc/sys", key.replace(".", "/")): value for key, value in settings.items()}
        old = {path: path.read_text() for path in paths if path.exists()}      # linear timeouts: since Linux 6.5
        for path in old:
            path.write_text(paths[path])
    yield
    with lab.connector.inside():
        for path, value in old.items():
            path.write_text(value)


def test_a_timeout_stays_silent(tg: Tg, lab: Lab, laptop: Host, nas: Host, port: int, few_syns: None) -> None:
    address = tg.lookup("nas.home.int")
    with Drop(nas, port) as drop, Capture(laptop, "any", f"host {address} or icmp") as wires:
        with laptop.socket(timeout=0) as near:
            assert near.connect_ex((address, port)) == errno.EINPROGRESS
            wait_for("the connector tries", drop.seen, 5, explain=tg.explain)
            def trying() -> str:
                return lab.connector.run(["ss", "-Htn", "state", "syn-sent", f"dport = :{port}"]).ok().out
            wait_for("the connector's kernel has given up", lambda: not trying(), 10, explain=tg.explain)
            assert drop.seen() == 2
            before = sum(p.target == address for p in wires.packets())
            def again() -> bool:
                return sum(p.target == address for p in wires.packets()) > before
            wait_for("the application's kernel tries again", again, 15, explain=tg.explain)
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert not select.select([], [near], [], 0)[1], "connect() has ended"
            assert drop.seen() == 2, "that was a new flow to the connector"
        seen = list(wires.packets())
    assert not [p for p in seen if p.source == address and p.protocol == 6]
    assert not [p for p in seen if p.protocol == 1 and p.target == CLIENT_ADDRESS]


def test_a_silent_address_is_left_for_the_next_after_five_seconds(tg: Tg, lab: Lab, nas: Host, port: int) -> None:
    """Both are the NAS. The name is asked for first, to see which of them the connector will try first."""
    name, addresses = "twice.lab.home.int", {NAS, "10.0.1.25"}
    lab.home_dns.stop()
    lab.start_home_dns(["no-round-robin", *(f"host-record={name},{a}" for a in sorted(addresses))])
    try:
        order = [r.text for r in ask(lab.connector, HOME_DNS, name).answer]
        assert set(order) == addresses
        nas.nft(f"table ip silent {{\n chain input {{\n type filter hook input priority filter\n"
                f" ip daddr {order[0]} tcp dport {port} drop\n }}\n}}")
        with nas.listen(order[0], port), nas.listen(order[1], port) as second:
            with Capture(nas, "any", f"tcp port {port} and src {CONNECTOR}") as wires:
                with tg.connect(name, port, timeout=15) as near:
                    far, _ = second.accept()
                    near.sendall(b"here?")
                    with far:
                        assert far.recv(16) == b"here?"
                tried: dict[str, float] = {}
                for p in wires.packets():
                    tried.setdefault(p.target, p.time)
        assert list(tried) == order
        assert 4.9 < tried[order[1]] - tried[order[0]] < 7
    finally:
        nas.run("nft delete table ip silent")
        lab.home_dns.stop()
        lab.start_home_dns()

def test_a_port_that_is_used_again_at_once_is_a_connection_of_its_own(tg: Tg, lab: Lab, port: int) -> None:
    """As when few ports are left: the application closes when it has read the end, and opens the next connection from the same port."""
    address = tg.lookup("nas.home.int")
    with server(lab.nas, port, lambda s: s.sendall(b"once")):
        for number in range(300):
            with lab.laptop.socket(timeout=10) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("0.0.0.0", port))
                def connected() -> bool:                        # once the last ACK of the one before has come, which tg carries by rewrite
                    return s.connect_ex((address, port)) != errno.EADDRNOTAVAIL      # noqa: B023
                wait_for("the port is free", connected, 5, 0.001)
                s.getpeername()
                assert read_to_end(s) == b"once", number
