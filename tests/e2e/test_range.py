"""Another range for names than the usual one."""
from __future__ import annotations

import socket
from typing import Iterator

import pytest
from support.dnswire import SERVFAIL, ask
from support.lab import ISP_DNS, NAS, NAS_PAGE, Lab
from support.netns import Host, kill_and_wait, wait_for
from support.tg import PEOPLE, RESOURCES, STUB, Tg, resource

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


# -- address Resources inside the range -----------------------------------------------------------------------------------------
INSIDE = "100.100.5.7"


@pytest.fixture
def inside(tg: Tg, lab: Lab) -> Iterator[Tg]:
    """The home has a host whose address lies in the range of names."""
    lab.nas.ip(f"addr add {INSIDE}/32 dev lo")
    lab.connector.ip(f"route add {INSIDE}/32 via {NAS}")
    yield tg
    lab.connector.ip(f"route del {INSIDE}/32")
    lab.nas.ip(f"addr del {INSIDE}/32 dev lo")
    tg.policy = ""                                 # the next test starts anew


def reach(tg: Tg, port: int) -> None:
    """TCP, UDP and ping to the host."""
    with tg.lab.nas.listen(INSIDE, port) as listener, tg.connect(INSIDE, port) as near, listener.accept()[0] as far:
        near.sendall(b"x")
        assert far.recv(1) == b"x"
    laptop, nas = tg.lab.laptop, tg.lab.nas
    with nas.socket(kind=socket.SOCK_DGRAM) as far, laptop.socket(kind=socket.SOCK_DGRAM) as near:
        far.bind((INSIDE, port))
        near.sendto(b"y", (INSIDE, port))
        data, source = far.recvfrom(10)
        far.sendto(data, source)
        assert near.recvfrom(10) == (b"y", (INSIDE, port))
    assert " 1 received" in laptop.run(f"ping -c 1 -W 3 {INSIDE}").ok().out


def test_an_address_resource_inside_the_range_works_as_explain_says(inside: Tg, laptop: Host, port: int) -> None:
    usual = inside.lookup("nas.home.int")
    assert laptop.run(f"ping -c 1 -W 1 {INSIDE}").code == 1, "it is nobody's yet"
    inside.apply(PEOPLE + RESOURCES + resource("Inside", INSIDE)).ok()
    wait_for("the Resource is there", lambda: "Inside" in inside.client("resources").out, 2, explain=inside.explain)
    said = inside.client("explain", f"{INSIDE}:{port}").ok().out
    assert f"belongs to the Resource Inside ({INSIDE}" in said and f"tcp        {port} allowed" in said, said
    reach(inside, port)
    assert inside.lookup("nas.home.int") == usual and inside.works()


def test_a_resource_over_the_whole_range_leaves_names_what_they_have_and_is_told(inside: Tg, laptop: Host, port: int) -> None:
    usual = inside.lookup("nas.home.int")
    inside.apply(PEOPLE + RESOURCES + resource("Everything", "100.64.0.0/10") + resource("New", "new.home.int")).ok()
    told = "every address of the range 100.96.0.0/12 belongs to an address Resource"
    wait_for("status says so", lambda: told in inside.client("status").out, 3, explain=inside.explain)
    assert any(told in w for w in inside.status()["warnings"])       # type: ignore[attr-defined]
    assert inside.lookup("nas.home.int") == usual and inside.works(), "it keeps its address"
    assert ask(laptop, STUB, "new.home.int").rcode == SERVFAIL
    reach(inside, port)
    assert told in (inside.state("client") / "client.log").read_text()
    inside.apply(PEOPLE + RESOURCES + resource("New", "new.home.int"), "--prune").ok()
    wait_for("names get addresses again", lambda: ask(laptop, STUB, "new.home.int").rcode == 0, 2, explain=inside.explain)
    assert told not in inside.client("status").out


# -- mappings survive -----------------------------------------------------------------------------------------------------------
SMALL = "100.80.0.0/29"                            # six addresses
NAMES = ["nas.home.int", "nas.tg", "web.home.int", "shop.example.org", "gone.home.int", "down.home.int"]
ONE_MORE = "multi.home.int"


@pytest.fixture
def small(down: Tg) -> Iterator[Tg]:
    """The range is small; nothing is remembered of another one."""
    def forget() -> None:
        for name in ("addresses", "addresses.lent"):
            (down.state("client") / name).unlink(missing_ok=True)
    forget()
    down.client("up", "--range", SMALL).ok()
    yield down
    down.client("down")
    forget()


def test_mappings_survive_a_restart_in_whatever_order_names_are_asked_afterwards(small: Tg, laptop: Host) -> None:
    before = {name: small.lookup(name) for name in NAMES}
    assert len(set(before.values())) == len(NAMES)
    assert ask(laptop, STUB, ONE_MORE).rcode == SERVFAIL, "all are in use"
    small.client("down").ok()
    small.client("up", "--range", SMALL).ok()
    assert ask(laptop, STUB, ONE_MORE).rcode == SERVFAIL, "all may still be in somebody's cache"
    assert {name: small.lookup(name) for name in reversed(NAMES)} == before
    # And this is not because addresses are chosen by the name: with nothing remembered, they are others.
    small.client("down").ok()
    (small.state("client") / "addresses").unlink()
    small.client("up", "--range", SMALL).ok()
    assert {name: small.lookup(name) for name in reversed(NAMES)} != before


def test_mappings_survive_a_kill_right_after_the_answer(small: Tg, laptop: Host) -> None:
    for kept in range(1, len(NAMES) + 1):
        before = {name: small.lookup(name) for name in NAMES[:kept]}
        kill_and_wait(small.client_pids())
        small.client("up", "--range", SMALL).ok()
        others = [small.lookup(name) for name in NAMES[:kept - 1:-1]]
        assert not set(others) & set(before.values()), "another name has got an address that may be in a cache"
        assert {name: small.lookup(name) for name in reversed(NAMES[:kept])} == before
        small.client("down").ok()
        (small.state("client") / "addresses").unlink()
        small.client("up", "--range", SMALL).ok()
