"""The ways from the laptop to the NAS that are measured beside one another: tg's, and those of others with the same hops.

    bare path          laptop ────────────────────────────────────── NAS       192.168.1.50
    HAProxy TLS pair   laptop, HAProxy ═══════ HAProxy, connector ── NAS       127.0.0.1, ports + 10000
    wireguard-go       laptop, wg0 ════════════════ wg0, connector ── NAS      10.99.1.1
    nebula             laptop, neb0 ══════════════ neb0, connector ── NAS      10.99.2.1
    sshuttle           another laptop, ssh ═══════ sshd, connector ── NAS      10.99.3.1
    tg                 laptop, client ═══════ connector, connector ── NAS      nas.home.int
    tg, relayed        another laptop, client ══ relay ══ connector ── NAS     nas.home.int

All run with the settings that they come with, and those that are needed to get there (peers.py). wireguard-go and nebula are
routed and not masqueraded, which is what they do best; sshuttle makes a NAT, and so the kernel track connections: it has a laptop
of its own.
"""
from __future__ import annotations

import os
from dataclasses import dataclass

from support.lab import CONNECTOR, NAS, Lab
from support.netns import Host, wait_for
from support.tg import PEOPLE, Tg, resource

IPERF, WEB, DIRECT = 5201, 8080, 8445
WIREGUARD_NAS, NEBULA_NAS, SSHUTTLE_NAS = "10.99.1.1", "10.99.2.1", "10.99.3.1"
UDP_SERVERS = {WIREGUARD_NAS: 5202, NEBULA_NAS: 5203}
NAMES = {"bare": "bare path", "haproxy": "HAProxy TLS pair", "wireguard": "wireguard-go", "nebula": "nebula",
         "sshuttle": "sshuttle", "tg": "tg", "relayed": "tg, relayed"}
POLICY = PEOPLE + resource("NAS", "nas.home.int")
Parts = dict[str, list[int]]         # the processes that carry a way's bytes, by what they are called in the table


@dataclass
class Way:
    """Where the NAS's servers are found by it, and from which laptop."""
    name: str
    laptop: Host
    address: str
    parts: Parts
    offset: int = 0                  # of its ports
    datagrams: int | None = IPERF    # the port of the iperf3 server for them; None: it carries none

    @property
    def iperf(self) -> int:
        return IPERF + self.offset

    @property
    def url(self) -> str:
        return f"http://{self.address}:{WEB + self.offset}/"

    def wait_answers(self) -> None:
        def answers() -> bool:
            return self.laptop.run(["curl", "-sSf", "-m", "2", "-o", "/dev/null", self.url]).code == 0
        wait_for(f"{self.name} is ready", answers, 15, 0.1, lambda: self.laptop.space.log_tails(8, self.name.split()[0]))


# -- the lab ------------------------------------------------------------------------------------------------------------------
def prepare(lab: Lab) -> None:
    """No firewall, no NAT, no connection tracking: everybody can reach everybody, so that all ways have the same hops."""
    lab.router.nft("delete table inet home")
    lab.internet.ip("route add 192.168.1.0/24 via 192.0.2.7")
    lab.nas.ip(*(f"addr add {address}/32 dev lo" for address in (WIREGUARD_NAS, NEBULA_NAS, SSHUTTLE_NAS)))
    lab.connector.ip(f"route add 10.99.0.0/16 via {NAS}")
    lab.connector.sysctl("net.ipv4.ip_forward", 1)
    for host in (lab.laptop, lab.connector, lab.nas):
        allow_many_connections(host)
    servers(lab)


def allow_many_connections(host: Host) -> None:
    host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
    host.sysctl("net.ipv4.tcp_tw_reuse", 1)
    host.sysctl("net.core.somaxconn", 16384)


def another_laptop(lab: Lab, name: str, address: str) -> Host:
    host = lab.internet_host(name, address)
    allow_many_connections(host)
    return host


def servers(lab: Lab) -> None:
    iperf = ["iperf3", "-s", "--forceflush"]
    lab.nas.start([*iperf, "-p", IPERF], "iperf3", ready="listening")
    for address, port in UDP_SERVERS.items():      # it answers from the address that it is bound to, or from any
        lab.nas.start([*iperf, "-p", port, "-B", address], f"iperf3-{port}", ready="listening")
    root = lab.root / "bench-nginx"
    root.mkdir()
    (root / "index.html").write_text("x" * 100)
    (root / "nginx.conf").write_text(f"""
        daemon off; user root; worker_processes {4 * (os.cpu_count() or 1)}; pid {root}/pid; error_log stderr notice;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000;
          client_body_temp_path {root}/1; proxy_temp_path {root}/2; fastcgi_temp_path {root}/3; uwsgi_temp_path {root}/4;
          scgi_temp_path {root}/5;
          server {{ listen {WEB} backlog=16384 reuseport; root {root}; }} }}""")
    lab.nas.start(["nginx", "-p", root, "-e", "stderr", "-c", root / "nginx.conf"], "bench-nginx", ready="start worker processes")


# -- tg -----------------------------------------------------------------------------------------------------------------------
class Client:
    """Another tg client, on a laptop of its own."""

    def __init__(self, tg: Tg, host: Host, user: str) -> None:
        self.tg, self.host = tg, host
        self.state = f"client-{host.name}"
        tg.run(host, "client up", "--token", tg.token("device", user), state=self.state, timeout=30).ok()
        (self.pid,) = host.pids(tg.binary)

    def status(self) -> str:
        return self.tg.run(self.host, "client status", state=self.state).out

    def wait(self, path: str) -> None:
        """Until its tunnel is by that path."""
        wait_for(f"{self.host.name}'s tunnel is {path}", lambda: path in self.status(), 20, 0.1, self.status)

    def stop(self) -> None:
        self.tg.run(self.host, "client down", state=self.state)


def tg_starts(lab: Lab) -> Tg:
    """With a connector that can be reached directly, and a controller that takes many devices."""
    tg = Tg(lab)
    tg.connector_arguments = ["--listen", f"{CONNECTOR}:{DIRECT}"]
    tg.controller_arguments = ["--max-devices", "100"]
    tg.start(POLICY)
    return tg


def tg_direct(tg: Tg) -> Way:
    assert tg.connector
    wait_for("tg takes the direct path", lambda: "direct" in tg.client("status").out, 20, 0.1, tg.explain)
    return Way("tg", tg.lab.laptop, "nas.home.int", {"client": tg.client_pids(), "connector": [tg.connector.pid]})


def tg_relayed(tg: Tg) -> tuple[Way, Client]:
    """By the controller's relay: this laptop cannot reach the connector, for which it takes no packet filter."""
    assert tg.connector and tg.controller
    laptop = another_laptop(tg.lab, "laptop-far", "198.18.2.1")
    laptop.ip(f"route add unreachable {CONNECTOR}/32")
    client = Client(tg, laptop, "alice@example.com")
    client.wait("relayed by")
    parts = {"client": [client.pid], "controller with relay": [tg.controller.pid], "connector": [tg.connector.pid]}
    return Way("tg, relayed", laptop, "nas.home.int", parts), client
