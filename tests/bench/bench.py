"""How fast tg is, and what it costs, beside the bare path and beside others that take the same way: one run, the same network
namespaces, rounds that alternate; medians, and the ratios of each round. See ways.py, measures.py, crowd.py, dns.py, memory.py, load.py,
match.cpp.

    bench.py --programs FOLDER [--quick] [--rounds N] [--seconds S] [--only NAME,…] [--json FILE] [--svg FILE]
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource as limits
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Callable, TypeVar

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import chart      # noqa: E402
import crowd      # noqa: E402
import dns      # noqa: E402
import load      # noqa: E402
import memory      # noqa: E402
from figures import METRICS, Figures, Reading, machine, versions      # noqa: E402
from measures import DATAGRAMS, RELAYED_ROWS, ROWS      # noqa: E402
from peers import PEERS, PROGRAMS      # noqa: E402
from processes import busy      # noqa: E402
from report import number, report      # noqa: E402
from support.lab import Lab      # noqa: E402
from support.netns import Failed      # noqa: E402
from support.tg import Tg, binary      # noqa: E402
from ways import NAMES, POLICY, Client, Way, prepare, tg_direct, tg_relayed, tg_starts      # noqa: E402

OPEN_FILES = 8192                # both ends of the idle flows are in this process
Made = TypeVar("Made")


@dataclass(frozen=True)
class Size:
    """How much of everything."""
    rounds: int
    seconds: int
    tunnels: int = 20
    flows: int = 1000
    idle: float = 20
    resources: int = 100_000
    matched: int = 1_000_000


QUICK = Size(rounds=1, seconds=1, tunnels=5, idle=5, resources=10_000)


def slug(row: str) -> str:
    return row.replace(" ", "-")


EXTRAS = ("match", "crowd", "dns", "memory", "load")
CHOICES = [*NAMES, *map(slug, ROWS), *EXTRAS]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def shown(reading: Reading) -> str:
    return ", ".join(f"{metric} {number(value, METRICS[metric].unit)} {METRICS[metric].unit}" if len(reading.figures) > 1 else
                     f"{number(value, METRICS[metric].unit)} {METRICS[metric].unit}" for metric, value in reading.figures.items())


class Bench:
    def __init__(self, lab: Lab, size: Size, wanted: set[str], programs: pathlib.Path) -> None:
        self.lab, self.size, self.began = lab, size, time.monotonic()
        self.programs = programs
        ways, others = wanted & set(NAMES), wanted - set(NAMES)
        self.ways = [name for name in NAMES if not ways or name in ways or name == "tg"]
        self.rows = [row for row in ROWS if not others or slug(row) in others]
        self.extras = {extra for extra in EXTRAS if not others or extra in others}
        self.broken = False              # tg could not do something
        self.figures = Figures(size.rounds, size.seconds, machine(), versions(binary()))

    def run(self) -> list[str]:
        """Returns what went wrong with tg's processes, if anything did."""
        if "match" in self.extras:
            self.match()
        prepare(self.lab)
        tg = tg_starts(self.lab)
        direct, clients = tg_direct(tg), list[Client]()
        if "memory" in self.extras:
            self.figures.memory = self.attempt("memory of tg", lambda: memory.measure(
                tg, self.size.flows, self.size.tunnels, self.size.idle))
        if self.rows:
            self.rounds(self.make_ways(tg, direct, clients))
        for client in clients:
            client.stop()
        if "crowd" in self.extras:
            self.crowd(tg)
        if "dns" in self.extras:
            self.dns(tg)
        if "load" in self.extras:
            tg.policy = POLICY
            self.figures.load = self.attempt("load of tg", lambda: load.measure(tg, self.size.resources))
        tg.stop()
        self.figures.machine["busy"] = max(self.figures.machine["busy"], busy())
        return tg.findings()

    def attempt(self, what: str, measure: Callable[[], Made], ours: bool = True,
                show: Callable[[Made], str] = lambda _: "") -> Made | None:
        """None, and a line among the figures, when it fails. `ours`: that is tg's fault."""
        try:
            found = measure()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:       # Failed is the first
            self.figures.failed.append(f"{what}: {' '.join(str(e).split())[:300]}")
            self.broken = self.broken or ours
            say(f"{what} failed: {e}")
            return None
        say(f"{time.monotonic() - self.began:5.0f} s  {what:52}  {show(found)}".rstrip())
        return found

    # -- ways -----------------------------------------------------------------------------------------------------------------
    def make_ways(self, tg: Tg, direct: Way, clients: list[Client]) -> list[Way]:
        out = []
        for key in self.ways:
            if key == "tg":
                out.append(direct)
            elif key == "relayed":
                way, client = tg_relayed(tg)
                way.wait_answers()
                clients.append(client)
                out.append(way)
            elif way := self.peer(NAMES[key], PROGRAMS.get(key, []), lambda: PEERS[key](self.lab)):
                out.append(way)
        return out

    def peer(self, name: str, programs: list[str], make: Callable[[], Way]) -> Way | None:
        if not self.can_run(name, programs):
            return None
        try:
            way = make()
            way.wait_answers()
            return way
        except (Failed, OSError) as e:
            self.cannot_run(name, " ".join(str(e).split())[:300])
            return None

    def can_run(self, name: str, programs: list[str]) -> bool:
        for program in programs:
            if not shutil.which(program):
                self.cannot_run(name, f"{program} is not installed")
                return False
        return True

    def cannot_run(self, name: str, why: str) -> None:
        self.figures.not_run[name] = why
        say(f"not run: {name}: {why}")

    def rounds(self, ways: list[Way]) -> None:
        for count in range(self.size.rounds):
            for row in self.rows:
                turn = count % len(ways)
                for way in ways[turn:] + ways[:turn]:
                    if way.name == NAMES["relayed"] and row not in RELAYED_ROWS or row in DATAGRAMS and way.datagrams is None:
                        continue
                    reading = self.attempt(f"round {count + 1}/{self.size.rounds}  {row:15}  {way.name}",
                                           lambda: ROWS[row](way, self.size.seconds), way.name.startswith("tg"), shown)
                    if reading:
                        self.figures.add(way.name, count, row, reading)

    # -- matching -------------------------------------------------------------------------------------------------------------
    def match(self) -> None:
        """Without a network: of so many Resources the one that a name or an address belongs to."""
        command = [str(self.programs / "bench_match"), str(self.size.matched)]
        for count in range(self.size.rounds):
            found = self.attempt(f"round {count + 1}/{self.size.rounds}  match", lambda: json.loads(
                subprocess.run(command, check=True, capture_output=True, timeout=120).stdout), True,
                lambda m: f"names {m['name']:.0f} ns, addresses {m['address']:.0f} ns")
            if found:
                self.figures.match.append(found)

    # -- several clients ------------------------------------------------------------------------------------------------------
    def crowd(self, tg: Tg) -> None:
        many = crowd.Crowd(tg, self.programs / "bench_tunnels")
        for count in range(self.size.rounds):
            turn = count % len(crowd.THREADS)
            for threads in crowd.THREADS[turn:] + crowd.THREADS[:turn]:
                found = self.attempt(f"round {count + 1}/{self.size.rounds}  {crowd.CLIENTS} clients, threads: {threads}",
                                     lambda: many.measure(threads, self.size.seconds), True,
                                     lambda p: f"{p.rate:,.0f} datagrams/s, connector {p.connector:.2f} cores, clients {p.clients:.2f}")
                self.figures.crowd.setdefault(str(threads), []).append(asdict(found) if found else None)
        many.end()

    # -- DNS ------------------------------------------------------------------------------------------------------------------
    def dns(self, tg: Tg) -> None:
        tg.apply(POLICY + dns.RESOURCES).ok()
        if not self.can_run("DNS", ["dnsperf"]):
            return
        servers = []
        for key, make in dns.SERVERS.items():
            if key != "tg" and not self.can_run(dns.NAMED[key], [key]):
                continue
            try:
                server = make(self.lab)
                dns.wait_answers(self.lab, server)
                servers.append(server)
            except Failed as e:
                if key == "tg":
                    raise
                self.cannot_run(dns.NAMED[key], " ".join(str(e).split())[:300])
        self.figures.dns = {server.name: [] for server in servers}
        self.figures.dns_cost = {server.name: [] for server in servers}
        for count in range(self.size.rounds):
            turn = count % len(servers)
            for server in servers[turn:] + servers[:turn]:
                found = self.attempt(f"round {count + 1}/{self.size.rounds}  DNS  {server.name}",
                                     lambda: dns.measure(self.lab, server, self.size.seconds),
                                     server.name == "tg", lambda a: f"{a.rate:,.0f} answers/s, {a.cost * 1e6:.1f} µs each")
                self.figures.dns[server.name].append(found.rate if found else None)
                self.figures.dns_cost[server.name].append(found.cost if found else None)
                self.figures.dns_asker.append(found.asker if found else None)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="tg beside others that take the same way")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where bench_tunnels and bench_match are")
    parser.add_argument("--quick", action="store_true", help="one round of one second each, and less of the rest")
    parser.add_argument("--rounds", type=int, metavar="N", help="(5; 1 with --quick)")
    parser.add_argument("--seconds", type=int, metavar="S", help="of each figure, whole ones (2; 1 with --quick)")
    parser.add_argument("--only", metavar="NAME,…", default="", help="some ways, some rows, or both: " + ", ".join(CHOICES))
    parser.add_argument("--json", metavar="FILE", help="also write every reading here")
    parser.add_argument("--svg", metavar="FILE", help="also draw a chart here")
    args = parser.parse_args()
    args.only = set(filter(None, args.only.split(",")))
    if unknown := args.only - set(CHOICES):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(CHOICES)}")
    size = QUICK if args.quick else Size(rounds=5, seconds=2)
    args.size = Size(size.rounds if args.rounds is None else args.rounds, size.seconds if args.seconds is None else args.seconds,
                     size.tunnels, size.flows, size.idle, size.resources)
    if args.size.rounds < 1 or args.size.seconds < 1:
        parser.error("there must be at least one round, of at least a second a figure")
    return args


def main() -> int:
    args = arguments()
    if os.geteuid() != 0:
        print("bench: making network namespaces takes root: sudo scripts/bench", file=sys.stderr)
        return 1
    limits.setrlimit(limits.RLIMIT_NOFILE, tuple(max(limit, OPEN_FILES) for limit in limits.getrlimit(limits.RLIMIT_NOFILE)))
    try:
        with Lab() as lab:
            bench = Bench(lab, args.size, args.only, args.programs)
            try:
                findings = bench.run()
            except Failed as e:
                print(f"{e}\n{lab.log_tails(only='tg-')}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        return 130
    print(report(bench.figures))
    if args.json:
        bench.figures.write(args.json)
    if args.svg:
        pathlib.Path(args.svg).write_text(chart.draw(bench.figures))
    for finding in findings:
        print(f"bench: {finding}", file=sys.stderr)
    return 1 if findings or bench.broken else 0


if __name__ == "__main__":
    sys.exit(main())
