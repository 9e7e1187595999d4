"""The others that take the same way as tg: each started on the laptop and on the connector, and ready for its first byte."""
from __future__ import annotations

import pathlib
import subprocess
from typing import Callable

from processes import name
from support.lab import CONNECTOR, LAPTOP, NAS, Lab
from support.netns import Failed, Host, stops, wait_for
from ways import IPERF, NEBULA_NAS, SSHUTTLE_NAS, UDP_SERVERS, WEB, WIREGUARD_NAS, Way, another_laptop

TLS_OFFSET, NEBULA, WIREGUARD = 10000, 4242, 51820


def made(*command: object, input: str | None = None) -> str:
    """The output of a command that makes keys."""
    with stops.held():
        done = subprocess.run([str(word) for word in command], input=input, text=True, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {done.stderr}")
    return done.stdout.strip()


def folder(lab: Lab, name: str) -> pathlib.Path:
    root = lab.root / f"bench-{name}"
    root.mkdir()
    return root


def bare_path(lab: Lab) -> Way:
    return Way("bare path", lab.laptop, NAS, {})


# -- HAProxy ------------------------------------------------------------------------------------------------------------------
def haproxy(lab: Lab) -> Way:
    """TLS 1.3 and AES-128-GCM, one on each side: the fastest thing that does only the encryption."""
    root = folder(lab, "haproxy")
    made("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-keyout", root / "key.pem", "-out", root / "cert.pem")
    (root / "both.pem").write_text((root / "cert.pem").read_text() + (root / "key.pem").read_text())
    head = "global\n maxconn 4000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n"
    suites = "ciphersuites TLS_AES_128_GCM_SHA256"
    near, far = head, head
    for port in (IPERF, WEB):
        tls = port + TLS_OFFSET
        near += (f"listen l{port}\n bind 127.0.0.1:{tls}\n server s {CONNECTOR}:{tls} ssl verify required "
                 f"ca-file {root}/cert.pem ssl-min-ver TLSv1.3 {suites}\n")
        far += (f"listen l{port}\n bind {CONNECTOR}:{tls} ssl crt {root}/both.pem ssl-min-ver TLSv1.3 {suites}\n"
                f" server s {NAS}:{port}\n")
    def start(host: Host, text: str) -> int:
        conf = root / f"{host.name}.cfg"
        conf.write_text(text)
        return host.start(["haproxy", "-db", "-f", conf], "haproxy").pid
    parts = {"laptop's": [start(lab.laptop, near)], "connector's": [start(lab.connector, far)]}
    return Way("HAProxy TLS pair", lab.laptop, "127.0.0.1", parts, TLS_OFFSET, datagrams=None)


# -- wireguard-go -------------------------------------------------------------------------------------------------------------
def wireguard(lab: Lab) -> Way:
    root = folder(lab, "wireguard")
    near, far = made("wg", "genkey"), made("wg", "genkey")
    def start(host: Host, address: str, key: str, peer: str, more: str) -> int:
        conf = root / f"{host.name}.conf"
        conf.write_text(f"[Interface]\nPrivateKey = {key}\nListenPort = {WIREGUARD}\n"
                        f"[Peer]\nPublicKey = {made('wg', 'pubkey', input=peer)}\n{more}\n")
        # Its socket is /run/wireguard/wg0.sock: each has a /run of its own.
        process = host.start("mount -t tmpfs tmpfs /run && exec wireguard-go -f wg0", "wireguard-go", env={"LOG_LEVEL": "error"})
        def configured() -> bool:
            return host.run(["nsenter", "-t", process.pid, "-m", "wg", "setconf", "wg0", conf]).code == 0
        wait_for("wireguard-go takes its configuration", configured, 5, explain=process.text)
        host.ip(f"addr add {address}/24 dev wg0", "link set wg0 mtu 1420 up")      # as wg-quick would
        return process.pid
    parts = {
        "laptop's": [start(lab.laptop, "10.77.0.1", near, far,
                           f"AllowedIPs = 10.77.0.2/32, {WIREGUARD_NAS}/32\nEndpoint = {CONNECTOR}:{WIREGUARD}")],
        "connector's": [start(lab.connector, "10.77.0.2", far, near, "AllowedIPs = 10.77.0.1/32")]}
    lab.laptop.ip(f"route add {WIREGUARD_NAS}/32 dev wg0")
    lab.nas.ip(f"route add 10.77.0.0/24 via {CONNECTOR}")
    return Way("wireguard-go", lab.laptop, WIREGUARD_NAS, parts, datagrams=UDP_SERVERS[WIREGUARD_NAS])


# -- nebula -------------------------------------------------------------------------------------------------------------------
def nebula(lab: Lab) -> Way:
    root = folder(lab, "nebula")
    made("nebula-cert", "ca", "-name", "bench", "-out-crt", root / "ca.crt", "-out-key", root / "ca.key")
    def start(host: Host, address: str, routed: list[str], more: str) -> int:
        cert, key, conf = (root / f"{host.name}.{kind}" for kind in ("crt", "key", "yml"))
        made("nebula-cert", "sign", "-ca-crt", root / "ca.crt", "-ca-key", root / "ca.key", "-name", host.name,
             "-ip", f"{address}/24", *routed, "-out-crt", cert, "-out-key", key)
        anybody = "[{port: any, proto: any, host: any}]"
        conf.write_text(f"pki: {{ca: {root}/ca.crt, cert: {cert}, key: {key}}}\nlighthouse: {{am_lighthouse: false}}\n"
                        f"firewall: {{outbound: {anybody}, inbound: {anybody}}}\n{more}")
        return host.start(["nebula", "-config", conf], "nebula", ready="interface is active").pid
    parts = {
        "laptop's": [start(lab.laptop, "10.78.0.1", [],
                           f'static_host_map: {{"10.78.0.2": ["{CONNECTOR}:{NEBULA}"]}}\nlisten: {{host: {LAPTOP}, port: 0}}\n'
                           f"tun: {{dev: neb0, unsafe_routes: [{{route: {NEBULA_NAS}/32, via: 10.78.0.2}}]}}\n")],
        "connector's": [start(lab.connector, "10.78.0.2", ["-subnets", f"{NEBULA_NAS}/32"],
                              f"listen: {{host: {CONNECTOR}, port: {NEBULA}}}\ntun: {{dev: neb0}}\n")]}
    lab.nas.ip(f"route add 10.78.0.0/24 via {CONNECTOR}")
    return Way("nebula", lab.laptop, NEBULA_NAS, parts, datagrams=UDP_SERVERS[NEBULA_NAS])


# -- sshuttle -----------------------------------------------------------------------------------------------------------------
def sshuttle(lab: Lab) -> Way:
    laptop, root, keys = another_laptop(lab, "laptop-ssh", "198.18.1.1"), folder(lab, "sshuttle"), lab.root / "ssh"
    (lab.connector.etc / "passwd").write_text((lab.nas.etc / "passwd").read_text())       # alice is there too
    (root / "sshd_config").write_text(
        f"ListenAddress {CONNECTOR}\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/authorized_keys\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPasswordAuthentication no\nUseDNS no\nPrintMotd no\n")
    lab.connector.start(f"mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec /usr/sbin/sshd -D -e -f {root}/sshd_config",
                        "sshd", ready="Server listening")
    ssh = (f"ssh -F none -i {lab.ssh_key} -o BatchMode=yes -o StrictHostKeyChecking=accept-new "
           f"-o UserKnownHostsFile={root}/known_hosts -o LogLevel=ERROR")
    laptop.start(["sshuttle", "--method", "nft", "--disable-ipv6", "-e", ssh, "-r", f"alice@{CONNECTOR}", f"{SSHUTTLE_NAS}/32"],
                 "sshuttle", ready="Connected to server", deadline=20)
    way = Way("sshuttle", laptop, SSHUTTLE_NAS, {}, datagrams=None)
    way.wait_answers()
    near, far = laptop.pids(), lab.connector.pids()
    way.parts = {"sshuttle": [pid for pid in near if name(pid) != "ssh"], "ssh": [pid for pid in near if name(pid) == "ssh"],
                 "sshd": [pid for pid in far if name(pid) == "sshd"],
                 "its server": [pid for pid in far if name(pid).startswith("python")]}
    return way


PEERS: dict[str, Callable[[Lab], Way]] = {
    "bare": bare_path, "haproxy": haproxy, "wireguard": wireguard, "nebula": nebula, "sshuttle": sshuttle}
PROGRAMS = {"haproxy": ["haproxy", "openssl"], "wireguard": ["wireguard-go", "wg"], "nebula": ["nebula", "nebula-cert"],
            "sshuttle": ["sshuttle", "ssh", "/usr/sbin/sshd"]}
