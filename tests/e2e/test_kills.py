"""kill -9 at any moment: the next start, or `down`, puts the machine back as it was.

TG_KILLS=1000 goes on to that number; otherwise as many as fit into 20 s."""
from __future__ import annotations

import os
import random
import signal
import time
from typing import Iterator

import pytest
from support.lab import ISP_DNS
from support.netns import Host, Process, wait_for
from support.tg import Tg

SECONDS = 20.0
RESOLV_CONF = f"# by hand\nsearch lab.home.int example.org\nnameserver {ISP_DNS}\noptions ndots:2 timeout:3\n"
LOOK = "ip -br addr; ip rule; ip -6 rule; ip route show table all; nft list ruleset"


@pytest.fixture
def machine(tg: Tg, laptop: Host) -> Iterator[str]:
    """The laptop without a client. A client that is enrolled is all that is needed: the rest goes on."""
    tg.client("down").ok()
    laptop.resolv_conf.write_text(RESOLV_CONF)
    yield looks(tg)
    tg.client("down")
    laptop.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
    tg.client_up().ok()
    tg.wait_works(10, "all the kills")


def looks(tg: Tg) -> str:
    return f"{tg.lab.laptop.run(LOOK).out}\n{tg.lab.laptop.resolv_conf.read_text()}"


def kept(tg: Tg) -> list[str]:
    """What the client has kept to put DNS back. Of a takeover that never came to its end, `down` leaves the copy that it
    had begun with (net/SYSTEM.md), and the next start takes it over."""
    return sorted(p.name for p in tg.state("client").glob("resolv.conf*"))


def test_a_kill_at_any_moment_leaves_nothing_behind(tg: Tg, laptop: Host, machine: str) -> None:
    wanted = int(os.environ.get("TG_KILLS", "0"))
    end = time.monotonic() + SECONDS
    chance = random.Random(7263)

    def start() -> Process:
        return laptop.start([*tg.words("client up"), "--foreground"], "killed", env=tg.env())

    client = start()
    began = time.monotonic()
    wait_for("the client has taken DNS over", lambda: laptop.resolv_conf.read_text() != RESOLV_CONF, 10, 0.002)
    usual = time.monotonic() - began               # from the start until DNS is taken over
    moments = {"starting": 0, "at work": 0, "stopping": 0}
    killed, touched, rounds = 0, 0, 0
    while killed < wanted or (not wanted and time.monotonic() < end):
        # One to three in a row: each finds what the one before has left.
        for again in range(chance.randint(1, 3)):
            if again or rounds:
                client = start()
            what = chance.choices(["starting", "stopping", "at work"], [6, 3, 1])[0]
            begin = time.monotonic()
            if what == "starting":
                moment = begin + chance.uniform(0, 1.2 * usual)
            else:
                client.wait_text("leads to tg's resolvers", 10)
                moment = time.monotonic() + chance.uniform(0, 0.02)
            if what == "stopping":
                client.signal(signal.SIGTERM)
            while time.monotonic() < moment:        # the moment is what is tried here
                pass
            if client.alive():
                client.kill()
                killed += 1
                moments[what] += 1
        rounds += 1
        left = looks(tg)
        touched += left != machine
        if chance.random() < 0.2:                   # by the next start, which is told to stop
            client = start()
            client.wait_text("leads to tg's resolvers", 10)
            client.signal(signal.SIGTERM)
            assert client.wait(10) == 0, client.text()
            assert kept(tg) == []
        else:
            tg.client("down").ok()
            assert "resolv.conf.taken" not in kept(tg)
        now = looks(tg)
        assert now == machine, f"after {killed} kills, the last while {what}; before it was put right:\n{left}\nnow:\n{now}"
    print(f"{killed} kills in {rounds} rounds, {moments}; {touched} rounds left something to put right")
    assert killed > 20 and all(moments.values()), moments
    assert touched > rounds / 10, "the moments were badly chosen: nothing was ever left"
