"""A tunnel has lanes, TLS connections beside each other, while flows last: each flow is on one, and what happens to a lane
happens to no other."""
from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import Iterator

import pytest
from support.flows import flow
from support.lab import Lab
from support.netns import wait_for
from support.tg import PEOPLE, RESOURCES, Tg
from test_direct import PORT, block, open_home, tunnel_of, unblock, wait_direct      # noqa: F401
from test_workers import tunnels

SOON = 10.0
Flow = tuple[socket.socket, socket.socket]


def connections(lab: Lab) -> dict[int, int]:
    """The laptop's connections to the connector: how many bytes each has sent, by its port here."""
    told = lab.laptop.run(f"ss -HtniO state established dst :{PORT}").ok().out.splitlines()
    found = (re.search(r":(\d+)\s+\S+:\d+\s.*?bytes_sent:(\d+)", line) for line in told)
    return {int(m[1]): int(m[2]) for m in found if m}


def lanes(tg: Tg) -> int:
    return int(tunnel_of(tg).get("lanes", 0))


def wait_lanes(tg: Tg, count: int) -> None:
    wait_for(f"the tunnel has {count} lanes", lambda: lanes(tg) == count, SOON, explain=tg.explain)


@contextlib.contextmanager
def flows(tg: Tg, count: int, port: int) -> Iterator[list[Flow]]:
    """Flows one after the other, each when there is a lane for it."""
    with contextlib.ExitStack() as stack:
        all_of_them: list[Flow] = []
        for number in range(count):
            all_of_them.append(stack.enter_context(flow(tg, port + number)))
            wait_lanes(tg, min(number + 2, 4))
        yield all_of_them


def echo(one: Flow, text: bytes) -> bool:
    """Whether bytes go up and come down again."""
    near, far = one
    got = [b"", b""]
    near.settimeout(SOON)
    near.sendall(text)
    while len(got[0]) < len(text):
        got[0] += far.recv(1 << 16)
    far.sendall(got[0])
    while len(got[1]) < len(text):
        got[1] += near.recv(1 << 16)
    return got == [text, text]


def carrier(lab: Lab, one: Flow) -> int:
    """The port of the lane that carries this flow: the only one that sends more when it does."""
    size = 200_000
    before = connections(lab)
    near, far = one
    sender = threading.Thread(target=near.sendall, args=(bytes(size),), daemon=True)
    sender.start()
    left = size
    while left > 0:
        left -= len(far.recv(left))
    sender.join(SOON)
    more = [p for p, sent in connections(lab).items() if sent - before.get(p, 0) >= size]
    assert len(more) == 1, f"{before}, then {connections(lab)}"
    return more[0]


def wall(lab: Lab, port: int, verdict: str) -> None:
    """What one lane sends, and is sent, goes no further than the internet; see unblock."""
    lab.internet.nft("table ip wall {\n chain forward {\n type filter hook forward priority filter\n"
                     f" tcp sport {port} tcp dport {PORT} {verdict}\n tcp sport {PORT} tcp dport {port} {verdict}\n }}\n}}")


def test_each_flow_that_lasts_has_a_lane_of_its_own_up_to_four(open_home: Tg, lab: Lab, port: int) -> None:  # noqa: F811
    wait_direct(open_home)
    assert open_home.works() and lanes(open_home) == 1 and len(connections(lab)) == 1
    with flows(open_home, 5, port) as all_of_them:
        assert len({carrier(lab, one) for one in all_of_them[:4]}) == 4
        assert len(connections(lab)) == 4 and tunnels(open_home)["tunnels"] == 4
        told = tunnel_of(open_home)
        assert (told["flows"], told["state"]) == (5, "up") and "others" not in told
        assert told["bytes_out"] > 4 * 200_000, "it is the sum of all"
        assert re.search(r"^tunnel .* 5 flows, 4 lanes$", open_home.client("status").out, re.MULTILINE)
        assert open_home.works(), "a flow that finds all lanes taken"


def test_the_relayed_tunnel_has_lanes_too(tg: Tg, port: int) -> None:
    with flows(tg, 2, port) as all_of_them:
        assert tunnel_of(tg)["path"] == "relayed" and tunnels(tg)["tunnels"] == 3
        assert all(echo(one, b"by the relay") for one in all_of_them)


def test_a_lane_that_is_cut_takes_its_own_flow_with_it_and_no_other(open_home: Tg, lab: Lab, port: int) -> None:  # noqa: F811
    wait_direct(open_home)
    with flows(open_home, 3, port) as (first, second, third):
        wall(lab, carrier(lab, first), "reject with tcp reset")
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            first[0].sendall(b"into the wall")
            assert first[0].recv(1) == b""
        assert echo(second, b"alive") and echo(third, b"alive")
        assert open_home.works(), "a new flow"
        told = tunnel_of(open_home)
        assert (told["state"], told["path"], told["flows"]) == ("up", "direct", 2) and "others" not in told, told
        unblock(lab)
        with flow(open_home, port + 100):
            wait_lanes(open_home, 4)         # what was lost is made again, for who begins


def test_a_silent_lane_holds_up_neither_the_other_flows_nor_new_ones(open_home: Tg, lab: Lab, port: int) -> None:  # noqa: F811
    wait_direct(open_home)
    with flows(open_home, 2, port) as (first, second):
        wall(lab, carrier(lab, first), "drop")
        first[0].sendall(b"kept for later")

        def noticed() -> bool:
            assert echo(second, b"alive") and open_home.works()
            told = tunnel_of(open_home)
            assert (told["state"], told["path"]) == ("up", "direct") and "others" not in told, told
            return "does not answer; new flows take the others" in (open_home.state("client") / "client.log").read_text()

        wait_for("the client notices", noticed, SOON, explain=open_home.explain)
        assert noticed()
        unblock(lab)
        first[1].settimeout(15)
        assert first[1].recv(100) == b"kept for later"
        assert echo(first, b"and on it goes")


def test_a_way_that_swallows_all_lanes_is_left_by_what_begins(open_home: Tg, lab: Lab, port: int) -> None:  # noqa: F811
    wait_direct(open_home)
    with flows(open_home, 3, port) as all_of_them:
        block(lab, "drop")
        began = time.monotonic()
        try:
            with flow(open_home, port + 100) as new:            # which has a lane, and then the relay
                took = time.monotonic() - began
                print(f"{took:.2f} s")
                assert took < 4, "no lane is tried after another"
                assert tunnel_of(open_home)["path"] == "relayed"
                assert echo(new, b"by the relay")
        finally:
            unblock(lab)
        assert all(echo(one, b"and on it goes") for one in all_of_them)


def test_a_revocation_ends_the_flows_of_every_lane(open_home: Tg, lab: Lab, port: int) -> None:  # noqa: F811
    wait_direct(open_home)
    with flows(open_home, 4, port) as all_of_them:
        open_home.admin("resource delete", "NAS").ok()
        try:
            for near, far in all_of_them:
                for end in (near, far):
                    end.settimeout(SOON)
                    with contextlib.suppress(ConnectionResetError):
                        assert end.recv(1) == b""
        finally:
            open_home.apply(PEOPLE + RESOURCES).ok()
            open_home.wait_works(SOON, "the Resource is back")
