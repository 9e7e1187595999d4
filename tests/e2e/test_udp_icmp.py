"""Datagrams and pings: whole, to the right place, and with the far side's errors."""
from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from typing import Iterator

import pytest
from support.flows import IP_RECVERR, icmp_error
from support.lab import CONNECTOR, NAS, UDP_ECHO_PORT, Lab
from support.netns import Host, Process
from support.tg import Tg


def udp(tg: Tg, name: str, port: int, timeout: float = 5.0) -> socket.socket:
    s = tg.lab.laptop.socket(kind=socket.SOCK_DGRAM, timeout=timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.connect((name if name[0].isdigit() else tg.lookup(name), port))
    return s


@pytest.mark.parametrize("size", [0, 1, 512, 1472, 1473, 8000, 16384, 32768, 65000])
def test_a_datagram_comes_back_whole(tg: Tg, size: int) -> None:
    data = os.urandom(size)
    with udp(tg, "nas.home.int", UDP_ECHO_PORT) as s:
        s.send(data)
        assert s.recv(65535) == data


def test_datagrams_stay_apart_and_in_order(tg: Tg) -> None:
    with udp(tg, "nas.home.int", UDP_ECHO_PORT) as s:
        for _ in range(10):
            sent = [os.urandom(1 + i * 37 % 1400) for i in range(20)]
            for d in sent:
                s.send(d)
            assert [s.recv(65535) for _ in sent] == sent


def test_flows_get_their_own_answers_and_the_nas_sees_the_connector(tg: Tg, nas: Host, port: int) -> None:
    with nas.socket(kind=socket.SOCK_DGRAM) as far, udp(tg, "nas.home.int", port) as one, udp(tg, "nas.home.int", port) as two:
        far.bind((NAS, port))
        one.send(b"one")
        two.send(b"two")
        sources = {}
        for _ in range(2):
            data, source = far.recvfrom(100)
            sources[data] = source
            assert source[0] == CONNECTOR
        assert sources[b"one"] != sources[b"two"]
        far.sendto(b"to two", sources[b"two"])
        far.sendto(b"to one", sources[b"one"])
        assert one.recv(100) == b"to one" and two.recv(100) == b"to two"


def test_a_server_may_answer_many_times(tg: Tg, nas: Host, port: int) -> None:
    with nas.socket(kind=socket.SOCK_DGRAM) as far, udp(tg, "nas.home.int", port) as near:
        far.bind((NAS, port))
        near.send(b"subscribe")
        _, source = far.recvfrom(100)
        for i in range(50):
            far.sendto(b"%d" % i, source)
            assert near.recv(100) == b"%d" % i


def test_a_closed_port_is_refused(tg: Tg, port: int) -> None:
    with udp(tg, "nas.home.int", port) as s:
        s.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            s.recv(100)


def test_a_port_that_the_resource_does_not_allow_is_administratively_prohibited(tg: Tg) -> None:
    with udp(tg, "web.home.int", UDP_ECHO_PORT) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.send(b"may I?")
        with pytest.raises(OSError) as e:
            s.recv(100)
        assert e.value.errno == errno.EHOSTUNREACH
        assert icmp_error(s) == (3, 13)


@pytest.mark.parametrize("name", ["gone.home.int", "down.home.int"])
def test_a_host_that_cannot_be_reached_is_unreachable(tg: Tg, name: str) -> None:
    with udp(tg, name, 9) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)      # without it Linux keeps host-unreachable from UDP sockets
        with pytest.raises(OSError) as e:
            s.send(b"hello")
            s.recv(100)
        assert e.value.errno == errno.EHOSTUNREACH, e.value


@pytest.mark.parametrize("address,error,icmp", [("192.168.66.5", errno.EHOSTUNREACH, (3, 1)),
                                                ("192.168.67.5", errno.ENETUNREACH, (3, 0))])
def test_what_the_connectors_own_routes_say_at_once_is_passed_on(tg: Tg, address: str, error: int, icmp: tuple[int, int]) -> None:
    with udp(tg, address, 9) as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        s.send(b"hello")
        with pytest.raises(OSError) as e:
            s.recv(100)
        assert e.value.errno == error
        assert icmp_error(s) == icmp


def test_a_flow_to_port_53_is_over_after_five_seconds_and_another_is_not(tg: Tg, nas: Host, port: int) -> None:
    """A flow that is over gets another port of the connector when the application goes on."""
    with nas.socket(kind=socket.SOCK_DGRAM) as far_dns, nas.socket(kind=socket.SOCK_DGRAM) as far, \
            udp(tg, "nas.home.int", 53) as near_dns, udp(tg, "nas.home.int", port) as near:
        far_dns.bind((NAS, 53))
        far.bind((NAS, port))

        def sources() -> tuple[tuple[str, int], tuple[str, int]]:
            near_dns.send(b"question")
            near.send(b"datagram")
            return far_dns.recvfrom(100)[1], far.recvfrom(100)[1]
        first = sources()
        assert sources() == first
        time.sleep(7)                                # five seconds, and a second until the client looks; silence is the matter here
        dns, other = sources()
        assert dns != first[0], "the flow to port 53 outlived 7 s of silence"
        assert other == first[1], "the other flow did not"
        far.sendto(b"answer", other)
        assert near.recv(100) == b"answer"


def test_an_address_resource(tg: Tg, nas: Host, port: int) -> None:
    with nas.socket(kind=socket.SOCK_DGRAM) as far, udp(tg, "10.0.1.25", port) as near:
        far.bind(("10.0.1.25", port))
        near.send(b"x")
        _, source = far.recvfrom(10)
        far.sendto(b"y", source)
        assert near.recv(10) == b"y"


@pytest.mark.parametrize("size", [0, 8, 56, 1400, 1473, 8000, 60000])
def test_ping(tg: Tg, laptop: Host, size: int) -> None:
    out = laptop.run(["ping", "-c", "2", "-i", "0.2", "-W", "3", "-s", size, "-p", "c0ffee", "nas.home.int"]).ok().out
    assert " 2 received" in out and "wrong data byte" not in out and "DUP" not in out


def test_ping_of_an_address_resource(tg: Tg, laptop: Host) -> None:
    assert " 1 received" in laptop.run("ping -c 1 -W 3 10.0.1.25").ok().out


def test_ping_flood_of_a_hundred(tg: Tg, laptop: Host) -> None:
    assert " 100 received" in laptop.run("ping -c 100 -i 0.002 -W 3 nas.home.int").ok().out


@pytest.mark.parametrize("name", ["down.home.int", "gone.home.int"])
def test_ping_of_an_unreachable_host_says_so(tg: Tg, laptop: Host, name: str) -> None:
    result = laptop.run(["ping", "-c", "1", "-W", "3", name])
    assert result.code == 1 and "Destination Host Unreachable" in result.out, result


def test_ping_that_the_resource_does_not_allow_is_filtered(tg: Tg, laptop: Host) -> None:
    result = laptop.run("ping -c 1 -W 3 web.home.int")
    assert result.code == 1 and "Packet filtered" in result.out, result


def test_ping_of_a_silent_host_stays_silent(tg: Tg, laptop: Host, nas: Host) -> None:
    nas.nft("table ip deaf {\n chain input {\n type filter hook input priority filter\n icmp type echo-request drop\n }\n}")
    try:
        result = laptop.run("ping -c 1 -W 2 nas.home.int")
    finally:
        nas.nft("delete table ip deaf")
    assert result.code == 1 and " 0 received" in result.out and "Unreachable" not in result.out, result


@contextlib.contextmanager
def connector_without_ping_sockets(tg: Tg, lab: Lab, *launcher: str) -> Iterator[Process]:
    """The connector started anew by `launcher`, where the sysctl allows nobody ping sockets."""
    assert tg.connector
    tg.connector.stop()
    lab.connector.sysctl("net.ipv4.ping_group_range", "1 0")
    try:
        tg.connector = lab.connector.start([*launcher, *tg.words("connector run")], "tg-connector", env=tg.env())
        tg.wait_connector()
        tg.wait_works(5, "the connector was started with fewer rights")
        yield tg.connector
    finally:
        lab.connector.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        tg.connector.stop()
        tg.start_connector()


def test_a_connector_that_may_not_ping_says_so_and_ping_is_unreachable(tg: Tg, lab: Lab, laptop: Host) -> None:
    """Neither ping sockets (the sysctl) nor raw ones (the capability)."""
    with connector_without_ping_sockets(tg, lab, "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw") as connector:
        result = laptop.run("ping -c 1 -W 3 nas.home.int")
        assert result.code == 1 and " 0 received" in result.out, result
        connector.wait_text("ping_group_range", 2)
    tg.wait_works(5, "the connector has its rights again")
    assert " 1 received" in laptop.run("ping -c 1 -W 3 nas.home.int").ok().out


def test_a_connector_pings_by_raw_sockets_where_ping_sockets_are_not_allowed(tg: Tg, lab: Lab, laptop: Host) -> None:
    def raw_sockets() -> int:
        return len(lab.connector.run("ss -Hanw").ok().out.splitlines())
    with connector_without_ping_sockets(tg, lab) as connector:
        assert raw_sockets() == 0
        for size in (0, 56, 1473, 60000):
            out = laptop.run(["ping", "-c", "2", "-i", "0.2", "-W", "3", "-s", size, "-p", "c0ffee", "nas.home.int"]).ok().out
            assert " 2 received" in out and "wrong data byte" not in out and "DUP" not in out
        assert raw_sockets() > 0, "that was not the raw way"
        # Every raw socket sees every reply from that host: each flow must take its own alone.
        together = laptop.run("for i in 1 2 3 4 5; do ping -c 20 -i 0.01 -W 3 nas.home.int & done; wait").ok().out
        assert together.count(" 20 received") == 5 and "DUP" not in together
        result = laptop.run("ping -c 1 -W 3 down.home.int")
        assert result.code == 1 and "Destination Host Unreachable" in result.out, result
        assert "ping_group_range" not in connector.text()
    tg.wait_works(5, "ping sockets are allowed again")
