"""The emulated line itself, support/link/, without tg: it does what it is told, as real programs see it."""
from __future__ import annotations

import json
import re
import signal
import socket
import time
from typing import Iterator

import pytest
from support.lab import CONTROLLER, ISP_DNS, LAPTOP, Lab
from support.link import link_program, slow_link
from support.netns import Failed, Host, Process, wait_for

PORT = 5300


@pytest.fixture(scope="module")
def iperf3(lab: Lab) -> Iterator[Process]:
    server = lab.internet.start(["iperf3", "-s", "-p", PORT, "--forceflush"], "iperf3", ready="listening")
    yield server
    server.kill()


def round_trips(lab: Lab, count: int, every: float = 0.02, to: str = CONTROLLER) -> list[float]:
    """Milliseconds of those that were answered."""
    run = lab.laptop.run(["ping", "-c", count, "-i", every, "-W", "3", to], 60)
    return [float(t) for t in re.findall(r" time=([\d.]+) ms", run.out)]


def throughput(lab: Lab, seconds: float, *more: str) -> float:
    """Bits a second that arrived, of iperf3's payload."""
    def measured() -> float | None:      # its server may not have heard yet that the client before has gone
        run = lab.laptop.run(["iperf3", "-c", CONTROLLER, "-p", PORT, "-t", f"{seconds:g}", "-J", *more], seconds + 30)
        if "busy" in run.out or "sum_received" not in run.out:      # or is between two clients
            return None
        return float(json.loads(run.ok().out)["end"]["sum_received"]["bits_per_second"])
    return float(wait_for("the iperf3 server is free", measured, seconds + 40))


def numbered(lab: Lab, count: int, pause: float = 0.0005) -> list[int]:
    """Numbered datagrams from the laptop to the internet: the numbers as they arrive, until none has for a second."""
    with lab.internet.socket(kind=socket.SOCK_DGRAM, timeout=1) as far, lab.laptop.socket(kind=socket.SOCK_DGRAM) as near:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)      # nobody reads before all are sent
        far.bind((CONTROLLER, 0))
        order = []
        for number in range(count):
            near.sendto(number.to_bytes(4, "big") * 50, far.getsockname())
            time.sleep(pause)
        while True:
            try:
                order.append(int.from_bytes(far.recv(1000)[:4], "big"))
            except TimeoutError:
                return order


def looks(lab: Lab) -> list[str]:
    """What the hosts' own tools say of their interfaces, addresses and routes."""
    def of(host: Host) -> str:
        links = json.loads(host.run("ip -j -d link").ok().out)
        keys = ("ifname", "address", "mtu", "master", "gso_max_segs")
        shown = [[str(link.get(key)) for key in keys] + sorted({"UP", "NOARP"} & set(link["flags"])) for link in links]
        more = host.run("ip -o -4 addr; ip -o -6 addr show scope global; ip route; ip -6 route").ok().out
        return "\n".join([*(" ".join(words) for words in sorted(shown)), *sorted(more.splitlines())])
    return [of(host) for host in (lab.laptop, lab.internet, lab.router, lab.connector)]


def test_each_way_has_its_own_delay(lab: Lab) -> None:
    with slow_link(lab, lab.laptop, lab.internet, delay="30ms,10ms"):
        times = round_trips(lab, 10)
    assert len(times) == 10
    assert 40 <= min(times) < 60, times


def test_jitter_adds_to_the_delay_and_reorders_nothing(lab: Lab) -> None:
    with slow_link(lab, lab.laptop, lab.internet, delay="5ms", jitter="20ms") as line:
        times = round_trips(lab, 100, 0.002)
    assert len(times) == 100
    assert min(times) >= 10
    assert max(times) - min(times) > 10, "two times up to 20 ms, a hundred times"
    assert line[lab.laptop].overtaken == line[lab.internet].overtaken == 0


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_rate_is_reached_and_not_exceeded(lab: Lab, iperf3: Process, way: str) -> None:
    rate = 20e6
    with slow_link(lab, lab.laptop, lab.internet, delay="5ms", rate="20mbit,1gbit" if way == "up" else "1gbit,20mbit") as line:
        got = throughput(lab, 3, *(["-R"] if way == "down" else []))
    assert rate / 2 < got <= rate
    slow = line[lab.laptop if way == "up" else lab.internet]
    assert slow.dropped > 0 and slow.lost == 0, "TCP has filled the queue, or the line was not the limit"
    assert slow.super_packets == 0, "at this rate one would take 26 ms"


def test_a_gigabit_passes_in_super_packets(lab: Lab, iperf3: Process) -> None:
    with slow_link(lab, lab.laptop, lab.internet, delay="1ms", rate="1gbit") as line:
        got = throughput(lab, 2)
    assert 0.1e9 < got <= 1e9
    way = line[lab.laptop]
    assert way.super_packets > 0 and way.bytes / way.packets < 1515, f"each segment is counted with its headers: {way}"


def test_a_full_queue_drops_and_bounds_the_wait(lab: Lab) -> None:
    """Sixty-four thousand bits in one go, at a megabit: what finds 20 ms of the line waiting is dropped."""
    with slow_link(lab, lab.laptop, lab.internet, rate="1mbit,1gbit", queue="20ms") as line:
        run = lab.laptop.run(f"ping -c 8 -l 8 -i 0.002 -s 958 -W 2 {CONTROLLER}", 20)       # 1000 bytes a frame: 8 ms
    times = [float(t) for t in re.findall(r" time=([\d.]+) ms", run.out)]
    assert 0 < len(times) < 8, run.out
    assert line[lab.laptop].dropped > 0 and line[lab.laptop].lost == 0
    others = line[lab.laptop].packets - 8
    assert 0 <= line[lab.laptop].dropped + len(times) - 8 <= others, "ARP's are dropped as well"


def test_packets_are_lost_as_the_seed_says_and_no_others(lab: Lab) -> None:
    arrived = []
    for seed in ("4", "5"):
        with slow_link(lab, lab.laptop, lab.internet, delay="1ms", loss="20%,0", seed=seed) as line:
            arrived.append(numbered(lab, 300))
        lost = line[lab.laptop].lost
        assert 20 < lost < 120, "60 of 300, or chance is none"
        assert 0 <= lost - (300 - len(arrived[-1])) < 10, "some were ARP's"
        assert arrived[-1] == sorted(arrived[-1])
        assert line[lab.internet].lost == 0 and line[lab.laptop].dropped == 0
    assert arrived[0] != arrived[1]


def test_reordering_lets_packets_overtake_and_loses_none(lab: Lab) -> None:
    with slow_link(lab, lab.laptop, lab.internet, delay="2ms", reorder="10%,0", late="10ms") as line:
        order = numbered(lab, 500)
    assert sorted(order) == list(range(500))
    behind = [n for at, n in enumerate(order) if n < max(order[:at], default=-1)]
    assert 10 < len(behind) < 150, "50 of 500, or chance is none"
    others = line[lab.laptop].packets - 500
    assert 0 <= line[lab.laptop].overtaken - len(behind) <= others < 50, "ARP's and IPv6's were overtaken as well"
    assert line[lab.internet].overtaken == 0


def test_bytes_pass_unchanged_whatever_their_size(lab: Lab) -> None:
    """Big datagrams are fragments, and ping looks at what comes back."""
    with slow_link(lab, lab.laptop, lab.internet, delay="1ms"):
        for size in (0, 1, 1472, 1473, 20000, 60000):
            run = lab.laptop.run(f"ping -c 3 -i 0.01 -s {size} -p 5a3c {CONTROLLER}", 20).ok()
            assert "3 received" in run.out and "wrong data" not in run.out, run.out


@pytest.mark.parametrize("ends", ["laptop internet", "internet laptop", "internet router", "router connector"])
def test_it_stands_between_any_two_hosts_and_leaves_them_as_they_were(lab: Lab, ends: str) -> None:
    first, second = (getattr(lab, name) for name in ends.split())
    before = looks(lab)
    with slow_link(lab, first, second, delay="1ms"):
        assert lab.connector.run(f"ping -c 2 -i 0.05 -W 5 {CONTROLLER}", 20).code == 0
        assert lab.laptop.run(f"ping -c 2 -i 0.05 -W 5 {CONTROLLER}", 20).code == 0
    assert looks(lab) == before
    assert not [h for h in lab.hosts if h.name.startswith("wire")]


def test_two_lines_are_passed_one_after_the_other(lab: Lab) -> None:
    with slow_link(lab, lab.connector, lab.router, delay="5ms"), slow_link(lab, lab.router, lab.internet, delay="10ms"):
        run = lab.connector.run(f"ping -c 3 -i 0.02 -W 5 {ISP_DNS}", 20).ok()
    assert min(float(t) for t in re.findall(r" time=([\d.]+) ms", run.out)) >= 30


def test_a_killed_emulator_is_told_and_the_wire_is_whole_again(lab: Lab) -> None:
    with pytest.raises(Failed, match="the line ended with -9"):
        with slow_link(lab, lab.laptop, lab.internet) as line:
            line.process.kill()
            assert lab.laptop.run(f"ping -c 1 -W 1 {ISP_DNS}").code == 1, "nothing passes without it"
    assert lab.laptop.run(f"ping -c 1 -W 5 {ISP_DNS}").code == 0
    assert lab.internet.run(f"ping -c 1 -W 5 {LAPTOP}").code == 0


def test_it_says_what_is_wrong_with_its_options(lab: Lab) -> None:
    for words in (["one"], ["a", "b", "--delay", "5"], ["a", "b", "--los", "1%"]):
        run = lab.internet.run([link_program(), *words])
        assert run.code == 2 and run.err.startswith("link: ") and "usage: link A B" in run.err, run
    run = lab.internet.run([link_program(), "lo", "nothing"])
    assert run.code == 1 and run.err.startswith("link: nothing: "), run
    far = lab.internet.start([link_program(), "lo", "lo"], "nowhere", ready="ready")
    far.signal(signal.SIGINT)
    assert far.wait() == 0
