"""Much data and many flows, unchanged; and nothing of it in clear on the uplink."""
from __future__ import annotations

import hashlib
import json
import os
import pathlib
import selectors
import signal
import socket
import threading

import pytest
from support.flows import hash_to_end, server
from support.lab import CONNECTOR, HOME_DNS, ISP_DNS, LAPTOP, NAS, UDP_ECHO_PORT, Lab
from support.netns import Host, wait_for
from support.pcap import Capture
from support.tg import Tg

VOLUME = int(os.environ.get("TG_VOLUME_MIB", "1024")) << 20
CANARY = b"tg-canary-3b1f7c52e9"


@pytest.fixture(scope="module")
def big_file(lab: Lab) -> tuple[pathlib.Path, str]:
    """Random bytes, where nginx serves them at /files/big.bin, and their SHA-256."""
    path = lab.web_root / "big.bin"
    key = os.urandom(16).hex()          # AES in counter mode is quicker than /dev/urandom
    lab.nas.run(f"head -c {VOLUME} /dev/zero | openssl enc -aes-128-ctr -K {key} -iv {key} -out {path}", timeout=240).ok()
    assert path.stat().st_size == VOLUME
    return path, lab.nas.run(["sha256sum", path], timeout=120).ok().out.split()[0]


def test_a_gibibyte_down(tg: Tg, laptop: Host, big_file: tuple[pathlib.Path, str]) -> None:
    result = laptop.run("curl -sS http://nas.home.int/files/big.bin | sha256sum", timeout=180).ok()
    assert result.out.split()[0] == big_file[1], result.err
    print(f"{VOLUME * 8 / result.seconds / 1e9:.2f} Gbit/s down, with hashing")


def test_a_gibibyte_up(tg: Tg, laptop: Host, nas: Host, port: int, big_file: tuple[pathlib.Path, str]) -> None:
    got: list[tuple[str, int]] = []
    with server(nas, port, lambda s: got.append(hash_to_end(s))):
        result = laptop.run(f"nc -N nas.home.int {port} < {big_file[0]}", timeout=180).ok()
    assert got == [(big_file[1], VOLUME)]
    print(f"{VOLUME * 8 / result.seconds / 1e9:.2f} Gbit/s up, with hashing")


def test_both_ways_at_once(tg: Tg, laptop: Host, nas: Host, port: int) -> None:
    size = VOLUME // 8
    down, up = os.urandom(1 << 20) * (size >> 20), os.urandom(1 << 20) * (size >> 20)
    received: list[bytes] = []

    def both(s: socket.socket, out: bytes) -> None:
        def send() -> None:
            s.sendall(out)
            s.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        parts = []
        while part := s.recv(1 << 20):
            parts.append(part)
        sender.join()
        received.append(b"".join(parts))

    with server(nas, port, lambda s: both(s, down)):
        with tg.connect("nas.home.int", port, 60) as near:
            both(near, up)
    assert sorted(map(hash, received)) == sorted([hash(down), hash(up)])


def test_slow_readers_hold_up_nobody_and_lose_nothing(tg: Tg, nas: Host, port: int) -> None:
    """A flow whose reader sleeps is stopped by credit; another goes on; then the sleeper gets every byte."""
    data = os.urandom(1 << 20) * 32
    with server(nas, port, lambda s: s.sendall(data)):
        with tg.connect("nas.home.int", port, 60) as sleeper:
            for _ in range(3):
                with tg.connect("nas.home.int", port, 60) as awake:
                    assert hash_to_end(awake)[1] == len(data)
            parts = []
            while part := sleeper.recv(1 << 20):
                parts.append(part)
    assert b"".join(parts) == data


def test_a_thousand_flows_at_once(tg: Tg, laptop: Host, nas: Host, port: int) -> None:
    count, address = 1000, tg.lookup("nas.home.int")
    barrier = threading.Event()

    def far() -> None:
        """Accepts all, answers nobody before all are there, then sends each byte back."""
        listener.settimeout(60)
        connections = [listener.accept()[0] for _ in range(count)]
        barrier.set()
        with selectors.DefaultSelector() as selector:
            for c in connections:
                c.settimeout(10)
                selector.register(c, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(60):
                    c = key.fileobj
                    assert isinstance(c, socket.socket)
                    if data := c.recv(65536):
                        c.sendall(data)
                    else:
                        selector.unregister(c)
                        c.close()

    with nas.listen(NAS, port, 4096) as listener:
        thread = threading.Thread(target=far, daemon=True)
        thread.start()
        near = [laptop.socket(timeout=0) for _ in range(count)]
        try:
            for s in near:
                s.connect_ex((address, port))
            assert barrier.wait(60), f"not all of {count} flows came up within 60 s\n{tg.explain()}"
            messages = [b"%06d" % i * 300 for i in range(count)]
            for s, m in zip(near, messages):
                s.settimeout(30)
                s.sendall(m)
                s.shutdown(socket.SHUT_WR)
            for s, m in zip(near, messages):
                got = b""
                while part := s.recv(65536):
                    got += part
                assert got == m
        finally:
            for s in near:
                s.close()
        thread.join(30)
        assert not thread.is_alive()
    assert tg.works()


def test_flows_opened_and_closed_quickly_leave_nothing(tg: Tg, laptop: Host) -> None:
    address = tg.lookup("nas.home.int")
    before = open_files(tg)
    for _ in range(500):
        with laptop.socket() as s:
            s.connect((address, 80))
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert s.recv(15) == b"HTTP/1.1 200 OK"
    after = open_files(tg)
    assert after < before + 100, f"{before} descriptors before, {after} after"


@pytest.mark.parametrize("more", [[], ["-R"], ["-P", "4"], ["-u", "-b", "20M"]], ids=["up", "down", "four flows", "UDP"])
def test_iperf3_by_name(tg: Tg, laptop: Host, nas: Host, port: int, more: list[str]) -> None:
    """One connection for control and others for data. How fast it is, the bench measures."""
    far = nas.start(["iperf3", "-s", "-1", "-p", port, "--forceflush"], "iperf3", ready="listening")
    try:
        run = laptop.run(["iperf3", "-c", "nas.home.int", "-p", port, "-t", "1", "-J", *more], 30).ok()
        assert far.wait(10) == 0
    finally:
        far.signal(signal.SIGKILL)
    end = json.loads(run.out)["end"]
    sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
    assert 0 < received <= sent, end                       # the rest was on its way when the second was over
    ends = [s["udp"] if "-u" in more else s["receiver"] for s in end["streams"]]
    assert len(ends) == (4 if "-P" in more else 1) and all(s["bytes"] for s in ends)
    assert "-u" in more or sum(s["bytes"] for s in ends) == received


def open_files(tg: Tg) -> int:
    assert tg.connector
    pids = [*tg.client_pids(), tg.connector.pid]
    return sum(len(list(pathlib.Path(f"/proc/{p}/fd").iterdir())) for p in pids)


def clear_text_at(host: Host, server: str, mark: bytes, capture: Capture) -> None:
    """Puts `mark` on the captured wire in clear, and waits until it is captured: then so is all that came before it."""
    with host.socket(kind=socket.SOCK_DGRAM) as s:
        s.sendto(mark, (server, 9))
    wait_for("the capture sees clear text", lambda: mark in capture.bytes, 10, 0.1)


def test_the_uplink_never_shows_anything_in_clear(tg: Tg, lab: Lab, laptop: Host, nas: Host, port: int) -> None:
    text = CANARY + b" is what must never be seen in clear on the way.\n"
    whole = text * 40000
    (lab.web_root / "canary.txt").write_bytes(whole)
    got: list[tuple[str, int]] = []
    with Capture(laptop, "eth0") as uplink, Capture(lab.connector, "lan0") as lan:
        assert laptop.run("curl -sS http://nas.home.int/files/canary.txt | grep -c canary").ok().out == "40000\n"
        with server(nas, port, lambda s: got.append(hash_to_end(s))):
            laptop.run(f"nc -N nas.home.int {port} < {lab.web_root}/canary.txt").ok()
        assert got == [(hashlib.sha256(whole).hexdigest(), len(whole))], "the upload arrives whole"
        laptop.run(["ping", "-c", "1", "-p", CANARY.hex()[:32], "nas.home.int"]).ok()
        with laptop.socket(kind=socket.SOCK_DGRAM) as s:
            s.connect((tg.lookup("nas.home.int"), UDP_ECHO_PORT))
            s.send(CANARY * 10)
            assert s.recv(1000) == CANARY * 10
        laptop.run(f"dig {CANARY.decode()}.lab.home.int TXT").ok()
        clear_text_at(laptop, ISP_DNS, b"the last word on the uplink", uplink)
        clear_text_at(lab.connector, HOME_DNS, b"the last word at home", lan)
    assert (uplink.dropped, lan.dropped) == (0, 0)

    def carried(capture: Capture, **ends: str) -> bytes:
        return b"".join(p.payload for p in capture.packets() if all(getattr(p, end) == at for end, at in ends.items()))
    for way in ({"source": CONNECTOR, "target": NAS}, {"source": NAS, "target": CONNECTOR}):
        seen = carried(lan, **way).count(CANARY)       # but for those that two packets share
        assert seen > 38000, f"at home all is in clear, or this test sees nothing: {way}: {seen}"
    for way in ({"source": LAPTOP}, {"target": LAPTOP}):
        size = len(carried(uplink, **way))
        assert size > len(whole), f"the capture on the uplink is too small to be true: {way}: {size}"
    clear = uplink.bytes
    assert CANARY not in clear and CANARY.hex()[:32].encode() not in clear
    assert CANARY[:16] not in clear
    for name in (b"nas.home.int", b"\x03nas\x04home\x03int", b"\x03lab\x04home\x03int", b"192.168.1.50"):
        assert name not in clear, name
