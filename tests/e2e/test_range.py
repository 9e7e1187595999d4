"""Another range for names than the usual one."""
from __future__ import annotations

from typing import Iterator

import pytest
from support.lab import ISP_DNS, NAS_PAGE, Lab
from support.tg import Tg

RANGE = "100.80.0.0/16"


@pytest.fixture
def down(tg: Tg) -> Iterator[Tg]:
    """The client is down; afterwards it is up again with the usual range."""
    usual = tg.lookup("nas.home.int")
    tg.client("down").ok()
    yield tg
    tg.client("down")
    tg.client_up().ok()
    tg.wait_works(5, "the client is back")
    assert tg.lookup("nas.home.int") == usual, "the address that people know"


def test_names_live_in_another_range_and_leave_nothing_behind(down: Tg, lab: Lab) -> None:
    laptop = lab.laptop
    def clean() -> bool:
        seen = laptop.run("ip rule; ip route show table all; ip -br link").ok().out
        return not any(ours in seen for ours in ("7263", "tg0", "100.80.", "172.16.30.", "100.95.0."))
    assert clean()
    down.client("up", "--range", RANGE).ok()
    assert f"{RANGE} dev tg0" in laptop.run("ip route show table 7263").ok().out
    assert "100.96.0.0/12" not in laptop.run("ip route show table 7263").ok().out
    address = laptop.run("dig +short nas.home.int").ok().out.strip()
    assert address.startswith("100.80."), address
    assert laptop.run("curl -sS --max-time 5 http://nas.home.int/").ok().out == NAS_PAGE
    assert laptop.run(f"dig +short -x {address}").ok().out == "nas.home.int.\n"
    assert laptop.run("dig +short example.org").ok().out.strip(), "names elsewhere"
    assert f"range {RANGE}" in down.client("status").ok().out
    down.client("down").ok()
    assert clean()
    assert laptop.run("cat /etc/resolv.conf").out == f"nameserver {ISP_DNS}\n"


@pytest.mark.parametrize("own", ["100.95.0.248/29", "172.16.30.0/30"])
def test_a_range_of_tgs_own_addresses_is_refused(down: Tg, own: str) -> None:
    result = down.client("up", "--range", own)
    assert result.code == 2 and result.err == f"tg: --range {own}: has only addresses that tg itself uses; choose another\n", result
