"""Hundreds of flows through tg, both ends of each, and how long after something they end."""
from __future__ import annotations

import contextlib
import select
import socket
import time

from support.tg import Tg

END = 5.0                              # what is taken away ends within so many seconds
Pair = tuple[socket.socket, socket.socket]


def many(stack: contextlib.ExitStack, tg: Tg, listen: str, address: str, port: int, count: int) -> list[Pair]:
    """So many flows to a server that listens on the NAS at `listen`, each used once in both directions: (near, far)."""
    listener = stack.enter_context(tg.lab.nas.listen(listen, port, count))
    out = []
    for _ in range(count):
        near = stack.enter_context(tg.connect(address, port))
        far = stack.enter_context(listener.accept()[0])
        far.settimeout(10)
        out.append((near, far))
    use(out)
    return out


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
