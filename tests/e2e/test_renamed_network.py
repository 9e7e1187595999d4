"""A network gets another name while a client is up: its connector stays the one it is, and so does everything else."""
from __future__ import annotations

import errno
import select
import signal
import socket

from support.netns import wait_for
from support.tg import PEOPLE, RESOURCES, Tg
from test_live_changes import SOON, changing      # noqa: F401


def test_new_flows_work_soon_after_a_network_was_renamed_and_named_back(changing: Tg) -> None:      # noqa: F811
    """The client's new grant and the connector's new network come by two control streams, in either order: over some
    renamings both are tried. A grant that came first is not lost."""
    renamed = (PEOPLE + RESOURCES).replace('"home"', '"house"')
    assert '"home"' not in renamed
    probe, soon = (1.0, 2 * SOON) if changing.sanitized() else (0.3, SOON)     # a probe that hangs is no answer
    for turn in range(6):
        policy = renamed if turn % 2 == 0 else PEOPLE + RESOURCES
        changing.apply(policy, "--prune").ok()
        wait_for(f"renaming {turn}: flows work", lambda: changing.works(probe), soon, explain=changing.explain)


def test_a_flow_that_waits_for_a_tunnel_goes_on_when_the_network_is_renamed(changing: Tg) -> None:      # noqa: F811
    renamed = (PEOPLE + RESOURCES).replace('"home"', '"house"')
    changing.wait_settled()
    assert changing.connector
    changing.client("down").ok()
    changing.connector.signal(signal.SIGSTOP)
    try:
        changing.client_up().ok()
        address = changing.lookup("nas.home.int")
        with changing.lab.laptop.socket() as s:
            s.setblocking(False)
            assert s.connect_ex((address, 80)) == errno.EINPROGRESS
            changing.apply(renamed, "--prune").ok()
            wait_for("the client has heard of it", lambda: {t["network"] for t in changing.status()["tunnels"]} == {"house"}, SOON,
                     explain=changing.explain)
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, "it was refused, and not waited for"
            changing.connector.signal(signal.SIGCONT)
            assert select.select([], [s], [], 8)[1] and s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            s.settimeout(2)
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert s.recv(64).startswith(b"HTTP/1.1 200")
    finally:
        changing.connector.signal(signal.SIGCONT)
