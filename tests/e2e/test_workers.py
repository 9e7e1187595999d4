"""Threads that carry traffic: a connector and a relay have as many as they are told, tunnels are shared out among them, and
what keeps the thread of the process from its work does not keep traffic."""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
from typing import Iterator

import pytest
from support.dnswire import ask
from support.lab import CONNECTOR, NAS
from support.netns import Host, Process, freeze, numbered, wait_for
from support.tg import PEOPLE, STUB, Tg, resource

POLICY = PEOPLE + resource("NAS", "nas.home.int")
OTHERS = {"second": "198.18.0.11", "third": "198.18.0.13"}
SOON, DIRECT = 10.0, 8445


def workers(process: Process | None) -> int:
    """How many threads of a process carry traffic."""
    assert process
    return list(numbered(f"/proc/{process.pid}/task", "comm")).count("tg-worker\n")


def connect(host: Host, port: int = 80) -> socket.socket:
    s = host.socket(timeout=SOON)
    s.connect((ask(host, STUB, "nas.home.int", timeout=SOON).answer[0].text, port))
    return s


def reaches(host: Host) -> bool:
    """A new flow works from there."""
    with connect(host) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return s.recv(64).startswith(b"HTTP/1.1 200")


def tunnels(tg: Tg) -> dict[str, int]:
    told = json.loads(tg.run(tg.lab.connector, "connector status", "--json", state="connector").ok().out)
    return {name: told[name] for name in ("tunnels", "threads", "flows")}


@contextlib.contextmanager
def started(tg: Tg, threads: int, *more: str) -> Iterator[list[Host]]:
    """Everything with so many threads, and three clients, one after the other: (first, the laptop)."""
    tg.stop()
    tg.controller_arguments = ["--threads", str(threads)]
    tg.connector_arguments = ["--threads", str(threads), *more]
    hosts = [tg.lab.laptop]
    try:
        tg.start(POLICY)
        tg.wait_works(SOON, "everything was started")
        yield hosts
    finally:
        for host in hosts[1:]:
            tg.run(host, "client down", state=host.name)
        tg.stop()
        tg.controller_arguments, tg.connector_arguments, tg.policy = [], [], ""


def come(tg: Tg, hosts: list[Host], name: str) -> None:
    """One more client, by whose tunnel a flow works."""
    host = tg.lab.internet_host(name, OTHERS[name])
    tg.run(host, "client up", "--token", tg.token("device", "alice@example.com"), state=name, timeout=30).ok()
    hosts.append(host)
    assert reaches(host)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_start_with_tunnels_and_share_them(cold_tg: Tg, threads: int) -> None:
    tg = cold_tg
    with started(tg, threads) as hosts:
        assert workers(tg.connector) == workers(tg.controller) == 1
        assert (tunnels(tg)["tunnels"], tunnels(tg)["threads"]) == (1, 1)
        for name in OTHERS:
            come(tg, hosts, name)
            assert workers(tg.connector) == workers(tg.controller) == threads
        assert tunnels(tg)["tunnels"] == 3 and tunnels(tg)["threads"] == threads
        tg.run(hosts.pop(), "client down", state="third").ok()
        wait_for("its tunnel is forgotten", lambda: tunnels(tg)["tunnels"] == 2, SOON, explain=tg.explain)
        assert all(map(reaches, hosts))


def test_a_change_is_heard_by_all_threads(cold_tg: Tg) -> None:
    tg = cold_tg
    with started(tg, 2) as hosts, contextlib.ExitStack() as flows:
        for name in OTHERS:
            come(tg, hosts, name)
        listener = flows.enter_context(tg.lab.nas.listen(NAS, 7400))
        live = []
        for host in hosts:
            near = flows.enter_context(connect(host, 7400))
            far = flows.enter_context(listener.accept()[0])
            far.settimeout(SOON)
            near.sendall(b"alive")
            assert far.recv(100) == b"alive"
            live.append((near, far))
        assert tunnels(tg)["flows"] >= 3
        clients = [pid for host in hosts for pid in host.pids(tg.binary)]
        assert len(clients) == 3
        for pid in clients:
            freeze(pid)                     # they cannot end flows themselves
        try:
            tg.apply(PEOPLE, "--prune").ok()                 # nobody reaches anything any more
            for _, far in live:
                with pytest.raises(ConnectionResetError):
                    far.recv(100)
        finally:
            for pid in clients:
                os.kill(pid, signal.SIGCONT)
        for near, _ in live:
            with pytest.raises(ConnectionResetError):
                near.recv(100)
        wait_for("no flow is left", lambda: tunnels(tg)["flows"] == 0, SOON, explain=tg.explain)


def test_traffic_goes_on_while_the_thread_of_the_process_is_kept(cold_tg: Tg) -> None:
    """By strace, which holds its epoll_wait; in life by a disk that does not answer, or by very many rules. What was there before
    is used, and what begins meanwhile: a name is resolved, a flow is dialled."""
    tg = cold_tg
    with started(tg, 2) as hosts:
        come(tg, hosts, "second")
        for host, process in ((tg.lab.connector, tg.connector), (tg.lab.internet, tg.controller)):
            assert process
            held = host.start(["strace", "-p", process.pid, "-e", "trace=epoll_wait,epoll_pwait", "-e", "signal=none",
                               "-e", "inject=epoll_wait,epoll_pwait:delay_exit=3600000000"], "strace", ready="attached")
            try:
                def kept() -> bool:
                    role = "connector" if process is tg.connector else "controller"
                    return tg.run(host, f"{role} status", "--timeout", "1", state=role).code != 0
                wait_for("its status is not answered", kept, SOON, explain=tg.explain)
                for _ in range(20):
                    assert all(map(reaches, hosts))
                assert kept(), "it was kept all the while"
            finally:
                held.may_be_killed()
                held.kill()
        tg.wait_works(SOON, "nothing is held any more")


# Row 16 of the threats, at a connector.
def test_who_only_connects_takes_few_of_a_connectors_descriptors(cold_tg: Tg) -> None:
    """By --listen: 3,000 connections from one machine, as fast as it can, which say nothing. Of one source 256 are kept; and whoever
    has something to say is served."""
    tg = cold_tg
    with started(tg, 2, "--listen", f"{CONNECTOR}:{DIRECT}") as hosts:
        assert tg.connector
        folder = pathlib.Path(f"/proc/{tg.connector.pid}/fd")
        before = len(list(folder.iterdir()))
        most = 0
        with contextlib.ExitStack() as idle:
            for _ in range(3000):
                s = idle.enter_context(tg.lab.nas.socket(timeout=SOON))
                s.connect((CONNECTOR, DIRECT))
                most = max(most, len(list(folder.iterdir())))
            wait_for("those above 256 are ended", lambda: len(list(folder.iterdir())) <= before + 256 + 8, SOON, explain=tg.explain)
            come(tg, hosts, "second")
            assert all(map(reaches, hosts))
        assert most <= before + 2 * 256 + 64, most


@pytest.mark.parametrize("role", ["connector", "controller", "relay"])
@pytest.mark.parametrize("threads", ["0", "257", "many", "-1"])
def test_a_number_of_threads_that_is_none(tg: Tg, role: str, threads: str) -> None:
    command = "serve" if role == "controller" else "run"
    result = tg.run(tg.lab.connector, f"{role} {command}", "--threads", threads, state="none-such")
    assert result.code == 2 and "--threads" in result.err and len(result.err.splitlines()) == 1, result
