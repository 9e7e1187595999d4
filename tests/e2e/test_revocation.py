"""What is taken away ends on live flows within 5 s, at the connector and whatever the client does, and nothing else ends.
Each with 1,000 flows: half of them lead to what is taken away, half to what is kept."""
from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Callable, Iterator

import pytest
from support.lab import NAS
from support.netns import wait_for
from support.tg import PEOPLE, RESOURCES, Tg, resource

END = 5.0
HALF = 500
KEPT = "10.0.1.25"                     # the NAS, too
Pair = tuple[socket.socket, socket.socket]
FOLK = '[[group]]\nname = "folk"\nmembers = {}\n'
NAS_ONLY = resource("NAS", "nas.home.int", 'alias = "nas.tg"')
OF_FOLK = NAS_ONLY.replace('["family"]', '["folk"]')
POLICY = PEOPLE + FOLK.format('["alice@example.com"]') + RESOURCES.replace(NAS_ONLY, OF_FOLK)


@pytest.fixture
def busy(tg: Tg, port: int) -> Iterator[tuple[Tg, list[Pair], list[Pair]]]:
    """tg with the flows that will be lost and those that are kept, each used once in both directions."""
    tg.apply(POLICY, "--prune").ok()
    wait_for("the policy holds", tg.works, 5, explain=tg.explain)
    with contextlib.ExitStack() as stack:
        def flows(listen: str, address: str) -> list[Pair]:
            listener = stack.enter_context(tg.lab.nas.listen(listen, port, HALF))
            out = []
            for _ in range(HALF):
                near = stack.enter_context(tg.connect(address, port))
                far = stack.enter_context(listener.accept()[0])
                far.settimeout(10)
                out.append((near, far))
            use(out)
            return out
        yield tg, flows(NAS, tg.lookup("nas.home.int")), flows(KEPT, KEPT)
    tg.stop()                          # whatever was taken away
    tg.policy = ""


def use(flows: list[Pair]) -> None:
    """Both directions of every flow work."""
    for near, far in flows:
        near.sendall(b"?")
    for near, far in flows:
        assert far.recv(1) == b"?"
        far.sendall(b"!")
    for near, far in flows:
        assert near.recv(1) == b"!"


def ends(flows: list[Pair], since: float) -> list[float]:
    """How long after `since` the server of each flow has seen its end, in rising order."""
    poll, left, out = select.epoll(), {far.fileno() for _, far in flows}, []
    with poll:
        for fd in left:
            poll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)
        while left and time.monotonic() - since < 3 * END:
            for fd, _ in poll.poll(0.5):
                left.discard(fd)
                out.append(time.monotonic() - since)
    assert not left, f"{len(left)} of {len(flows)} flows are alive {3 * END:g} s after the change; {len(out)} have ended"
    return out


def within(took: list[float], what: str) -> None:
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    print(f"{what}: {len(took)} flows ended, p50 {p50:.2f} s, p99 {p99:.2f} s, last {took[-1]:.2f} s")
    assert p99 < END, f"p99 {p99:.2f} s"


def narrow(tg: Tg) -> None:
    only_http = 'protocols = { tcp = ["80"], udp = "none", icmp = false }\n'
    tg.apply(POLICY.replace(OF_FOLK, OF_FOLK + only_http)).ok()


def leave(tg: Tg) -> None:
    tg.apply(POLICY.replace(FOLK.format('["alice@example.com"]'), FOLK.format('["bob@example.com"]'))).ok()


def delete_resource(tg: Tg) -> None:
    tg.admin("resource delete", "NAS").ok()


def block_device(tg: Tg) -> None:
    tg.admin("device update", str(tg.status()["device"]), "--to", "blocked").ok()


def delete_user(tg: Tg) -> None:
    tg.admin("user delete", "alice@example.com").ok()


def delete_connector(tg: Tg) -> None:
    tg.admin("connector delete", "home-1").ok()


@pytest.mark.parametrize("change", [narrow, leave, delete_resource])
def test_what_one_loses_ends_and_the_rest_goes_on(busy: tuple[Tg, list[Pair], list[Pair]], change: Callable[[Tg], None]) -> None:
    tg, lost, kept = busy
    since = time.monotonic()
    change(tg)
    within(ends(lost, since), change.__name__)
    use(kept)


@pytest.mark.parametrize("change", [block_device, delete_user, delete_connector])
def test_everything_ends_of_who_is_out(busy: tuple[Tg, list[Pair], list[Pair]], change: Callable[[Tg], None]) -> None:
    tg, lost, kept = busy
    since = time.monotonic()
    change(tg)
    within(ends(lost + kept, since), change.__name__)


def test_a_client_that_hears_nothing_changes_nothing(busy: tuple[Tg, list[Pair], list[Pair]]) -> None:
    """It is stopped, and so it neither ends a flow nor shows a new grant: the connector does it."""
    tg, lost, _ = busy
    clients = tg.client_pids()
    for pid in clients:
        os.kill(pid, signal.SIGSTOP)
    try:
        since = time.monotonic()
        leave(tg)
        within(ends(lost, since), "leave, with a client that hears nothing")
    finally:
        for pid in clients:
            os.kill(pid, signal.SIGCONT)
