"""connect() ends as it would have on the private network, and so does everything after it."""
from __future__ import annotations

import errno
import json
import socket
import time
from typing import Iterator

import pytest
from support.flows import IP_RECVERR, Drop, flow, icmp_error, read_to_end, reset, server
from support.lab import CONNECTOR, NAS, NAS_PAGE, Lab
from support.netns import Host, wait_for
from support.pcap import Capture
from support.tg import CLIENT_ADDRESS, Tg


def connect_error(tg: Tg, name: str, port: int, within: float) -> int:
    """The errno that connect() ends with; it must not take longer than `within` seconds."""
    address = name if name[0].isdigit() else tg.lookup(name)
    with tg.lab.laptop.socket(timeout=within + 5) as s:
        started = time.monotonic()
        try:
            code = s.connect_ex((address, port))
        except TimeoutError:
            code = errno.EAGAIN
        took = time.monotonic() - started
    assert code != errno.EAGAIN, f"connect() to {name}:{port} had not ended after {took:.1f} s\n{tg.explain()}"
    assert took < within, f"connect() to {name}:{port} took {took:.2f} s"
    return code


def start_connect(tg: Tg, address: str, port: int) -> socket.socket:
    s = tg.lab.laptop.socket(timeout=0)
    assert s.connect_ex((address, port)) == errno.EINPROGRESS
    return s


def outcome(s: socket.socket, deadline: float) -> int:
    """Waits for the end of a started connect() and returns its errno."""
    import select
    _, ready, _ = select.select([], [s], [], deadline)
    assert ready, f"connect() has not ended within {deadline:g} s"
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def test_a_client_that_gives_up_while_its_syn_is_held_leaves_nothing(tg: Tg, nas: Host, port: int) -> None:
    """Before the flow that idles: with the client, the datagram flows of tests before end too, so that none is none."""
    def flows() -> int:
        return int(json.loads(tg.run(tg.lab.connector, "connector status", "--json").ok().out)["flows"])
    tg.client("down").ok()
    tg.client_up().ok()
    address = tg.lookup("nas.home.int")
    wait_for("there are no flows", lambda: flows() == 0, 5, 0.1, tg.explain)
    with nas.listen(NAS, port) as listener, Drop(nas, port) as drop:
        near = start_connect(tg, address, port)
        wait_for("the connector tries", lambda: drop.seen() >= 1, 10, explain=tg.explain)
        assert flows() == 1
        near.close()                        # nobody is told: no SYN was answered
        drop.lift()
        listener.settimeout(15)
        far, _ = listener.accept()          # the connector's next SYN gets through; only now does it turn out
        with far:
            far.settimeout(5)
            try:
                assert far.recv(1) == b""
            except ConnectionResetError:
                pass
            wait_for("the connector has forgotten the flow", lambda: flows() == 0, 5, 0.1, tg.explain)
    assert tg.works()


@pytest.fixture(scope="module")
def idle_flow(lab: Lab) -> Iterator[dict[str, socket.socket]]:
    """Opened by one of the first tests of this file and looked at by the last one."""
    kept: dict[str, socket.socket] = {}
    yield kept
    for s in kept.values():
        s.close()


def test_open_a_flow_that_will_idle(tg: Tg, idle_flow: dict[str, socket.socket], port: int) -> None:
    with tg.lab.nas.listen(NAS, port) as listener:
        idle_flow["near"] = tg.connect("nas.home.int", port)
        idle_flow["far"], _ = listener.accept()
    idle_flow["near"].sendall(b"first")
    assert idle_flow["far"].recv(16) == b"first"


def test_an_open_port_connects_from_the_clients_address_and_the_nas_sees_the_connector(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        assert near.getsockname()[0] == CLIENT_ADDRESS
        assert near.getpeername() == (tg.lookup("nas.home.int"), port)
        assert far.getpeername()[0] == CONNECTOR


def test_a_closed_port_is_refused(tg: Tg, port: int) -> None:
    assert connect_error(tg, "nas.home.int", port, 1) == errno.ECONNREFUSED


def test_a_closed_port_of_an_address_resource_is_refused(tg: Tg, port: int) -> None:
    assert connect_error(tg, "10.0.1.25", port, 1) == errno.ECONNREFUSED
    assert connect_error(tg, "10.0.5.7", port, 1) == errno.ECONNREFUSED


def test_an_unreachable_host_is_unreachable(tg: Tg) -> None:
    assert connect_error(tg, "down.home.int", 80, 2) == errno.EHOSTUNREACH


def test_a_host_that_does_not_answer_arp_is_unreachable(tg: Tg) -> None:
    assert connect_error(tg, "noarp.home.int", 80, 6) == errno.EHOSTUNREACH


@pytest.mark.parametrize("address,error,icmp", [("192.168.66.5", errno.EHOSTUNREACH, (3, 1)),
                                                ("192.168.67.5", errno.ENETUNREACH, (3, 0))])
def test_what_the_connectors_own_routes_say_at_once_is_passed_on(tg: Tg, address: str, error: int, icmp: tuple[int, int]) -> None:
    with tg.lab.laptop.socket() as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        assert s.connect_ex((address, 80)) == error
        assert icmp_error(s) == icmp


def test_a_name_that_does_not_exist_behind_an_exact_resource_is_unreachable(tg: Tg) -> None:
    assert connect_error(tg, "gone.home.int", 80, 2) == errno.EHOSTUNREACH


@pytest.mark.parametrize("target", [("web.home.int", 22), ("web.home.int", 81), ("web.home.int", 8101)])
def test_a_port_that_the_resource_does_not_allow_is_administratively_prohibited(tg: Tg, target: tuple[str, int]) -> None:
    with tg.lab.laptop.socket() as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        assert s.connect_ex((tg.lookup(target[0]), target[1])) == errno.EHOSTUNREACH
        assert icmp_error(s) == (3, 13)


def test_a_name_that_does_not_resolve_gives_icmp_host_unreachable(tg: Tg) -> None:
    with tg.lab.laptop.socket() as s:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        assert s.connect_ex((tg.lookup("gone.home.int"), 80)) == errno.EHOSTUNREACH
        assert icmp_error(s) == (3, 1)


def test_the_allowed_ports_of_a_resource_with_rules_work(tg: Tg) -> None:
    assert tg.lab.laptop.run("curl -sS http://web.home.int/").ok().out == NAS_PAGE
    assert connect_error(tg, "web.home.int", 8000, 1) == errno.ECONNREFUSED


def test_an_address_of_the_range_that_was_never_handed_out_is_unreachable(tg: Tg) -> None:
    assert connect_error(tg, "100.111.254.253", 80, 1) == errno.EHOSTUNREACH


def test_the_syn_is_held_until_the_far_side_has_accepted(tg: Tg, laptop: Host, nas: Host, port: int) -> None:
    address = tg.lookup("nas.home.int")
    with nas.listen(NAS, port) as listener, Drop(nas, port) as drop, Capture(laptop, "any", f"tcp port {port}") as wires:
        with start_connect(tg, address, port) as near:
            wait_for("the connector tries, and tries again", lambda: drop.seen() >= 2, 10, explain=tg.explain)
            assert not [p for p in wires.packets() if p.source == address], "something was answered before the far side was"
            with pytest.raises(BlockingIOError):
                near.recv(1)
            drop.lift()
            assert outcome(near, 15) == 0
            far, _ = listener.accept()
            far.close()


def test_a_host_that_drops_stays_silent(tg: Tg, laptop: Host, nas: Host, port: int) -> None:
    address = tg.lookup("nas.home.int")
    with Drop(nas, port) as drop, Capture(laptop, "any", f"host {address} or icmp") as wires:
        with start_connect(tg, address, port):
            wait_for("the connector has sent three SYNs", lambda: drop.seen() >= 3, 15, explain=tg.explain)
            seen = list(wires.packets())
    assert any(p.target == address for p in seen), "the capture saw no SYN"
    assert not [p for p in seen if p.source == address and p.protocol == 6]
    assert not [p for p in seen if p.protocol == 1 and p.target == CLIENT_ADDRESS]


def test_a_port_scan_sees_the_truth(tg: Tg, nas: Host, port: int) -> None:
    base = 40000
    open_ports = {base + 3, base + 11}
    listeners = [nas.listen(NAS, p) for p in open_ports]
    try:
        found = {p for p in range(base, base + 16) if connect_error(tg, "nas.home.int", p, 2) == 0}
    finally:
        for listener in listeners:
            listener.close()
    assert found == open_ports


def test_the_second_address_is_tried_when_the_first_is_unreachable(tg: Tg) -> None:
    for _ in range(4):                     # the DNS turns the order round
        assert tg.lab.laptop.run("curl -sS --max-time 5 http://multi.home.int/").ok().out == NAS_PAGE


def test_a_name_with_only_an_ipv6_address_works(tg: Tg) -> None:
    assert tg.lab.laptop.run("curl -sS --max-time 5 http://six.home.int/").ok().out == NAS_PAGE


@pytest.mark.parametrize("name,address", [("evil.home.int", "127.0.0.1"), ("self.home.int", CONNECTOR)])
def test_a_name_that_resolves_to_the_connector_itself_is_not_dialled(tg: Tg, lab: Lab, port: int, name: str,
                                                                     address: str) -> None:
    with lab.connector.listen(address, port) as listener:
        assert connect_error(tg, name, port, 2) == errno.EHOSTUNREACH
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_name_that_resolves_to_the_cloud_metadata_is_not_dialled(tg: Tg) -> None:
    assert connect_error(tg, "metadata.home.int", 80, 2) == errno.EHOSTUNREACH


def test_half_close_by_the_client(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)
        assert read_to_end(far) == b"question"
        far.sendall(b"answer" * 1000)
        far.shutdown(socket.SHUT_WR)
        assert read_to_end(near) == b"answer" * 1000


def test_half_close_by_the_server(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        far.sendall(b"I speak first")
        far.shutdown(socket.SHUT_WR)
        assert read_to_end(near) == b"I speak first"
        near.sendall(b"and I last" * 1000)
        near.shutdown(socket.SHUT_WR)
        assert read_to_end(far) == b"and I last" * 1000


def test_a_fin_behind_much_data_arrives_behind_all_of_it(tg: Tg, port: int) -> None:
    data = bytes(range(256)) * (8 << 12)       # 8 MiB
    with server(tg.lab.nas, port, lambda s: (s.sendall(data), None)[1]), tg.connect("nas.home.int", port) as near:
        assert read_to_end(near) == data


def test_a_reset_by_the_server_arrives_as_one(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        near.sendall(b"x")
        assert far.recv(1) == b"x"
        reset(far)
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_a_reset_by_the_client_arrives_as_one(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        far.sendall(b"x")
        assert near.recv(1) == b"x"
        reset(near)
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_a_server_that_closes_with_unread_data_resets(tg: Tg, port: int) -> None:
    with flow(tg, port) as (near, far):
        near.sendall(b"never read")
        wait_for("the data is in the far kernel", lambda: far.recv(1, socket.MSG_PEEK))
        far.close()
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_an_interactive_flow_is_quick_beside_a_bulk_flow(tg: Tg, port: int) -> None:
    block = bytes(1 << 20)

    def flood(s: socket.socket) -> None:
        try:
            while True:
                s.sendall(block)
        except OSError:
            pass

    with server(tg.lab.nas, port, flood), flow(tg, port + 10000) as (near, far):
        with tg.connect("nas.home.int", port) as bulk:
            received = 0
            times = []
            while received < 64 << 20:
                received += len(bulk.recv(1 << 20))
                if len(times) * (1 << 20) < received:
                    started = time.monotonic()
                    near.sendall(b"k")
                    far.sendall(far.recv(1))
                    near.recv(1)
                    times.append(time.monotonic() - started)
    times.sort()
    assert times[len(times) // 2] < 0.25, f"median of a keystroke {times[len(times) // 2]:.3f} s, worst {times[-1]:.3f} s"


def test_the_flow_that_idled_since_the_beginning_still_lives(tg: Tg, idle_flow: dict[str, socket.socket]) -> None:
    near, far = idle_flow["near"], idle_flow["far"]
    near.sendall(b"still there?")
    assert far.recv(64) == b"still there?"
    far.sendall(b"yes")
    assert near.recv(64) == b"yes"
