"""Agents in the foreground: a terminal that is closed ends them as Ctrl-C does, and a port that is taken is told."""
from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
from typing import Iterator

import pytest
from support.lab import PUBLIC_WEB, Lab
from support.netns import Host, wait_for
from support.tg import PEOPLE, RESOURCES, STUB, Tg


def system(host: Host) -> dict[str, str]:
    shown = {c: host.run(c).out for c in ("ip -br addr", "ip rule", "ip route show table all")}
    return {**shown, "resolv.conf": host.resolv_conf.read_text()}


@pytest.fixture
def without_client(tg: Tg, laptop: Host) -> Iterator[dict[str, str]]:
    """How the laptop is without a client; afterwards the client is up again."""
    tg.client("down").ok()
    yield system(laptop)
    tg.client("down")
    tg.client_up().ok()


class Terminal:
    """A terminal window with one command in it."""

    def __init__(self, tg: Tg, host: Host, words: list[str]) -> None:
        self._master, slave = os.openpty()
        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(host.argv(words), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=own_terminal, env={**os.environ, **tg.env()})
        os.close(slave)

    def close(self) -> None:
        """The kernel tells the process so with SIGHUP, and what it prints from then on is lost."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


def test_a_closed_terminal_takes_the_client_out_of_the_system(tg: Tg, laptop: Host, without_client: dict[str, str]) -> None:
    terminal = Terminal(tg, laptop, [*tg.words("client up"), "--foreground"])
    try:
        wait_for("the client in the terminal works", tg.works, 10)
        assert STUB in laptop.resolv_conf.read_text() and "7263" in laptop.run("ip rule").out
        terminal.close()
        assert terminal.process.wait(5) == 0
        assert system(laptop) == without_client
    finally:
        terminal.close()
        terminal.process.kill()
        terminal.process.wait()


def test_two_hangups_are_one(tg: Tg, laptop: Host, without_client: dict[str, str]) -> None:
    """A shell sends one and the kernel another: goodbye is said all the same."""
    process = laptop.start([*tg.words("client up"), "--foreground"], "tg-client-hangup", env=tg.env())
    wait_for("the client works", tg.works, 10, explain=process.text)
    assert tg.connector
    before = len(tg.connector.text())
    process.signal(signal.SIGHUP)
    process.signal(signal.SIGHUP)
    assert process.wait(5) == 0
    assert system(laptop) == without_client
    assert "error" not in tg.connector.text()[before:]


def test_in_the_background_it_ends_likewise(tg: Tg, laptop: Host, without_client: dict[str, str]) -> None:
    tg.client_up().ok()
    for pid in tg.client_pids():
        os.kill(pid, signal.SIGHUP)
    wait_for("the client has ended", lambda: not tg.client_pids(), 5)
    assert system(laptop) == without_client


def test_with_nohup_it_stays(tg: Tg, laptop: Host, without_client: dict[str, str]) -> None:
    process = laptop.start(["nohup", *tg.words("client up"), "--foreground"], "tg-client-nohup", env=tg.env())
    wait_for("the client works", tg.works, 10, explain=process.text)
    for _ in range(3):
        process.signal(signal.SIGHUP)
    assert tg.works() and process.alive()
    assert process.stop(5) == 0
    assert system(laptop) == without_client


def test_connector_and_relay_say_goodbye(cold_tg: Tg) -> None:
    tg = cold_tg
    tg.stop()
    try:
        tg.start_controller()
        tg.apply(PEOPLE + RESOURCES + f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n').ok()
        tg.start_relay(tg.token("relay", "relay-1"))
        tg.start_connector(tg.token("connector", "home-1"))
        assert tg.connector and tg.relay
        wait_for("the connector is at the relay", lambda: f"relay {PUBLIC_WEB}:8444: connected" in tg.connector.text(), 5)
        tg.relay.signal(signal.SIGHUP)
        assert tg.relay.wait(5) == 0 and "stopping" in tg.relay.text()
        tg.connector.wait_text(f"relay {PUBLIC_WEB}:8444: it says goodbye", 2)
        tg.connector.signal(signal.SIGHUP)
        assert tg.connector.wait(5) == 0 and "stopping" in tg.connector.text()
    finally:
        tg.stop()
        tg.policy = ""


@pytest.mark.parametrize("role", ["connector", "relay"])
def test_a_port_that_is_taken_is_told_with_the_option(tg: Tg, lab: Lab, port: int, role: str) -> None:
    host = {"connector": lab.connector, "relay": lab.internet}[role]
    policy = PEOPLE + RESOURCES + f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n'
    tg.apply(policy).ok()
    token = tg.token(role, {"connector": "spare", "relay": "relay-1"}[role])
    with host.listen("0.0.0.0", port):
        taken = tg.run(host, f"{role} run", "--token", token, "--listen", f"0.0.0.0:{port}", state=f"taken-{role}")
    assert taken.code == 6, taken
    assert taken.err.splitlines()[-1] == \
        f"tg: could not listen on 0.0.0.0:{port}: another program uses this port; see --listen", taken
    tg.apply(PEOPLE + RESOURCES, "--prune").ok()
    tg.policy = PEOPLE + RESOURCES
