"""What a controller costs, and how soon it has told everybody: a real `tg controller serve`, and simulated agents (agents.cpp)
with TLS, keys, certificates and links like real ones, in a network namespace of their own. See `figures` for what is measured.

    controller.py --agents-program FILE [--agents N] [--resources N] [--rounds N] [--quick] [--json FILE]
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource as limits
import statistics
import sys
import time
from typing import Any, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from processes import cpu      # noqa: E402
from simulated import Simulated      # noqa: E402
from table import markdown, write_json      # noqa: E402
from support.netns import Failed, Host, Process, Result, Space, wait_for      # noqa: E402
from support.tg import binary, resource      # noqa: E402

PORT, NAME = 8443, "controller.bench"
AGENTS_LIVE_IN = "10.64.0.0/10"       # as agents.cpp has it
SPARE_FILES = 500                     # descriptors beside one for each connection
AIMS = {"memory": 24.0, "told": 1.0, "apply": 2.0}      # KiB, s, s


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- desired states -----------------------------------------------------------------------------------------------------------
def entry(kind: str, **fields: Any) -> str:
    return f"[[{kind}]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


HOME = entry("network", name="home") + entry("connector", name="bench", network="home")


def policy(users: list[str], resources: int, alias: str, extra: str = "") -> str:
    """Everybody reaches everything. `alias`: of the Resource that is changed; `extra`: of one that comes and goes."""
    return (HOME + "".join(entry("user", email=u) for u in users) + entry("group", name="family", members=users)
            + resource("Marked", "marked.home.int", f'alias = "{alias}"')
            + "".join(resource(f"Host {i}", f"host{i}.home.int") for i in range(1, resources))
            + (resource("Extra", "extra.home.int", f'alias = "{extra}"') if extra else ""))


def many(count: int) -> str:
    """As many users as Resources, in groups of a hundred, each of which reaches a hundred Resources."""
    users = [f"user{i}@example.com" for i in range(count)]
    groups = [entry("group", name=f"group {g}", members=users[g * 100:g * 100 + 100]) for g in range((count + 99) // 100)]
    return (HOME + "".join(entry("user", email=u) for u in users) + "".join(groups)
            + "".join(resource(f"Host {i}", f"host{i}.home.int", groups=json.dumps([f"group {i // 100}"])) for i in range(count)))


# -- processes ----------------------------------------------------------------------------------------------------------------
class Controller:
    """`tg controller serve` in the host, and the commands that an administrator types."""

    def __init__(self, host: Host, name: str) -> None:
        self.host, self.state, self.tg = host, host.space.root / name, binary()
        self.process: Process | None = None

    def start(self) -> float:
        """Returns when it listens, by the monotonic clock."""
        self.process = self.host.start(
            [self.tg, "controller", "serve", "--state", self.state, "--listen", f"0.0.0.0:{PORT}", "--public", f"{NAME}:{PORT}",
             "--relay-listen", f"127.0.0.1:{PORT + 1}", "--relay-public", f"{NAME}:{PORT + 1}"],
            "tg-controller", ready="  agents   ", deadline=30)
        return time.monotonic()

    @property
    def running(self) -> Process:
        if not self.process or not self.process.alive():
            raise Failed("the controller has ended by itself")
        return self.process

    def apply(self, text: str, *more: str) -> Result:
        """`seconds` of what it returns: the whole command."""
        file = self.host.space.root / "policy.toml"
        file.write_text(text)
        return self.host.run([self.tg, "controller", "apply", file, "--state", self.state, *more], 120).ok()

    def memory(self) -> dict[str, float]:
        """KiB that it has to itself, and that it has in all."""
        text = pathlib.Path(f"/proc/{self.running.pid}/smaps_rollup").read_text()
        return {key.lower(): float(re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)[1])      # type: ignore[index]
                for key in ("Anonymous", "Rss")}

    def cpu(self) -> float:
        return cpu(self.running.pid)


# -- what is measured ---------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{what:60} {time.monotonic() - began:6.1f} s")


def apply_many(host: Host, count: int) -> dict[str, Any]:
    """A desired state of that many Resources and users, into an empty controller."""
    controller = Controller(host, "empty")
    controller.start()
    took = controller.apply(many(count)).seconds
    used = controller.cpu()
    controller.running.stop()
    return {"resources": count, "users": count, "seconds": took, "controller_cpu": used}


def quiet(controller: Controller) -> None:
    """Waits until it does nothing: for 0.3 s less than 0.03 s of processor time (its agents ping)."""
    used = [controller.cpu()]
    def still() -> bool:
        used.append(controller.cpu())
        return len(used) > 2 and used[-1] - used[-2] < 0.03
    wait_for("the controller is quiet", still, 30, 0.3)


def memory(controller: Controller, agents: Simulated, count: int) -> dict[str, Any]:
    """Of a controller that was just started and knows everybody: with its connector alone, and with all the devices."""
    agents.ask("connect 0 1", "up", 30)
    quiet(controller)
    before = controller.memory()
    agents.ask(f"connect 1 {count + 1}", "up", 180)
    quiet(controller)
    after = controller.memory()
    return {"before": before, "after": after, "each": (after["anonymous"] - before["anonymous"]) / count}


def told(controller: Controller, agents: Simulated, text: str, alias: str, *more: str) -> dict[str, float]:
    """From before the command is typed until half of the agents, and all, have the change in their Views."""
    quiet(controller)    # a change by itself: those that follow one another are told together, now and then
    agents.ask(f"expect {alias}", "expecting", 30)
    used, theirs, began = controller.cpu(), cpu(agents.popen.pid), time.monotonic()
    command = controller.apply(text, *more).seconds
    event = agents.hear("told", 120)
    return {"half": event["half"] - began, "all": event["at"] - began, "command": command,
            "controller_cpu": controller.cpu() - used, "agents_cpu": cpu(agents.popen.pid) - theirs}


def changes(controller: Controller, agents: Simulated, users: list[str], resources: int,
            rounds: int) -> dict[str, list[dict[str, float]]]:
    """Another alias for one Resource; one more Resource, for which everybody needs a new grant; and that one taken away
    again, which voids everybody's grants."""
    out: dict[str, list[dict[str, float]]] = {"changed": [], "added": [], "removed": []}
    for number in range(rounds):
        first, then, extra = f"a{number}.bench.tg", f"b{number}.bench.tg", f"extra{number}.bench.tg"
        out["changed"].append(told(controller, agents, policy(users, resources, first), first))
        out["added"].append(told(controller, agents, policy(users, resources, first, extra), extra))
        out["removed"].append(told(controller, agents, policy(users, resources, then), then, "--prune"))
    return out


def bare(agents: Simulated, count: int) -> dict[str, Any]:
    """Handshakes of the same agents, with the same kind of certificates, with a thread that does nothing but accept them."""
    before = cpu(agents.popen.pid)
    event = agents.ask(f"bare {count}", "bare", 60)
    return {"handshakes": event["handshakes"], "seconds": event["seconds"], "cpu_both_ends": cpu(agents.popen.pid) - before}


def counters(host: Host) -> dict[str, int]:
    """What the namespace's TCP has counted: connections that came, and those for which a listener had no room."""
    def read(file: str, wanted: dict[str, str]) -> dict[str, int]:
        lines = [line.split() for line in host.run(["cat", f"/proc/net/{file}"]).ok().out.splitlines()]
        values = {f"{names[0]}{name}": value for names, row in zip(lines[::2], lines[1::2]) for name, value in zip(names, row)}
        return {name: int(values[key]) for name, key in wanted.items()}
    return {**read("snmp", {"connections": "Tcp:PassiveOpens"}), **read("netstat", {"overflows": "TcpExt:ListenOverflows"})}


def killed(controller: Controller, agents: Simulated) -> dict[str, Any]:
    """kill -9, a new start, and all agents come back as they do."""
    host = controller.host
    agents.ask("mark", "marked", 30)
    before, theirs = counters(host), cpu(agents.popen.pid)
    began = time.monotonic()
    controller.running.kill()
    listens = controller.start()
    event = agents.hear("up", 240)
    after = counters(host)
    used = {"controller_cpu": controller.cpu(), "agents_cpu": cpu(agents.popen.pid) - theirs}
    quiet(controller)
    return {"listens": listens - began, "half": event["half"] - began, "all": event["at"] - began, **used,
            **{key: after[key] - before[key] for key in after},
            **{key: event[key] for key in event if key not in ("event", "half", "at")}, "memory": controller.memory()}


def figures(host: Host, program: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    out: dict[str, Any] = {"agents": args.agents, "resources": args.resources, "rounds": args.rounds}
    with step(f"{args.entries:,} Resources and users are applied"):
        out["apply"] = apply_many(host, args.entries)
    users = [f"user{i}@example.com" for i in range(1, args.agents + 1)]
    controller = Controller(host, "controller")
    controller.start()
    controller.apply(policy(users, args.resources, "start.bench.tg"))
    own = host.space.root / "agents"
    own.mkdir()
    agents = Simulated(host, "agents", program, controller.state, own)
    with step(f"{args.agents:,} agents enrol"):
        out["enrolment"] = agents.ask(f"enrol {args.agents}", "enrolled", 600)
    controller.running.stop()
    controller.start()
    with step("they connect, a few at a time"):
        out["memory"] = memory(controller, agents, args.agents)
    with step("the policy changes, and changes, and changes"):
        out["told"] = changes(controller, agents, users, args.resources, args.rounds)
    with step("bare handshakes"):      # just before those that they are beside: a virtual machine has its moods
        out["bare"] = bare(agents, min(args.agents, 2000))
    with step("the controller is killed and comes back"):
        out["killed"] = killed(controller, agents)
    return out


# -- what is shown ------------------------------------------------------------------------------------------------------------
def caption(f: dict[str, Any]) -> str:
    medians = f"medians of {f['rounds']} rounds" if f["rounds"] > 1 else "one round"
    return (f"{os.cpu_count()} cores, Linux {os.uname().release}; {f['agents']:,} simulated devices on the same machine,\n"
            f"each of which reaches {f['resources']} Resources, and one connector; {medians} of the changes.\n")


def table(f: dict[str, Any]) -> str:
    def median(kind: str, key: str) -> float:
        return statistics.median(one[key] for one in f["told"][kind])
    def aim(what: float, most: float, unit: str) -> str:
        return f"{most:g} {unit}, {'as' if what <= most else 'NOT as'} wanted"
    rate, killed_, n = f["bare"]["handshakes"] / f["bare"]["seconds"], f["killed"], f["agents"]
    back = killed_["all"] - killed_["listens"]
    each = f["memory"]["each"]
    rows = [["", "figure", "aim"], ["memory an agent", f"{each:.1f} KiB", aim(each, AIMS["memory"], "KiB")]]
    for kind, text in (("changed", "a Resource is changed"), ("added", "a Resource is added: new grants"),
                       ("removed", "a Resource is removed: grants are void")):
        rows.append([f"{text}, until half have heard", f"{median(kind, 'half'):.2f} s", ""])
        rows.append([f"{text}, until all have", f"{median(kind, 'all'):.2f} s", aim(median(kind, "all"), AIMS["told"], "s")])
    rows += [
        ["bare handshakes", f"{rate:,.0f} a second", ""],
        ["killed, until it listens again", f"{killed_['listens']:.2f} s", ""],
        ["from then until half are back", f"{killed_['half'] - killed_['listens']:.2f} s", ""],
        ["from then until all are back", f"{back:.2f} s", ""],
        ["the same by bare handshakes alone", f"{n / rate:.2f} s", ""],
        ["processor time for each of them, both ends",
         f"{(killed_['controller_cpu'] + killed_['agents_cpu']) / n * 1000:.2f} ms", ""],
        ["for a bare handshake, both ends", f"{f['bare']['cpu_both_ends'] / f['bare']['handshakes'] * 1000:.2f} ms", ""],
        ["attempts that an agent needed: half of them, the worst",
         f"{killed_['attempts_each_p50']:.0f}, {killed_['attempts_each_most']:.0f}", ""],
        ["attempts in the busiest second", f"{killed_['attempts_busiest_second']:,}", ""],
        [f"apply of {f['apply']['resources']:,} Resources and users to nothing", f"{f['apply']['seconds']:.2f} s",
         aim(f["apply"]["seconds"], AIMS["apply"], "s")],
    ]
    return markdown(rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench controller", description="what a controller costs, and how fast it is")
    parser.add_argument("--agents", type=int, metavar="N", help="simulated devices (10,000; 500 with --quick)")
    parser.add_argument("--resources", type=int, metavar="N", default=10, help="that each of them reaches (10)")
    parser.add_argument("--rounds", type=int, metavar="N", help="of changes (3; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="within a minute: few agents, one round, a tenth of the entries")
    parser.add_argument("--json", metavar="FILE", help="also write every figure here")
    parser.add_argument("--agents-program", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.agents is None:
        args.agents = 500 if args.quick else 10_000
    if args.rounds is None:
        args.rounds = 1 if args.quick else 3
    args.entries = 1_000 if args.quick else 10_000
    if args.agents < 1 or args.resources < 1 or args.rounds < 1:
        parser.error("there must be at least one of everything")
    return args


def allow_files(count: int) -> None:
    """From now on processes may have that many files open."""
    _, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    if hard != limits.RLIM_INFINITY:
        limits.setrlimit(limits.RLIMIT_NOFILE, (max(count, hard), max(count, hard)))


def main() -> int:
    args = arguments()
    if os.geteuid() != 0:
        print("bench: making network namespaces takes root: sudo scripts/bench controller", file=sys.stderr)
        return 1
    try:
        allow_files(args.agents + SPARE_FILES)
    except (OSError, ValueError):
        print(f"bench: {args.agents:,} agents need as many open files, and a process may have "
              f"{limits.getrlimit(limits.RLIMIT_NOFILE)[1]:,} here; see --agents", file=sys.stderr)
        return 1
    try:
        with Space() as space:
            host = space.host("bench")
            host.ip(f"route add local {AGENTS_LIVE_IN} dev lo")
            try:
                found = figures(host, args.agents_program.resolve(), args)
            except Failed as e:
                print(f"bench: {e}\n{space.log_tails(5)}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        return 130
    print(caption(found))
    print(table(found))
    if args.json:
        write_json(args.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
