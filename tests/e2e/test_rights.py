"""What a running tg may still do: root started it, and it kept little of that."""
from __future__ import annotations

import pathlib

import pytest
from support.netns import Host
from support.tg import Tg

NET_ADMIN, NET_RAW, NET_BIND_SERVICE, DAC_OVERRIDE = 1 << 12, 1 << 13, 1 << 10, 1 << 1


def rights(tg: Tg, host: Host) -> dict[str, str]:
    (pid,) = host.pids(tg.binary)
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.parametrize("role, kept", [
    ("laptop", NET_ADMIN | NET_BIND_SERVICE | DAC_OVERRIDE),
    ("connector", NET_RAW),
    ("internet", 0),
])
def test_each_role_keeps_what_it_needs(tg: Tg, role: str, kept: int) -> None:
    status = rights(tg, getattr(tg.lab, role))
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == kept, status
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0, status


def test_no_role_starts_programs_or_looks_into_others(tg: Tg) -> None:
    if tg.sanitized():
        pytest.skip("sanitizers' reports need what is given up otherwise")
    for host in (tg.lab.laptop, tg.lab.connector, tg.lab.internet):
        status = rights(tg, host)
        assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "1"), (host.name, status)
