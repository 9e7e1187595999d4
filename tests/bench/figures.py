"""Every reading of a run, kept as JSON, and what follows from them: medians, ratios of each round, processor time a gigabyte."""
from __future__ import annotations

import json
import os
import pathlib
import re
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from typing import Any

from processes import busy
from table import write_json


@dataclass(frozen=True)
class Metric:
    unit: str
    more_is_better: bool = True


METRICS = {
    "up": Metric("Gbit/s"), "down": Metric("Gbit/s"), "4 flows": Metric("Gbit/s"), "64 flows": Metric("Gbit/s"),
    "keep-alive": Metric("req/s"), "new connections": Metric("conn/s"),
    "p50": Metric("µs", False), "p99": Metric("µs", False), "p99 beside bulk": Metric("µs", False),
    "requests beside bulk": Metric("req/s"), "bulk beside requests": Metric("Gbit/s"),
    "datagrams up": Metric("a second"), "datagrams down": Metric("a second")}
PACKAGES = {"HAProxy": "haproxy", "wireguard-go": "wireguard-go", "nebula": "nebula", "sshuttle": "sshuttle",
            "dnsmasq": "dnsmasq-base", "unbound": "unbound"}
NOISE = 0.1                      # of the machine in use by others, above which figures say little
Readings = dict[str, list["float | None"]]       # by metric, one a round; None where it failed


@dataclass
class Reading:
    """One run of a row: its figures by metric and, for bulk, what it took to carry it."""
    figures: dict[str, float]
    carried: int = 0                                   # bytes
    cpu: dict[str, float] | None = None                # seconds of the way's parts


@dataclass
class Figures:
    rounds: int
    seconds: int
    machine: dict[str, Any]
    versions: dict[str, str]
    ways: dict[str, Readings] = field(default_factory=dict)
    carried: dict[str, list[dict[str, Any]]] = field(default_factory=dict)    # by way: bytes, and what they took
    dns: dict[str, list[float | None]] = field(default_factory=dict)          # answers a second
    dns_cost: dict[str, list[float | None]] = field(default_factory=dict)     # seconds of the server's processor time for each
    dns_asker: list[float | None] = field(default_factory=list)               # of a core, what dnsperf took meanwhile
    crowd: dict[str, list[dict[str, float] | None]] = field(default_factory=dict)   # by threads of the connector: crowd.Passed
    match: list[dict[str, float]] = field(default_factory=list)               # of each round, what bench_match says
    load: dict[str, Any] | None = None
    memory: dict[str, Any] | None = None
    not_run: dict[str, str] = field(default_factory=dict)                     # what this machine cannot run, and why
    failed: list[str] = field(default_factory=list)

    # -- in and out -----------------------------------------------------------------------------------------------------------
    @staticmethod
    def read(path: str) -> Figures:
        found = json.loads(pathlib.Path(path).read_text())
        del found["schema_version"]
        return Figures(**found)

    def write(self, path: str) -> None:
        write_json(path, asdict(self))

    def add(self, way: str, number: int, row: str, reading: Reading) -> None:
        for metric, value in reading.figures.items():
            self._row(way, metric)[number] = value
        if reading.carried:
            self.carried.setdefault(way, []).append(
                {"round": number, "row": row, "bytes": reading.carried, "cpu": reading.cpu})

    def _row(self, way: str, metric: str) -> list[float | None]:
        return self.ways.setdefault(way, {}).setdefault(metric, [None] * self.rounds)

    def machine_line(self) -> str:
        return f"{self.machine['cores']} cores, {self.machine['processor']}, Linux {self.machine['kernel']}"

    def noise(self) -> str:
        """What readers must know of the machine; "" when it had nothing else to do."""
        busy = self.machine["busy"]
        return (f"Other programs took {busy:.0%} of the machine before or after this run: its figures are noise." if busy > NOISE
                else "")

    def programs(self) -> str:
        """Those that were measured, with their versions."""
        measured = [*self.ways, *self.dns]
        return ", ".join(f"{program} {version}" for program, version in self.versions.items()
                         if program == "tg" or any(name.startswith(program) for name in measured))

    # -- what follows ---------------------------------------------------------------------------------------------------------
    def values(self, way: str, metric: str) -> list[float]:
        return [v for v in self.ways.get(way, {}).get(metric, []) if v is not None]

    def ratios(self, mine: str, theirs: str, metric: str) -> list[float]:
        """Of each round that has both: above 1 is better for `mine`."""
        pairs = zip(self.ways.get(mine, {}).get(metric, []), self.ways.get(theirs, {}).get(metric, []))
        return [a / b if METRICS[metric].more_is_better else b / a for a, b in pairs if a is not None and b is not None]

    def beside_bulk(self, way: str) -> list[float]:
        """p99 of small requests beside four bulk flows, by that of the same round without."""
        row = self.ways.get(way, {})
        return [a / b for a, b in zip(row.get("p99 beside bulk", []), row.get("p99", [])) if a is not None and b is not None]

    def matched(self, what: str) -> list[float]:
        return [one[what] for one in self.match]

    def dns_ratios(self, other: str) -> list[float]:
        return [a / b for a, b in zip(self.dns.get("tg", []), self.dns.get(other, [])) if a is not None and b is not None]

    def crowd_ratios(self, threads: int) -> list[float]:
        """What a connector with so many threads passes on, by what one with one does."""
        return [a["rate"] / b["rate"] for a, b in zip(self.crowd.get(str(threads), []), self.crowd.get("1", [])) if a and b]

    def dns_cost_ratios(self, other: str) -> list[float]:
        """Above 1: tg takes less."""
        return [b / a for a, b in zip(self.dns_cost.get("tg", []), self.dns_cost.get(other, [])) if a is not None and b is not None]

    def cpu(self, way: str) -> dict[str, float]:
        """Seconds of processor time a gigabyte of each of the way's parts, over all rows of bulk: the medians of the rounds."""
        by_part: dict[str, list[float]] = {}
        for number in range(self.rounds):
            rows = [one for one in self.carried.get(way, []) if one["round"] == number and one["cpu"]]
            total = sum(one["bytes"] for one in rows) / 1e9
            for part in rows[0]["cpu"] if rows else ():
                by_part.setdefault(part, []).append(sum(one["cpu"][part] for one in rows) / total)
        return {part: statistics.median(each) for part, each in by_part.items()}


def machine() -> dict[str, Any]:
    """`busy`: how much of it others used just before the run, or just after."""
    model = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {"cores": os.cpu_count(), "processor": model[1] if model else os.uname().machine, "kernel": os.uname().release,
            "busy": busy()}


def versions(tg: os.PathLike[str]) -> dict[str, str]:
    """Upstream's, of what is installed."""
    found = {"tg": subprocess.run([tg, "version"], capture_output=True, text=True).stdout.split()[1]}
    for program, package in PACKAGES.items():
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package], capture_output=True,
                               text=True)
        if asked.stdout.startswith("installed "):
            found[program] = re.sub(r"^installed (?:\d+:)?|[-+].*$", "", asked.stdout)
    return found
