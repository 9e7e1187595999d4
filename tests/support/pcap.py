"""Captures: tcpdump in a host, and what its file says."""
from __future__ import annotations

import pathlib
import re
import signal
import socket
import struct
from dataclasses import dataclass
from typing import Iterator

from support.netns import Host

LINK_ETHERNET, LINK_RAW, LINK_SLL2 = 1, 101, 276


@dataclass
class Packet:
    time: float
    source: str
    target: str
    protocol: int      # 1 ICMP, 6 TCP, 17 UDP
    payload: bytes     # behind the IP header

    @property
    def ports(self) -> tuple[int, int]:
        return struct.unpack_from("!2H", self.payload) if self.protocol in (6, 17) else (0, 0)

    @property
    def tcp_flags(self) -> int:
        return self.payload[13] if self.protocol == 6 else 0


class Capture:
    """`with Capture(host, "eth0") as c: …`, then c.bytes and c.packets(). Interface "any" includes those made later."""

    def __init__(self, host: Host, interface: str = "any", only: str = "") -> None:
        self.host, self.interface, self.only = host, interface, only
        self.path: pathlib.Path = host.space.root / f"{host.name}-{interface}-{len(host.space.processes)}.pcap"

    def __enter__(self) -> Capture:
        self._tcpdump = self.host.start(["tcpdump", "-i", self.interface, "-w", self.path, "-s", "0", "-U", "-n", "-Z", "root",
                                         "-B", "65536", "--immediate-mode", *self.only.split()], "tcpdump", ready="listening on")
        return self

    def __exit__(self, *_: object) -> None:
        self._tcpdump.signal(signal.SIGINT)
        self._tcpdump.wait()

    @property
    def dropped(self) -> int:
        """How many packets the capture missed, once it is over: its buffer was full."""
        found = re.search(r"^(\d+) packets? dropped by kernel$", self._tcpdump.text(), re.MULTILINE)
        assert found, self._tcpdump.text()
        return int(found[1])

    @property
    def bytes(self) -> bytes:
        return self.path.read_bytes()

    def packets(self) -> Iterator[Packet]:
        """The IPv4 packets so far; also while the capture runs."""
        data = self.bytes
        if len(data) < 24:
            return
        magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", data)
        assert magic == 0xA1B2C3D4, "not a pcap file of this machine"
        at = 24
        while at + 16 <= len(data):
            seconds, micros, size, _ = struct.unpack_from("<4I", data, at)
            frame = data[at + 16:at + 16 + size]
            at += 16 + size
            if at > len(data):
                return                      # the last one is still being written
            packet = _ipv4(frame, link, seconds + micros / 1e6)
            if packet:
                yield packet


def _ipv4(frame: bytes, link: int, time: float) -> Packet | None:
    if link == LINK_ETHERNET:
        frame = frame[14:] if frame[12:14] == b"\x08\x00" else b""
    elif link == LINK_SLL2:
        frame = frame[20:] if frame[0:2] == b"\x08\x00" else b""
    if len(frame) < 20 or frame[0] >> 4 != 4:
        return None
    head = (frame[0] & 0xF) * 4
    return Packet(time, socket.inet_ntoa(frame[12:16]), socket.inet_ntoa(frame[16:20]), frame[9], frame[head:])
