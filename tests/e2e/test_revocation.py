"""What is taken away ends on live flows within 5 s, at the connector and whatever the client does, and nothing else ends.
Each with 1,000 flows: half of them lead to what is taken away, half to what is kept."""
from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Callable, Iterator

import pytest
from support.lab import NAS
from support.many_flows import Pair, ends, many, use, within
from support.netns import freeze, wait_for
from support.tg import PEOPLE, RESOURCES, Tg, resource

HALF = 500
KEPT = "10.0.1.25"                     # the NAS, too
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
        yield (tg, many(stack, tg, NAS, tg.lookup("nas.home.int"), port, HALF), many(stack, tg, KEPT, KEPT, port, HALF))
    tg.stop()                          # whatever was taken away
    tg.policy = ""


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


# Rows 1 and 21 of the threats: the device of a thief, a user who is out.
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
        freeze(pid)
    try:
        since = time.monotonic()
        leave(tg)
        within(ends(lost, since), "leave, with a client that hears nothing")
    finally:
        for pid in clients:
            os.kill(pid, signal.SIGCONT)
