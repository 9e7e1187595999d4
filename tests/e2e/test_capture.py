"""The two ways in which TCP is captured: chosen, said, and the same to applications. (All other tests run by split with the dev
build and by rewrite with the one under sanitizers: see scripts/test.)"""
from __future__ import annotations

import ipaddress
import threading
import time
from typing import Iterator

import pytest
from support.flows import flow, server
from support.lab import NAS, NAS_PAGE, Lab
from support.netns import Host, kill_and_wait, wait_for
from support.pcap import Capture
from support.tg import CLIENT_ADDRESS, PEOPLE, RESOURCES, Tg, resource
from test_errors import one_line

USAGE, CONFLICT = 2, 6
BOX = "10.77.0.2"
NOT_OURS = 'table ip tg { chain other { type filter hook input priority 0; }; }'


def capture_of(tg: Tg) -> dict[str, str]:
    return tg.status()["capture"]      # type: ignore[return-value]


def up_by(tg: Tg, way: str) -> None:
    tg.client("down").ok()
    tg.client("up", "--capture", way).ok()
    tg.wait_works(5, f"the client was started with --capture {way}")


@pytest.fixture
def again(tg: Tg) -> Iterator[None]:
    """Afterwards the client runs as other tests have it."""
    yield
    tg.client("down")
    tg.client_up().ok()


@pytest.mark.parametrize("way", ["auto", "split", "rewrite"])
def test_the_way_is_chosen_and_said(tg: Tg, laptop: Host, port: int, again: None, way: str) -> None:
    taken = "split" if way == "auto" else way
    up_by(tg, way)
    assert capture_of(tg) == {"way": taken}
    assert f"capture    {taken}\n" in tg.client("status").out
    assert f"TCP is captured by {taken}" in (tg.state("client") / "client.log").read_text()
    assert ("tproxy" in laptop.run("nft list ruleset").ok().out) == (taken == "split")
    address = tg.lookup("nas.home.int")
    with Capture(laptop, "tg0", f"tcp and host {address}") as wire, flow(tg, port) as (near, far):
        for _ in range(10):
            near.sendall(bytes(1 << 16))
            got = 0
            while got < 1 << 16:
                got += len(far.recv(1 << 16))
        assert near.getsockname()[0] == CLIENT_ADDRESS and near.getpeername() == (address, port)
        wait_for("the SYN is seen on tg0", lambda: any(p.source == CLIENT_ADDRESS for p in wire.packets()), 5)
        if taken == "rewrite":
            wait_for("all of it is seen on tg0", lambda: len(list(wire.packets())) > 10, 5)
    if taken == "split":
        seen = list(wire.packets())
        assert len(seen) == 2, f"the SYN out of it and back into it, and not {seen}"


def test_a_way_that_there_is_not_has_one_line(tg: Tg) -> None:
    one_line(tg.client("up", "--capture", "magic"), USAGE)


def test_where_split_is_not_to_be_had_rewrite_serves_and_the_reason_is_said(tg: Tg, laptop: Host, again: None) -> None:
    tg.client("down").ok()
    laptop.nft(NOT_OURS)
    try:
        refused = tg.client("up", "--capture", "split")
        one_line(refused, CONFLICT)
        assert "the packet filter table tg" in refused.err
        up_by(tg, "auto")
        told = capture_of(tg)
        assert told["way"] == "rewrite" and "could not make the packet filter table tg: File exists" in told["why"]
        assert "capture    rewrite: could not make" in tg.client("status").out
        assert "tproxy" not in laptop.run("nft list ruleset").ok().out
    finally:
        laptop.nft("delete table ip tg")


@pytest.mark.parametrize("deed", [
    "nft flush ruleset", "ip rule del priority 7262", "ip route flush table 7262", "sysctl -qw net.ipv4.conf.tg0.accept_local=0",
    "ip link set tg0 name foo0", "sysctl -qw net.ipv4.conf.all.rp_filter=1", "sysctl -qw net.ipv4.conf.all.src_valid_mark=1",
    "sysctl -qw net.ipv4.tcp_fwmark_accept=1", "sysctl -qw net.ipv4.tcp_syncookies=2"])
def test_what_somebody_does_to_split_does_not_stop_it(tg: Tg, laptop: Host, port: int, again: None, deed: str) -> None:
    up_by(tg, "split")
    time.sleep(2.5)        # so that nothing of the start is still to be looked at
    keys = [f"net.ipv4.{key}" for key in ("conf.all.rp_filter", "conf.all.src_valid_mark", "tcp_fwmark_accept", "tcp_syncookies")]
    before = {key: laptop.run(f"sysctl -n {key}").ok().out.strip() for key in keys}
    try:
        with flow(tg, port) as (near, far):
            laptop.run(deed).ok()
            tg.wait_works(5, deed)
            near.sendall(b"after")
            assert far.recv(100) == b"after"
            far.sendall(b"and back")
            assert near.recv(100) == b"and back"
    finally:
        for key, value in before.items():
            laptop.sysctl(key, value)
    wait_for("status is content", lambda: tg.client("status").code == 0, 3, explain=tg.explain)


def test_a_connection_from_before_the_resource_is_reset(tg: Tg, lab: Lab, laptop: Host, port: int) -> None:
    """At home, a connection went to the NAS by itself; then its address becomes a Resource."""
    over = threading.Event()
    with server(lab.nas, port, lambda s: over.wait(20)):
        laptop.ip("addr add 192.168.1.20/24 dev home0", "link set home0 up")
        try:
            with laptop.socket(timeout=10) as near:
                near.connect((NAS, port))
                tg.apply(PEOPLE + RESOURCES + resource("The NAS", NAS)).ok()
                wait_for("the client has the Resource", lambda: NAS in tg.client("resources").out, 5, explain=tg.explain)
                near.sendall(b"x")
                with pytest.raises(ConnectionResetError):
                    near.recv(1)
        finally:
            over.set()
            laptop.ip("link set home0 down", "addr flush dev home0")
            tg.apply(PEOPLE + RESOURCES, "--prune").ok()


@pytest.mark.parametrize("way", ["split", "rewrite"])
def test_a_client_that_is_killed_is_no_end_of_file(tg: Tg, laptop: Host, port: int, again: None, way: str) -> None:
    up_by(tg, way)
    with flow(tg, port) as (near, far):
        far.sendall(b"half of it")
        assert near.recv(100) == b"half of it"
        kill_and_wait(tg.client_pids())
        near.settimeout(1)
        with pytest.raises((ConnectionResetError, TimeoutError)):
            near.recv(100)


@pytest.fixture(scope="module")
def box(lab: Lab) -> Host:
    """A container on the laptop, with a network of its own."""
    made = lab.host("box")
    made.ip(f"link add eth0 type veth peer name box netns {lab.laptop.namespace}", f"addr add {BOX}/24 dev eth0", "link set eth0 up",
            "route add default via 10.77.0.1")
    lab.laptop.ip("addr add 10.77.0.1/24 dev box", "link set box up")
    return made


@pytest.mark.parametrize("way", ["split", "rewrite"])
@pytest.mark.parametrize("masquerade", [False, True], ids=["routed", "masqueraded"])
def test_a_container_reaches_a_resource_by_its_address(tg: Tg, lab: Lab, box: Host, again: None, way: str, masquerade: bool) -> None:
    up_by(tg, way)
    assert ipaddress.ip_address(tg.lookup("nas.home.int")) in ipaddress.ip_network("100.96.0.0/12")
    url = f"http://{tg.lookup('nas.home.int')}/"
    lab.laptop.sysctl("net.ipv4.ip_forward", 1)
    lab.laptop.sysctl("net.ipv4.conf.all.src_valid_mark", 1)      # as wg-quick leaves it
    if masquerade:
        lab.laptop.nft("""table ip boxes { chain nat { type nat hook postrouting priority srcnat
                          ip saddr 10.77.0.0/24 oifname != "box" masquerade
        } }""".replace("} }", "}\n}"))
    try:
        result = box.run(["curl", "-sS", "-m", "10", url])
        assert (result.code, result.out) == (0, NAS_PAGE), f"{result}\n{tg.explain()}"
        refused = box.run(["curl", "-sS", "-m", "10", f"{url[:-1]}:9/"])
        assert refused.code == 7 and refused.seconds < 5, refused
    finally:
        lab.laptop.sysctl("net.ipv4.ip_forward", 0)
        lab.laptop.sysctl("net.ipv4.conf.all.src_valid_mark", 0)
        if masquerade:
            lab.laptop.nft("delete table ip boxes")
