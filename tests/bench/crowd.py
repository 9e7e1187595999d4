"""Several clients at once, and a connector with one thread or with two: how many datagrams of 64 bytes a second it passes on to
the private network. The clients are simulated (tunnels.cpp), since with real ones on the same machine these would be the
limit: theirs takes a small part of what the connector does, and is told beside it."""
from __future__ import annotations

import pathlib
import socket
from dataclasses import dataclass

from processes import cpu
from simulated import Simulated
from support.lab import NAS, Lab
from support.tg import Tg
from ways import another_laptop

CLIENTS, PORT = 4, 9300
THREADS = (1, 2)
PATIENCE = 40.0


@dataclass
class Passed:
    rate: float                 # datagrams a second that reached the NAS
    connector: float            # cores that it took
    clients: float              # and all clients together


def arrived(lab: Lab) -> int:
    """Datagrams that the NAS's kernel was sent for a socket, whether that had room or not."""
    heads, values = (line.split()[1:] for line in lab.nas.run("grep ^Udp: /proc/net/snmp").ok().out.splitlines())
    told = dict(zip(heads, map(int, values)))
    return told["InDatagrams"] + told["InErrors"]


def sink(lab: Lab) -> socket.socket:
    """Takes nothing: what comes is dropped when it is full, which costs the NAS least."""
    s = lab.nas.socket(kind=socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    s.bind((NAS, PORT))
    return s


class Crowd:
    def __init__(self, tg: Tg, program: pathlib.Path) -> None:
        self.tg, self.program = tg, program.resolve()
        self.host = another_laptop(tg.lab, "laptop-crowd", "198.18.4.1")
        self.tokens = [tg.token("device", "alice@example.com") for _ in range(CLIENTS)]
        self.state = tg.lab.root / "crowd"
        self.arguments = list(tg.connector_arguments)

    def measure(self, threads: int, seconds: int) -> Passed:
        """With a connector that was started for it."""
        tg, lab = self.tg, self.tg.lab
        assert tg.connector
        tg.connector.stop()
        tg.connector_arguments = [*self.arguments, "--threads", str(threads)]
        connector = tg.start_connector()
        with sink(lab):
            clients = Simulated(self.host, f"crowd-{threads}", self.program, self.state, "nas.home.int", PORT, *self.tokens)
            try:
                clients.hear("ready", PATIENCE)
                before = arrived(lab), cpu(connector.pid), cpu(clients.popen.pid)
                took = clients.ask(f"send {seconds}", "sent", seconds + PATIENCE)["seconds"]
                after = arrived(lab), cpu(connector.pid), cpu(clients.popen.pid)
            finally:
                clients.end()
        rate, served, asked = ((b - a) / took for a, b in zip(before, after))
        return Passed(rate, served, asked)

    def end(self) -> None:
        assert self.tg.connector
        self.tg.connector.stop()
        self.tg.connector_arguments = self.arguments
        self.tg.start_connector()
