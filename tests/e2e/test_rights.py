"""What a running tg may still do: root started it, and it kept little of that."""
from __future__ import annotations

import pathlib
import shutil
from typing import Iterator

import pytest
from support.lab import PUBLIC_WEB
from support.netns import numbered
from support.tg import PEOPLE, RESOURCES, Tg

NET_ADMIN, NET_RAW, NET_BIND_SERVICE, DAC_OVERRIDE = 1 << 12, 1 << 13, 1 << 10, 1 << 1


@pytest.fixture
def relayed(tg: Tg) -> Iterator[Tg]:
    """With a relay of its own."""
    tg.apply(f'{PEOPLE}{RESOURCES}[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n').ok()
    relay = tg.start_relay(tg.token("relay", "relay-1"))
    yield tg
    relay.stop()
    tg.apply(PEOPLE + RESOURCES, "--prune").ok()
    shutil.rmtree(tg.state("relay"))


def pid_of(tg: Tg, role: str) -> int:
    started = {"controller": tg.controller, "connector": tg.connector, "relay": tg.relay}
    if role == "client":
        (pid,) = tg.lab.laptop.pids(tg.binary)
        return pid
    process = started[role]
    assert process and pathlib.Path(f"/proc/{process.pid}/exe").resolve() == tg.binary
    return process.pid


def rights(tg: Tg, role: str) -> list[dict[str, str]]:
    """Of each thread: connector and controller have one that carries the client's tunnel."""
    texts = list(numbered(f"/proc/{pid_of(tg, role)}/task", "status"))
    assert len(texts) >= (2 if role in ("connector", "controller") else 1), texts
    return [dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line) for text in texts]


@pytest.mark.parametrize("role, kept", [
    ("client", NET_ADMIN | NET_BIND_SERVICE | DAC_OVERRIDE),
    ("connector", NET_RAW),
    ("controller", 0),
    ("relay", NET_BIND_SERVICE),
])
def test_each_role_keeps_what_it_needs(relayed: Tg, role: str, kept: int) -> None:
    for status in rights(relayed, role):
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == kept, status
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0, status


# Row 22 of the threats.
def test_no_role_starts_programs_or_looks_into_others(relayed: Tg) -> None:
    if relayed.sanitized():
        pytest.skip("sanitizers' reports need what is given up otherwise")
    for role in ("client", "connector", "controller", "relay"):
        for status in rights(relayed, role):
            assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "1"), (role, status)
