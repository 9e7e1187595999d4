"""tg over lines as they are outside: long, narrow, lossy, unsteady. How fast it is is printed beside the bare path, and fails
nothing: machines differ. That bytes arrive whole, that flows live, and that no line is taken for a dead one, does."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import socket
import statistics
import struct
import threading
import time
from typing import Iterator

import pytest
from support.flows import flow, hash_to_end, server
from support.lab import HOME_OUTSIDE, NAS, Lab
from support.link import slow_link
from support.netns import Host, wait_for
from support.tg import Tg
from test_direct import open_home, path_of, tunnel_of, wait_direct      # noqa: F401

TROUBLE = ("does not answer", " ended: ", "gave up", "lost")


@contextlib.contextmanager
def bare_way(lab: Lab, *ports: int) -> Iterator[None]:
    """The NAS can be reached by its own address from outside, over the same line: what tg is measured against."""
    lab.internet.ip(f"route add {NAS}/32 via {HOME_OUTSIDE}")
    lab.router.nft(f"table inet bare {{\n chain forward {{\n type filter hook forward priority filter - 1\n"
                   f" tcp dport {{ {', '.join(map(str, ports))} }} meta mark set 7\n }}\n}}\n"
                   "insert rule inet home forward meta mark 7 accept")
    try:
        yield
    finally:
        rules = lab.router.run("nft -a list chain inet home forward").ok().out
        handle = next(line.split()[-1] for line in rules.splitlines() if "mark 0x00000007" in line)
        lab.router.nft(f"delete rule inet home forward handle {handle}\ndelete table inet bare")
        lab.internet.ip(f"route del {NAS}/32")


@pytest.fixture(scope="module")
def file(lab: Lab) -> tuple[str, str, int]:
    """Random bytes at /files/some-random.bin, their SHA-256, and their number."""
    data = os.urandom(16 << 20)
    (lab.web_root / "some-random.bin").write_bytes(data)
    return "files/some-random.bin", hashlib.sha256(data).hexdigest(), len(data)


def down(laptop: Host, host: str, file: tuple[str, str, int]) -> float:
    """Fetches the file, which must be whole, and returns the bits a second."""
    run = laptop.run(f"curl -sS http://{host}/{file[0]} | sha256sum", timeout=120).ok()
    assert run.out.split()[0] == file[1], run.err
    return file[2] * 8 / run.seconds


def up(laptop: Host, nas: Host, host: str, port: int, path: pathlib.Path, file: tuple[str, str, int]) -> float:
    """Sends the file to the NAS, where it must be whole when it has arrived, and returns the bits a second."""
    got: list[tuple[str, int]] = []
    with server(nas, port, lambda s: got.append(hash_to_end(s))):
        run = laptop.run(f"nc -N {host} {port} < {path}", timeout=120).ok()
    assert got == [(file[1], file[2])]
    return file[2] * 8 / run.seconds


class Watched:
    """What the client and the connector say of their tunnels meanwhile: status every now and then, and their logs at the end."""

    def __init__(self, tg: Tg) -> None:
        self.tg = tg
        self.states: list[str] = []
        self.looks = 0

    def _logs(self) -> dict[str, str]:
        assert self.tg.connector
        return {"client": (self.tg.state("client") / "client.log").read_text(), "connector": self.tg.connector.text()}

    def __enter__(self) -> Watched:
        self._before = {name: len(text) for name, text in self._logs().items()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.3):
            self.looks += 1
            status = json.loads(self.tg.client("status", "--json").out)
            self.states.append(f"controller {status['controller']['connected']}, "
                               + ", ".join(f"{t['connector']} {t['state']} {[o['state'] for o in t.get('others', [])]}"
                                           for t in status["tunnels"] if t["network"] == "home"))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.said = {name: text[self._before[name]:].splitlines() for name, text in self._logs().items()}

    def assert_quiet(self) -> None:
        """No tunnel and no control stream was taken for silent or dead."""
        assert len(self.states) == self.looks > 2, "a look failed"
        assert set(self.states) == {"controller True, home-1 up []"}, self.states
        trouble = [line for lines in self.said.values() for line in lines if any(word in line for word in TROUBLE)]
        assert not trouble, "\n".join(trouble)


@contextlib.contextmanager
def line_of(tg: Tg, **options: str) -> Iterator[None]:
    """The laptop's line, and tg working over it by a tunnel that knows no other: for ten seconds BBR would believe in the round
    trip of the wire that was there before, and send next to nothing."""
    with slow_link(tg.lab, tg.lab.laptop, tg.lab.internet, **options) as line:
        tg.client("down").ok()
        tg.client_up().ok()
        tg.wait_works(20, f"the laptop's line is {options}")
        tg.wait_settled()
        yield
    print({name: f"{way.packets} packets, {way.dropped} dropped, {way.lost} lost, {way.overtaken} overtaken"
           for name, way in line.ways.items()})
    assert all(way.lost > 0 for way in line.ways.values()) == ("loss" in options)
    assert all(way.overtaken > 0 for way in line.ways.values()) == ("reorder" in options)


def test_bulk_over_a_long_fat_line_arrives_whole(open_home: Tg, lab: Lab, port: int, file: tuple[str, str, int]) -> None:
    """1 Gbit/s, and 100 ms to and fro."""
    wait_direct(open_home)
    laptop, nas, path = lab.laptop, lab.nas, lab.web_root / "some-random.bin"
    with line_of(open_home, delay="50ms", rate="1gbit"), bare_way(lab, 80, port):
        wait_direct(open_home)
        print(f"down: {down(laptop, NAS, file) / 1e6:.0f} Mbit/s bare, {down(laptop, 'nas.home.int', file) / 1e6:.0f} through tg")
        print(f"up: {up(laptop, nas, NAS, port, path, file) / 1e6:.0f} Mbit/s bare, "
              f"{up(laptop, nas, 'nas.home.int', port, path, file) / 1e6:.0f} through tg")
        assert path_of(open_home) == "direct"
    open_home.wait_works(10, "the line is short again")


def latencies(lab: Lab, host: str, count: int) -> list[float]:
    """Milliseconds of small requests, each with a connection of its own."""
    times = []
    for _ in range(count):
        run = lab.laptop.run(["curl", "-sS", "-m", "30", "-w", "%{stderr}%{time_total}", f"http://{host}/"], 40).ok()
        assert run.out == "Hello from the NAS.\n"
        times.append(float(run.err) * 1000)
    return times


def pour(s: socket.socket) -> None:
    """Sends until nobody takes it any more."""
    with contextlib.suppress(OSError):
        while True:
            s.sendall(bytes(1 << 16))


def test_small_requests_are_answered_beside_a_bulk_flow(tg: Tg, lab: Lab, port: int) -> None:
    """20 Mbit/s and 40 ms to and fro: the bulk flow and the requests have one tunnel, and one queue of 50 ms before the line.
    Beside them what the same is without tg."""
    with line_of(tg, delay="20ms", rate="20mbit", queue="50ms"), bare_way(lab, 80, port), server(lab.nas, port, pour):
        for host in (NAS, "nas.home.int"):
            alone = latencies(lab, host, 5)
            bulk = lab.laptop.start(f"exec nc -d {host} {port} > /dev/null", "bulk")
            time.sleep(2)                  # until it has filled what queues there are
            beside = latencies(lab, host, 5)
            assert bulk.alive(), "the bulk flow is what they were beside"
            bulk.kill()
            for what, times in (("alone", alone), ("beside a bulk flow", beside)):
                print(f"{host}, {what}: {statistics.median(times):.0f} ms in the median, {max(times):.0f} ms at worst")
    tg.wait_works(10, "the line is short again")


@pytest.mark.parametrize("options", [
    {"loss": "1%"},
    {"reorder": "2%", "late": "10ms"},
    {"loss": "1%", "reorder": "1%", "jitter": "5ms"},
], ids=["loss", "reorder", "both and jitter"])
def test_bytes_are_whole_and_flows_live_over_a_line_that_loses_and_reorders(
        tg: Tg, lab: Lab, port: int, file: tuple[str, str, int], options: dict[str, str]) -> None:
    whole = lab.web_root / "some-random.bin"
    said, echoed = bytearray(), bytearray()
    with line_of(tg, delay="5ms", rate="200mbit", **options), flow(tg, port) as (near, far):
        near.settimeout(30)
        far.settimeout(30)
        stop = threading.Event()

        def talk() -> None:
            for number in range(10_000):
                word = f"word {number}; ".encode()
                said.extend(word)
                near.sendall(word)
                got = b""
                while len(got) < len(word):
                    got += far.recv(len(word) - len(got))
                far.sendall(got)
                while len(word) > 0:
                    part = near.recv(len(word))
                    echoed.extend(part)
                    word = word[len(part):]
                if stop.wait(0.01):
                    return

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        print(f"down: {down(lab.laptop, 'nas.home.int', file) / 1e6:.0f} Mbit/s")
        print(f"up: {up(lab.laptop, lab.nas, 'nas.home.int', port + 1000, whole, file) / 1e6:.0f} Mbit/s")
        stop.set()
        talker.join(60)
        assert not talker.is_alive(), "the live flow is stuck\n" + tg.explain()
        assert said == echoed and len(said) > 100
    tg.wait_works(10, "the line is clean again")


@pytest.mark.parametrize("options", [
    {"delay": "20ms", "jitter": "200ms"},
    {"delay": "20ms", "jitter": "20ms", "loss": "3%"},
    {"delay": "300ms"},
    {"delay": "20ms", "rate": "4mbit", "queue": "1s"},
], ids=["jitter", "loss", "a satellite", "a bloated queue"])
def test_no_line_that_still_carries_is_taken_for_silent_or_dead(
        tg: Tg, lab: Lab, port: int, file: tuple[str, str, int], options: dict[str, str]) -> None:
    """Idle first, then with small requests, then beside uploads and downloads that fill the line's queue."""
    over = threading.Event()

    taken, trouble = [0], []

    def take(s: socket.socket) -> None:
        with contextlib.suppress(OSError):      # its sender goes away with a RST
            while data := s.recv(1 << 16):
                taken[0] += len(data)

    def give() -> None:
        try:
            give_until_over()
        except Exception as e:                  # told in the test's own thread
            trouble.append(e)

    def give_until_over() -> None:
        with tg.connect("nas.home.int", port + 1000, 60) as s, contextlib.suppress(TimeoutError):
            s.settimeout(1)
            while not over.is_set():
                s.send(bytes(1 << 16))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(lab.nas, port + 1000, take), line_of(tg, **options), flow(tg, port) as (near, far), Watched(tg) as watched:
        threading.Event().wait(2)
        times = latencies(lab, "nas.home.int", 2)
        fetched = lab.root / "bulk-down"
        fetch = lab.laptop.start(["curl", "-sS", "-o", fetched, f"http://nas.home.int/{file[0]}"], "bulk-down")
        giver = threading.Thread(target=give, daemon=True)
        giver.start()
        threading.Event().wait(3)
        times += latencies(lab, "nas.home.int", 2)
        over.set()
        giver.join(70)
        assert not giver.is_alive() and not trouble, trouble
        assert taken[0] > 0, "nothing was sent up meanwhile"
        assert fetched.stat().st_size > 0, "nothing came down meanwhile"
        fetch.kill()
        near.settimeout(30)
        far.settimeout(30)
        near.sendall(b"still there?")
        assert far.recv(100) == b"still there?"
    print(", ".join(f"{t:.0f}" for t in times), "ms a request")
    print("\n".join(f"{name}: {line}" for name, lines in watched.said.items() for line in lines))
    watched.assert_quiet()
    tg.wait_works(10, "the line is clean again")
