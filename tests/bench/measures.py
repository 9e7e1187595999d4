"""What is measured of a way: bytes by iperf3, requests by wrk, and the processor time of who carried them."""
from __future__ import annotations

import json
import re
import signal
from typing import Any, Callable

from figures import Reading
from processes import total_cpu
from support.netns import Failed, Host, wait_for
from ways import IPERF, Way

BULK = {"up": [], "down": ["-R"], "4 flows": ["-P", "4", "-R"], "64 flows": ["-P", "64", "-R"]}
DATAGRAM = 64                                          # bytes
DATAGRAMS = {"datagrams up": [], "datagrams down": ["-R"]}
UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
Measure = Callable[[Way, int], Reading]                # iperf3 and wrk know whole seconds only


# -- bulk ---------------------------------------------------------------------------------------------------------------------
def wait_server(way: Way, port: int = IPERF) -> None:
    """An iperf3 server serves one client, and does not listen while it clears up behind the one before."""
    name = "nas-iperf3" if port == IPERF else f"nas-iperf3-{port}"
    (server,) = (p for p in way.laptop.space.processes if p.name == name)
    def free() -> bool:
        text = server.text()
        return text.rfind("Server listening") > text.rfind("Accepted connection")
    wait_for("the iperf3 server is free", free, 40)


def bulk(row: str) -> Measure:
    def measure(way: Way, seconds: int) -> Reading:
        wait_server(way)
        before = {part: total_cpu(pids) for part, pids in way.parts.items()}
        run = way.laptop.run(["iperf3", "-c", way.address, "-p", way.iperf, "-t", seconds, "-J", *BULK[row]], seconds + 20)
        used = {part: total_cpu(pids) - before[part] for part, pids in way.parts.items()}
        if run.code not in (0, 1):           # 1: it says why
            raise Failed(str(run))
        told: dict[str, Any] = json.loads(run.out)
        if "error" in told or not told["end"]["sum_received"]["bytes"]:
            raise Failed(f"iperf3: {told.get('error', 'nothing has come')}")
        end = told["end"]["sum_received"]
        return Reading({row: end["bits_per_second"] / 1e9}, end["bytes"], used)
    return measure


def datagrams(row: str) -> Measure:
    """Datagrams of 64 bytes, as fast as iperf3 sends them: how many a second arrive."""
    def measure(way: Way, seconds: int) -> Reading:
        assert way.datagrams
        wait_server(way, way.datagrams)
        run = way.laptop.run(["iperf3", "-c", way.address, "-p", way.datagrams, "-t", seconds, "-J", "-u", "-l", DATAGRAM, "-b", "0",
                              *DATAGRAMS[row]], seconds + 20)
        told: dict[str, Any] = json.loads(run.out) if run.code in (0, 1) else {"error": str(run)}
        if "error" in told or not told["end"]["sum_received"]["bytes"]:
            raise Failed(f"iperf3: {told.get('error', 'nothing has come')}")
        end = told["end"]["sum_received"]
        return Reading({row: end["bytes"] / DATAGRAM / end["seconds"]})
    return measure


class Bulk:
    """Four flows down, beside something else."""

    def __init__(self, way: Way) -> None:
        wait_server(way)
        self.process = way.laptop.start(["iperf3", "-c", way.address, "-p", way.iperf, "-t", "60", *BULK["4 flows"], "-i", "0.1",
                                         "-f", "m", "--forceflush"], "iperf3", ready="bits/sec", deadline=20)

    def end(self) -> float:
        """Ends them, which must not have ended by themselves. Returns Gbit/s."""
        if not self.process.alive():
            raise Failed(f"the bulk flows ended early:\n{self.process.text()[-500:]}")
        self.process.signal(signal.SIGINT)
        self.process.wait(20)
        found = re.search(r"^\[SUM\].*\s([\d.]+) Mbits/sec\s+receiver", self.process.text(), re.MULTILINE)
        if not found:
            raise Failed(f"the bulk flows failed:\n{self.process.text()[-500:]}")
        return float(found[1]) / 1e3


# -- requests -----------------------------------------------------------------------------------------------------------------
def wrk(host: Host, url: str, connections: int, seconds: int, *more: str) -> str:
    out = host.run(["wrk", "-t", min(2, connections), "-c", connections, "-d", f"{seconds}s", "--timeout", "10s", "--latency",
                    *more, url], seconds + 30).ok().out
    if "Socket errors" in out or "Non-2xx" in out:      # wrk says neither where there is none
        raise Failed(out)
    return out


def rate(out: str) -> float:
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if not found or not float(found[1]):
        raise Failed(out)
    return float(found[1])


def latency(out: str, percent: int) -> float:
    """In µs."""
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s|m)\b", out)
    if not found or not float(found[1]):
        raise Failed(out)
    return float(found[1]) * UNITS[found[2]]


def keep_alive(way: Way, seconds: int) -> Reading:
    return Reading({"keep-alive": rate(wrk(way.laptop, way.url, 16, seconds))})


def new_connections(way: Way, seconds: int) -> Reading:
    return Reading({"new connections": rate(wrk(way.laptop, way.url, 32, seconds, "-H", "Connection: close"))})


def one_at_a_time(way: Way, seconds: int) -> Reading:
    out = wrk(way.laptop, way.url, 1, seconds)
    return Reading({"p50": latency(out, 50), "p99": latency(out, 99)})


def beside_bulk(way: Way, seconds: int) -> Reading:
    flows = Bulk(way)
    try:
        out = wrk(way.laptop, way.url, 1, seconds)
    finally:
        carried = flows.end()
    return Reading({"p99 beside bulk": latency(out, 99), "requests beside bulk": rate(out), "bulk beside requests": carried})


ROWS: dict[str, Measure] = {
    **{row: bulk(row) for row in BULK}, "keep-alive": keep_alive, "new connections": new_connections,
    "one at a time": one_at_a_time, "beside bulk": beside_bulk, **{row: datagrams(row) for row in DATAGRAMS}}
RELAYED_ROWS = ["up", "down", "keep-alive"]
