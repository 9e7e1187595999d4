"""A slow line in the lab: a program of ours between two hosts, for a kernel without sch_netem.

    with slow_link(lab, lab.laptop, lab.internet, delay="50ms", rate="20mbit,1gbit", loss="0.1%") as line: …

The wire between the two is taken apart and joined again inside a namespace of its own, where support/link/ makes of it what
is asked for. Options are those of `link --help`, with their leading dashes left out; two values are those of the way from the
first host and of the way to it. Interfaces, addresses and routes of both hosts are as before, meanwhile and afterwards.
"""
from __future__ import annotations

import contextlib
import json
import pathlib
import re
import signal
from dataclasses import dataclass
from typing import Iterator

from support.lab import Lab
from support.netns import Failed, Host, Process, wait_for
from support.tg import REPOSITORY, binary

PROGRAM = "tests/support/link/link"
WHOLE_FROM = 500e6      # bits a second, from which a super-packet takes a millisecond of the line, and may stay one
GSO_MAX_SEGS = 65535    # what the kernel has for a new interface


def link_program() -> pathlib.Path:
    """The emulator of the same build as the tg that is tested, or of the dev build."""
    for folder in (binary().parent, REPOSITORY / "build/dev"):
        if (folder / PROGRAM).exists():
            return folder / PROGRAM
    raise Failed("there is no emulated line: cmake --build --preset dev --target link")


@dataclass
class Way:
    """What became of the packets that one host sent: segments and bytes as on the line."""
    packets: int
    bytes: int
    super_packets: int      # pieces of several segments
    missed: int             # that the emulator was too slow to see
    dropped: int            # by the full queue
    lost: int
    overtaken: int
    delivered: int
    delivered_bytes: int
    not_sent: int           # on the way to this host: what its kernel did not take
    latest_us: int          # on the way to this host: how much the emulator itself was late, at worst


class SlowLink:
    """The line while it is there; what it counted, once it has gone."""

    def __init__(self, process: Process, whole: bool) -> None:
        self.process, self.whole = process, whole
        self.ways: dict[str, Way] = {}

    def __getitem__(self, host: Host) -> Way:
        """What came from `host`, when the line has gone."""
        return self.ways[host.name]

    def end(self) -> None:
        self.process.signal(signal.SIGTERM)
        if self.process.wait() != 0:
            raise Failed(f"the line ended with {self.process.popen.returncode}: {self.process.text()}")
        self.ways = {name: Way(**way) for name, way in json.loads(self.process.text().splitlines()[-1]).items()}
        for name, way in self.ways.items():
            if way.super_packets and not self.whole:
                raise Failed(f"super-packets came from {name}, though packets were to be lost or overtaken one by one: {way}")
            if way.missed or way.not_sent:
                raise Failed(f"the emulator itself lost packets: {name}: {way}")


def wants_whole(options: dict[str, str]) -> bool:
    """Whether super-packets may go through as one: where each packet has its own luck, or one takes long, they may not."""
    if options.keys() & {"loss", "reorder"}:
        return False
    for rate in options.get("rate", "").split(","):
        match = re.fullmatch(r"([\d.]+)([kmg]?)bit", rate)
        if match and float(match[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[match[2]] < WHOLE_FROM:
            return False
    return True


@contextlib.contextmanager
def slow_link(lab: Lab, first: Host, second: Host, **options: str) -> Iterator[SlowLink]:
    (near, far), whole = lab.wire(first, second), wants_whole(options)
    wire = lab.host(f"wire{sum(h.name.startswith('wire') for h in lab.hosts)}")
    segments = GSO_MAX_SEGS if whole else 1
    state, address = _state(second, far), _address(second, far)      # which its neighbours know it by
    second.ip(f"link set {far} netns {wire.namespace} name {first.name}")
    try:
        wire.ip(f"link add {second.name} type veth peer name {far} address {address} netns {second.namespace}",
                *(f"link set {name} arp off up" for name in (first.name, second.name)))
        second.ip(*state, f"link set {far} gso_max_segs {segments}")
        first.ip(f"link set {near} gso_max_segs {segments}")
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        process = wire.start([link_program(), first.name, second.name, *words], "link", ready="ready")
        _wait_carries(first, near, second, far)
        line = SlowLink(process, whole)
        yield line
        line.end()
    finally:
        state = _state(second, far)
        wire.ip(f"link del {second.name}", f"link set {first.name} arp on netns {second.namespace} name {far}")
        second.ip(*state)
        first.ip(f"link set {near} gso_max_segs {GSO_MAX_SEGS}")
        _wait_carries(first, near, second, far)
        lab.remove_host(wire)


def _state(host: Host, interface: str) -> list[str]:
    """The ip commands that make an interface of this name what it is now: addresses, bridge, routes of others' making."""
    link = json.loads(host.run(f"ip -j addr show dev {interface}").ok().out)[0]
    commands = [f"link set {interface} up"]
    if "master" in link:
        commands.insert(0, f"link set {interface} master {link['master']}")
    commands += [f"addr add {a['local']}/{a['prefixlen']} dev {interface}" for a in link["addr_info"] if a["scope"] == "global"]
    for family in ("-4", "-6"):
        for route in host.run(f"ip {family} route show dev {interface}").ok().out.splitlines():
            if " proto kernel" not in route and not route.startswith("fe80:"):
                commands.append(f"route replace {re.sub(r' linkdown| dead', '', route).strip()} dev {interface}")
    return commands


def _address(host: Host, interface: str) -> str:
    return str(json.loads(host.run(f"ip -j link show dev {interface}").ok().out)[0]["address"])


def _wait_carries(first: Host, near: str, second: Host, far: str) -> None:
    """Both are up, and know each other's addresses: who asks for one just when the wire is joined asks again a second later."""
    for host, interface in ((first, near), (second, far)):
        wait_for(f"{interface} of {host.name} is up", lambda: " UP " in host.run(f"ip -br link show dev {interface}").out)
    found = json.loads(second.run(f"ip -j -4 addr show dev {far}").ok().out)
    for to in [a["local"] for a in found[0].get("addr_info", [])] if found else []:
        wait_for(f"{first.name} reaches {to}", lambda: first.run(f"ping -c 1 -W 2 {to}").code == 0, 20)
