"""How many DNS questions a second are answered for names of the server's own: tg's client, beside dnsmasq and unbound with one
thread. All run on the laptop, and so does dnsperf, which asks each the same questions: the A records of so many names."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable

from processes import scheduled
from support.lab import NAS, Lab
from support.netns import Failed, wait_for
from support.tg import STUB, binary, resource

NAMES = [f"host{i:04d}.own.home.int" for i in range(1000)]
UNBOUND_PORT, DNSMASQ_PORT = 5301, 5302
NAMED = {"tg": "tg", "dnsmasq": "dnsmasq", "unbound": "unbound, one thread"}
RESOURCES = "".join(resource(f"Own {i}", name) for i, name in enumerate(NAMES))


@dataclass
class Server:
    name: str
    address: str
    port: int
    pid: int


@dataclass
class Answered:
    rate: float                          # answers a second
    cost: float                          # seconds of the server's processor time for each
    asker: float                         # of a core, what dnsperf itself took


def tg(lab: Lab) -> Server:
    """Its policy must have RESOURCES."""
    [pid] = lab.laptop.pids(binary())
    return Server("tg", STUB, 53, pid)


def unbound(lab: Lab) -> Server:
    conf = lab.root / "unbound.conf"
    records = "".join(f'  local-data: "{name}. 60 IN A {NAS}"\n' for name in NAMES)
    conf.write_text(f'server:\n  interface: 127.0.0.1\n  port: {UNBOUND_PORT}\n  num-threads: 1\n  do-daemonize: no\n'
                    f'  chroot: ""\n  username: ""\n  directory: "{lab.root}"\n  pidfile: ""\n  use-syslog: no\n'
                    f'  module-config: "iterator"\n  local-zone: "own.home.int." static\n{records}'
                    "remote-control:\n  control-enable: no\n")
    process = lab.laptop.start(["unbound", "-d", "-c", conf], "unbound")
    return Server(NAMED["unbound"], "127.0.0.1", UNBOUND_PORT, process.pid)


def dnsmasq(lab: Lab) -> Server:
    conf = lab.root / "dnsmasq-bench.conf"
    records = "".join(f"host-record={name},{NAS}\n" for name in NAMES)
    conf.write_text(f"keep-in-foreground\nbind-interfaces\nlisten-address=127.0.0.1\nport={DNSMASQ_PORT}\nno-resolv\nno-hosts\n"
                    f"log-facility=-\nuser=root\npid-file\nlocal-ttl=60\n{records}")
    process = lab.laptop.start(["dnsmasq", "-C", conf], "dnsmasq")
    return Server("dnsmasq", "127.0.0.1", DNSMASQ_PORT, process.pid)


SERVERS: dict[str, Callable[[Lab], Server]] = {"tg": tg, "dnsmasq": dnsmasq, "unbound": unbound}


def wait_answers(lab: Lab, server: Server) -> None:
    """An address for the last name."""
    def answers() -> bool:
        out = lab.laptop.run(["dig", f"@{server.address}", "-p", server.port, "+short", "+tries=1", "+time=1", NAMES[-1]]).out
        return bool(re.fullmatch(r"\d+\.\d+\.\d+\.\d+\n", out))
    wait_for(f"{server.name} answers for {NAMES[-1]}", answers, 15, 0.1, lambda: lab.log_tails(8, server.name.split(",")[0]))


def measure(lab: Lab, server: Server, seconds: int) -> Answered:
    """Each answer must be NOERROR, and none may be lost."""
    questions = lab.root / "questions"
    if not questions.exists():
        questions.write_text("".join(f"{name} A\n" for name in NAMES))
    before = scheduled(server.pid)
    run = lab.laptop.run(f"dnsperf -s {server.address} -p {server.port} -d {questions} -l {seconds} && times", seconds + 20).ok()
    took, out = scheduled(server.pid) - before, run.out
    found = re.search(r"Queries completed:\s+(\d+).*Run time \(s\):\s+([\d.]+)", out, re.DOTALL)
    if not found or "NOERROR" not in out or re.search(r"Queries lost:\s+[1-9]", out) or "NXDOMAIN" in out or "SERVFAIL" in out:
        raise Failed(out)
    count, time = int(found[1]), float(found[2])
    own = sum(int(m) * 60 + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", out.strip().splitlines()[-1]))
    return Answered(count / time, took / count, own / time)
