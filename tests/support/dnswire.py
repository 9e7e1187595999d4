"""DNS messages for tests, written from RFC 1035 and apart from the code under test, so that one bug cannot hide in both."""
from __future__ import annotations

import secrets
import socket
import struct
from dataclasses import dataclass

from support.netns import Host

A, NS, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, OPT, SVCB, HTTPS, ANY = 1, 2, 6, 12, 13, 15, 16, 28, 33, 41, 64, 65, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010


@dataclass
class Record:
    name: str
    type: int
    ttl: int
    data: bytes        # as on the wire
    text: str          # an address, a name, "PRIORITY WEIGHT PORT TARGET", the strings of a TXT


@dataclass
class Message:
    id: int
    flags: int
    question: list[tuple[str, int, int]]
    answer: list[Record]
    authority: list[Record]
    additional: list[Record]
    wire: bytes

    @property
    def rcode(self) -> int:
        return self.flags & 0xF

    def has(self, flags: int) -> bool:
        return self.flags & flags == flags

    @property
    def texts(self) -> list[str]:
        return [r.text for r in self.answer]


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def query(name: str, type: int = A, id: int | None = None, flags: int = RD | AD, udp_size: int | None = 1232,
          options: bytes = b"", dnssec_ok: bool = False) -> bytes:
    head = struct.pack("!6H", secrets.randbits(16) if id is None else id, flags, 1, 0, 0, 0 if udp_size is None else 1)
    body = encode_name(name) + struct.pack("!2H", type, 1)
    if udp_size is not None:
        body += b"\0" + struct.pack("!HHIH", OPT, udp_size, 0x8000 if dnssec_ok else 0, len(options)) + options
    return head + body


def parse(wire: bytes) -> Message:
    ident, flags, *counts = struct.unpack_from("!6H", wire)
    at = 12
    question = []
    for _ in range(counts[0]):
        name, at = _name(wire, at)
        question.append((name, *struct.unpack_from("!2H", wire, at)))
        at += 4
    sections: list[list[Record]] = []
    for count in counts[1:]:
        section = []
        for _ in range(count):
            name, at = _name(wire, at)
            kind, _, ttl, size = struct.unpack_from("!HHIH", wire, at)
            at += 10
            section.append(Record(name, kind, ttl, wire[at:at + size], _text(wire, kind, at, size)))
            at += size
        sections.append(section)
    assert at == len(wire), f"{len(wire) - at} bytes behind the DNS message"
    return Message(ident, flags, question, *sections, wire)


def ask(host: Host, server: str, name: str, type: int = A, tcp: bool = False, timeout: float = 5.0, **more: object) -> Message:
    """Asks `server` from `host` once and returns the answer, whose id must be the query's."""
    asked = query(name, type, **more)                                     # type: ignore[arg-type]
    wire = exchange_tcp(host, server, asked, timeout) if tcp else exchange_udp(host, server, asked, timeout)
    assert wire[:2] == asked[:2], "the answer has another id"
    return parse(wire)


def exchange_udp(host: Host, server: str, wire: bytes, timeout: float = 5.0) -> bytes:
    with host.socket(kind=socket.SOCK_DGRAM, timeout=timeout) as s:
        s.connect((server, 53))
        s.send(wire)
        return s.recv(65535)


def exchange_tcp(host: Host, server: str, wire: bytes, timeout: float = 5.0) -> bytes:
    with host.socket(timeout=timeout) as s:
        s.connect((server, 53))
        s.sendall(struct.pack("!H", len(wire)) + wire)
        return receive_tcp(s)


def receive_tcp(s: socket.socket) -> bytes:
    (size,) = struct.unpack("!H", receive_exactly(s, 2))
    return receive_exactly(s, size)


def receive_exactly(s: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = s.recv(size - len(got))
        if not more:
            raise EOFError(f"the stream ended after {len(got)} of {size} bytes")
        got += more
    return got


def _name(wire: bytes, at: int) -> tuple[str, int]:
    labels, end, jumps = [], -1, 0
    while True:
        size = wire[at]
        if size >= 0xC0:
            end = at + 2 if end < 0 else end
            target = struct.unpack_from("!H", wire, at)[0] & 0x3FFF
            assert target < at and jumps < 64, "a compression pointer that does not point back"
            at, jumps = target, jumps + 1
        elif size == 0:
            return ".".join(labels) + ".", (at + 1 if end < 0 else end)
        else:
            labels.append(wire[at + 1:at + 1 + size].decode("latin-1"))
            at += 1 + size


def _text(wire: bytes, kind: int, at: int, size: int) -> str:
    data = wire[at:at + size]
    if kind == A:
        return socket.inet_ntop(socket.AF_INET, data)
    if kind == AAAA:
        return socket.inet_ntop(socket.AF_INET6, data)
    if kind in (PTR, NS):
        return _name(wire, at)[0]
    if kind == MX:
        return f"{struct.unpack_from('!H', data)[0]} {_name(wire, at + 2)[0]}"
    if kind == SRV:
        return " ".join(map(str, struct.unpack_from("!3H", data))) + " " + _name(wire, at + 6)[0]
    if kind in (TXT, HINFO):
        strings, i = [], 0
        while i < len(data):
            strings.append(data[i + 1:i + 1 + data[i]].decode("latin-1"))
            i += 1 + data[i]
        return "|".join(strings)
    return data.hex()
