"""For a Resource's name every type is ours; everything else goes to the system's resolvers byte for byte."""
from __future__ import annotations

import contextlib
import ipaddress
import os
import pathlib
import signal
import socket
import struct
import time
from typing import Iterator

import pytest
from support import dnswire
from support.dnswire import (A, AA, AAAA, AD, ANY, HINFO, HTTPS, MX, NXDOMAIN, QR, RA, RD, SERVFAIL, SOA, SRV, SVCB, TC, TXT, ask,
                             parse, query)
from support.lab import ISP_DNS, Lab
from support.netns import Host, freeze, wait_for
from support.tg import STUB, STUBS, Tg

POOL = ipaddress.ip_network("100.96.0.0/12")
both = pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])


@both
def test_a_gives_the_address_with_the_flags_of_an_authority(tg: Tg, laptop: Host, tcp: bool) -> None:
    answer = ask(laptop, STUB, "nas.home.int", tcp=tcp)
    assert answer.flags == QR | AA | RD | RA | AD
    assert [(r.name, r.type, r.ttl) for r in answer.answer] == [("nas.home.int.", A, 15)]
    assert ipaddress.ip_address(answer.answer[0].text) in POOL
    assert answer.question == [("nas.home.int.", A, 1)]


@pytest.mark.parametrize("server", STUBS)
@both
def test_all_four_resolvers_answer_the_same(tg: Tg, laptop: Host, server: str, tcp: bool) -> None:
    assert ask(laptop, server, "nas.home.int", tcp=tcp).texts == ask(laptop, STUB, "nas.home.int").texts


@pytest.mark.parametrize("type", [AAAA, HTTPS, SVCB], ids=["AAAA", "HTTPS", "SVCB"])
@pytest.mark.parametrize("name", ["nas.home.int", "shop.example.org", "nas.tg", "a.lab.home.int", "six.home.int"])
def test_types_that_lead_around_the_tunnel_have_no_data(tg: Tg, laptop: Host, name: str, type: int) -> None:
    answer = ask(laptop, STUB, name, type)
    assert answer.rcode == 0 and answer.answer == [] and answer.has(AA)
    assert [r.type for r in answer.authority] == [SOA], "a negative answer carries an SOA"


def test_any_gives_rfc_8482(tg: Tg, laptop: Host) -> None:
    answer = ask(laptop, STUB, "nas.home.int", ANY)
    assert [(r.type, r.text) for r in answer.answer] == [(HINFO, "RFC8482|")]


@pytest.mark.parametrize("name,type,wanted", [
    ("nas.home.int", MX, ["10 mail.home.int."]),
    ("nas.home.int", TXT, ["a private note"]),
    ("nas.home.int", SRV, ["1 2 8443 nas.home.int."]),
    ("_http._tcp.lab.home.int", SRV, ["5 6 80 nas.home.int."]),
], ids=["MX", "TXT", "SRV", "SRV of a wildcard"])
def test_other_types_are_asked_of_the_private_dns(tg: Tg, laptop: Host, name: str, type: int, wanted: list[str]) -> None:
    answer = ask(laptop, STUB, name, type)
    assert answer.texts == wanted
    assert all(r.name == name + "." for r in answer.answer)


def test_an_alias_answers_other_types_in_its_own_name(tg: Tg, laptop: Host) -> None:
    answer = ask(laptop, STUB, "nas.tg", TXT)
    assert [(r.name, r.text) for r in answer.answer] == [("nas.tg.", "a private note")]


def test_another_type_without_data_is_nodata(tg: Tg, laptop: Host) -> None:
    answer = ask(laptop, STUB, "web.home.int", MX)
    assert answer.rcode == 0 and answer.answer == []


def test_an_answer_too_big_for_udp_is_truncated_and_whole_over_tcp(tg: Tg, laptop: Host) -> None:
    short = ask(laptop, STUB, "big.lab.home.int", TXT, udp_size=512)
    assert short.has(TC) and len(short.wire) <= 512
    whole = ask(laptop, STUB, "big.lab.home.int", TXT, tcp=True)
    assert len(whole.answer) == 15 and not whole.has(TC)


def test_ptr_of_a_handed_out_address_gives_the_name(tg: Tg, laptop: Host) -> None:
    for name in ("nas.home.int", "nas.tg", "b.lab.home.int"):
        address = tg.lookup(name)
        reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
        assert ask(laptop, STUB, reverse, dnswire.PTR).texts == [name + "."]


def test_names_have_addresses_of_their_own_that_stay(tg: Tg) -> None:
    names = ["nas.home.int", "nas.tg", "web.home.int", "a.lab.home.int", "b.lab.home.int"]
    first = [tg.lookup(n) for n in names]
    assert len(set(first)) == len(names)
    assert [tg.lookup(n) for n in names] == first


def test_case_of_the_question_is_echoed_and_means_nothing(tg: Tg, laptop: Host) -> None:
    answer = ask(laptop, STUB, "NaS.hOmE.InT")
    assert answer.question == [("NaS.hOmE.InT.", A, 1)]
    assert answer.answer[0].name == "NaS.hOmE.InT."
    assert answer.texts == [tg.lookup("nas.home.int")]


def test_edns_is_answered_with_edns_and_only_then(tg: Tg, laptop: Host) -> None:
    assert [r.type for r in ask(laptop, STUB, "nas.home.int").additional] == [dnswire.OPT]
    assert ask(laptop, STUB, "nas.home.int", udp_size=None).additional == []


def test_a_wildcards_names_exist_only_when_the_private_dns_says_so(tg: Tg, laptop: Host) -> None:
    assert ipaddress.ip_address(tg.lookup("a.lab.home.int")) in POOL
    for name in ("nope.lab.home.int", "a.b.c.lab.home.int"):
        answer = ask(laptop, STUB, name)
        assert answer.rcode == NXDOMAIN and [r.type for r in answer.authority] == [SOA], name


def test_a_search_domain_below_a_wildcard_works(tg: Tg, laptop: Host) -> None:
    out = laptop.run("dig +search +domain=lab.home.int +ndots=5 example.org A").ok().out
    assert "203.0.113.80" in out


def test_a_wildcard_does_not_match_its_own_apex(tg: Tg, laptop: Host) -> None:
    assert ask(laptop, STUB, "lab.home.int").rcode == NXDOMAIN       # as the ISP's DNS says


def test_a_resource_of_somebody_else_is_no_resource(tg: Tg, laptop: Host) -> None:
    assert ask(laptop, STUB, "bob.home.int").rcode == NXDOMAIN


@pytest.mark.parametrize("type", [A, AAAA], ids=["A", "AAAA"])
def test_browsers_are_told_to_keep_their_own_dns_off(tg: Tg, laptop: Host, type: int) -> None:
    assert ask(laptop, STUB, "use-application-dns.net", type).rcode == NXDOMAIN


def test_several_queries_on_one_tcp_connection(tg: Tg, laptop: Host) -> None:
    asked = [query("nas.home.int"), query("example.org"), query("nas.home.int", TXT), query("nothing.example.org")]
    with laptop.socket() as s:
        s.connect((STUB, 53))
        s.sendall(b"".join(struct.pack("!H", len(q)) + q for q in asked))
        answers = {wire[:2]: parse(wire) for wire in (dnswire.receive_tcp(s) for _ in asked)}
    assert [answers[q[:2]].rcode for q in asked] == [0, 0, 0, NXDOMAIN]


@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 11, b"\xff" * 12, b"\xff" * 600, query("nas.home.int")[:20],
                                  struct.pack("!6H", 7, RD, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"],
                         ids=["empty", "one byte", "11 bytes", "a header of ones", "600 bytes of ones", "cut short", "pointer to itself"])
def test_junk_is_survived(tg: Tg, laptop: Host, junk: bytes) -> None:
    with laptop.socket(kind=socket.SOCK_DGRAM) as s:
        s.sendto(junk, (STUB, 53))
    assert ask(laptop, STUB, "nas.home.int").rcode == 0


# -- forwarding ---------------------------------------------------------------------------------------------------------------
class Upstream:
    """The ISP's DNS played by the test: `seen` are (wire, source) over UDP, and `answer` says what to send back."""

    def __init__(self, lab: Lab) -> None:
        self.udp = lab.internet.socket(kind=socket.SOCK_DGRAM, timeout=None)
        self.udp.bind((ISP_DNS, 53))
        self.tcp = lab.internet.listen(ISP_DNS, 53)
        self.tcp.settimeout(10)
        self.udp.settimeout(10)

    def receive(self) -> tuple[bytes, tuple[str, int]]:
        """The next query that the test asked, whatever else the laptop's programs ask meanwhile."""
        while True:
            wire, source = self.udp.recvfrom(65535)
            if b"\x07fortest" in wire.lower():
                return wire, source


@pytest.fixture
def upstream(tg: Tg, lab: Lab) -> Iterator[Upstream]:
    lab.isp_dns.stop()
    played = Upstream(lab)
    yield played
    played.udp.close()
    played.tcp.close()
    lab.start_isp_dns()


ODD_QUERY = query("Some.Name.ForTest.example", 65534, flags=RD | AD | dnswire.CD, udp_size=1400, dnssec_ok=True,
                  options=struct.pack("!HH", 65001, 5) + b"hello")


def odd_answer(wire: bytes) -> bytes:
    """An answer that no program would put together from its parts: an unknown type, a strange flag, a strange TTL."""
    head = wire[:2] + struct.pack("!5H", QR | RD | RA | 0x0040 | 3, 1, 2, 0, 0)
    question = dnswire.encode_name("Some.Name.ForTest.example") + struct.pack("!2H", 65534, 1)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 65534, 1, 0x7FFFFFFF, 7) + b"\0\1\2\xff\xfe\xc0\x0c"
    return head + question + record + record


def test_a_query_is_forwarded_byte_for_byte_over_udp(tg: Tg, laptop: Host, upstream: Upstream) -> None:
    with laptop.socket(kind=socket.SOCK_DGRAM) as s:
        s.sendto(ODD_QUERY, (STUB, 53))
        wire, source = upstream.receive()
        assert wire[2:] == ODD_QUERY[2:]
        upstream.udp.sendto(odd_answer(wire), source)
        assert s.recv(65535) == odd_answer(ODD_QUERY)


def test_a_query_is_forwarded_byte_for_byte_over_tcp(tg: Tg, laptop: Host, upstream: Upstream) -> None:
    with laptop.socket() as s:
        s.connect((STUB, 53))
        s.sendall(struct.pack("!H", len(ODD_QUERY)) + ODD_QUERY)
        far, _ = upstream.tcp.accept()
        with far:
            far.settimeout(10)
            wire = dnswire.receive_tcp(far)
            assert wire[2:] == ODD_QUERY[2:]
            big = odd_answer(wire)
            far.sendall(struct.pack("!H", len(big)) + big)
            assert dnswire.receive_tcp(s) == odd_answer(ODD_QUERY)


def test_a_big_public_answer_is_truncated_over_udp_and_whole_over_tcp(tg: Tg, laptop: Host) -> None:
    assert ask(laptop, STUB, "big.example.org", TXT, udp_size=None).has(TC)
    assert len(ask(laptop, STUB, "big.example.org", TXT, tcp=True).answer) == 15
    assert len(laptop.run("dig +short big.example.org TXT").ok().out.splitlines()) == 15


def test_two_clients_with_the_same_id_get_their_own_answers(tg: Tg, laptop: Host, upstream: Upstream) -> None:
    asked = [query(f"n{i}.fortest.example", id=4242) for i in range(2)]
    with laptop.socket(kind=socket.SOCK_DGRAM) as one, laptop.socket(kind=socket.SOCK_DGRAM) as two:
        one.sendto(asked[0], (STUB, 53))
        two.sendto(asked[1], (STUB, 53))
        got = [upstream.receive() for _ in range(2)]
        for wire, source in reversed(got):
            upstream.udp.sendto(wire[:2] + struct.pack("!H", QR | RD | RA) + wire[4:], source)
        for s, q in ((one, asked[0]), (two, asked[1])):
            answer = s.recv(65535)
            assert answer[:2] == q[:2] and answer[12:] == q[12:]


def test_upstream_ids_and_ports_are_fresh_and_random(tg: Tg, laptop: Host, upstream: Upstream) -> None:
    ids, ports = set(), set()
    with laptop.socket(kind=socket.SOCK_DGRAM) as s:
        for i in range(20):
            s.sendto(query(f"r{i}.fortest.example", id=1), (STUB, 53))
            wire, source = upstream.receive()
            ids.add(wire[:2])
            ports.add(source[1])
            upstream.udp.sendto(wire[:2] + struct.pack("!H", QR | RD | RA) + wire[4:], source)
            assert s.recv(65535)[:2] == b"\0\1"
    assert len(ids) >= 15 and len(ports) >= 15, f"{len(ids)} ids and {len(ports)} ports in 20 queries"


def test_forged_answers_are_not_believed(tg: Tg, lab: Lab, laptop: Host, upstream: Upstream) -> None:
    with laptop.socket(kind=socket.SOCK_DGRAM) as s, lab.internet.socket(kind=socket.SOCK_DGRAM) as stranger:
        s.sendto(query("real.fortest.example"), (STUB, 53))
        wire, source = upstream.receive()
        good = wire[:2] + struct.pack("!H", QR | RD | RA) + wire[4:]
        def forged(what: bytes) -> bytes:
            return what[:2] + struct.pack("!H", QR | RD | RA | NXDOMAIN) + what[4:]
        wrong_id = bytes([wire[0] ^ 1]) + wire[1:]
        upstream.udp.sendto(forged(wrong_id), source)
        upstream.udp.sendto(forged(wire[:2] + query("fake.fortest.example")[2:]), source)     # another question
        upstream.udp.sendto(wire, source)                                                     # no answer at all
        stranger.bind((ISP_DNS, 0))
        stranger.sendto(forged(wire), source)                                                 # another port
        upstream.udp.sendto(good, source)
        assert s.recv(65535)[2:] == good[2:]


# -- without a connector ------------------------------------------------------------------------------------------------------
def test_without_a_connector_exact_names_are_answered_at_once_and_wildcards_within_a_second(tg: Tg, laptop: Host) -> None:
    assert tg.connector
    known = tg.lookup("nas.home.int")
    tg.connector.stop()
    try:
        for name in ("nas.home.int", "gone.home.int"):
            started = time.monotonic()
            answer = ask(laptop, STUB, name)
            assert time.monotonic() - started < 0.2
            assert answer.rcode == 0 and len(answer.answer) == 1
        assert tg.lookup("nas.home.int") == known
        started = time.monotonic()
        answer = ask(laptop, STUB, "perhaps.lab.home.int")
        assert answer.rcode == 0 and len(answer.answer) == 1
        assert time.monotonic() - started < 1.5
        assert ask(laptop, STUB, "example.org").texts == ["203.0.113.80"]
    finally:
        tg.start_connector()
    tg.wait_works(10, "the connector was started again")


@pytest.mark.parametrize("name, type, rcode, texts", [("perhaps.lab.home.int", A, NXDOMAIN, []),
                                                      ("nas.home.int", TXT, 0, ["a private note"])],
                         ids=["a wildcard's name", "another type"])
def test_a_question_waits_for_a_tunnel_that_is_being_made(tg: Tg, laptop: Host, name: str, type: int, rcode: int,
                                                          texts: list[str]) -> None:
    """The tunnel is lost under the question, and the relay takes its time to let in the next one."""
    assert tg.controller
    tg.wait_settled()
    relay = tg.controller.pid
    (client,) = tg.client_pids()
    def tunnels() -> set[int]:
        """Local ports of connections that stand to 203.0.113.10:8444. Read as it is: a program would take part of the time."""
        lines = [line.split() for line in pathlib.Path(f"/proc/{client}/net/tcp").read_text().splitlines()[1:]]
        return {int(at[1].split(":")[1], 16) for at in lines if at[2:4] == ["0A7100CB:20FC", "01"]}
    def ports(them: set[int]) -> str:
        return ", ".join(str(port) for port in sorted(them))
    before = tunnels()
    assert before
    freeze(relay)
    try:
        laptop.nft(f"table ip cut {{\n chain out {{\n type filter hook output priority filter\n ip daddr 203.0.113.10 tcp sport "
                   f"{{ {ports(before)} }} reject with tcp reset\n }}\n}}")
        with laptop.socket(kind=socket.SOCK_DGRAM, timeout=5) as s:
            s.connect((STUB, 53))
            started = time.monotonic()
            s.send(query(name, type))
            wait_for("the next tunnel is being made", lambda: tunnels() - before, 0.8, 0.01, tg.explain)
            os.kill(relay, signal.SIGCONT)
            answer = parse(s.recv(65535))
            taken = time.monotonic() - started
    finally:
        os.kill(relay, signal.SIGCONT)
        laptop.run("nft delete table ip cut")
    assert (answer.rcode, answer.texts) == (rcode, texts), f"{answer} after {taken:.2f} s"
    assert taken < (1.5 if tg.sanitized() else 1.0)


def test_a_question_that_no_tunnel_comes_for_is_answered_after_a_second(tg: Tg, laptop: Host) -> None:
    assert tg.controller
    tg.wait_settled()
    freeze(tg.controller.pid)
    try:
        laptop.nft("table ip cut {\n chain out {\n type filter hook output priority filter\n ip daddr 203.0.113.10 tcp dport 8444 "
                   "reject with tcp reset\n }\n}")
        for _ in range(2):                            # the tunnel is lost under the first, and not there for the second
            started = time.monotonic()
            answer = ask(laptop, STUB, "nas.home.int", TXT)
            assert answer.rcode == SERVFAIL
            assert time.monotonic() - started < 1.5
    finally:
        os.kill(tg.controller.pid, signal.SIGCONT)
        laptop.run("nft delete table ip cut")
    tg.wait_works(10, "the way was free again")


def test_that_no_server_of_the_system_answers_is_told(tg: Tg, lab: Lab, laptop: Host) -> None:
    lab.isp_dns.stop()
    try:
        for i in range(4):
            assert ask(laptop, STUB, f"n{i}.fortest.example", timeout=10).rcode == SERVFAIL
        said = tg.client("status").ok().out
        assert "warning    no DNS server of the system answers" in said, said
        assert tg.works(), "Resources do"
    finally:
        lab.start_isp_dns()
    assert ask(laptop, STUB, "example.org").texts == ["203.0.113.80"]
    assert tg.status()["warnings"] == []


def test_servers_that_cannot_be_asked_are_told(tg: Tg, laptop: Host) -> None:
    """As a router's advertisement names itself: an address that means nothing without its interface."""
    laptop.resolv_conf.write_text("nameserver fe80::1%eth0\n")
    try:
        wait_for("status says so", lambda: "names no DNS server that tg can ask, only fe80::1%eth0" in tg.client("status").out, 5,
                 explain=tg.explain)
        assert tg.works()
    finally:
        laptop.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
    wait_for("status is content again", lambda: tg.status()["warnings"] == [], 5, explain=tg.explain)


def test_many_names_at_once(tg: Tg, laptop: Host) -> None:
    """The resolver answers 2,000 questions that are in flight together; a lost datagram is asked again, as clients do."""
    names = [f"{'nas.home.int' if i % 2 else 'example.org'}" for i in range(2000)]
    with laptop.socket(kind=socket.SOCK_DGRAM, timeout=1) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        s.connect((STUB, 53))
        open_ = {i: query(n, id=i) for i, n in enumerate(names)}
        for _ in range(4):
            for wire in list(open_.values()):
                s.send(wire)
            with contextlib.suppress(TimeoutError):
                while open_:
                    got = parse(s.recv(65535))
                    assert got.rcode == 0 and len(got.answer) == 1
                    open_.pop(got.id, None)
    assert not open_, f"{len(open_)} of 2000 questions were never answered"
