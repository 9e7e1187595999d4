"""How fast tg is beside the bare path and beside the fastest thing that does only the encryption: a pair of HAProxys with
TLS 1.3 and AES-128-GCM. One run, the same namespaces, rounds that alternate; medians.

    bench.py [--quick] [--rounds N] [--seconds S] [--json FILE]
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from table import markdown, write_json      # noqa: E402
from support.lab import CONNECTOR, NAS, Lab      # noqa: E402
from support.netns import Failed, Host, wait_for      # noqa: E402
from support.tg import PEOPLE, Tg, resource      # noqa: E402

IPERF, WEB, TLS_OFFSET, DIRECT = 5201, 8080, 10000, 8445
METRICS = {   # name: (unit, more is better)
    "up": ("Gbit/s", True), "down": ("Gbit/s", True), "4 flows": ("Gbit/s", True), "keep-alive": ("req/s", True),
    "new connections": ("conn/s", True), "p50": ("µs", False)}


AIMS = {"up": 0.5, "down": 0.5, "new connections": 3.0}     # of what the HAProxy pair does, at least


class Path:
    """A way from the laptop to the NAS: where its iperf3 and its web server are found."""

    def __init__(self, name: str, host: str, offset: int = 0) -> None:
        self.name, self.host, self.offset = name, host, offset

    def measure(self, lab: Lab, metric: str, seconds: float) -> float:
        laptop = lab.laptop
        if metric in ("up", "down", "4 flows"):
            more = {"up": [], "down": ["-R"], "4 flows": ["-P", "4", "-R"]}[metric]
            # An iperf3 server serves one client, and may not have heard yet that the one before has gone.
            def measured() -> float | None:
                run = laptop.run(["iperf3", "-c", self.host, "-p", IPERF + self.offset, "-t", f"{seconds:g}", "-J", *more],
                                 seconds + 20)
                if "busy" in run.out:
                    return None
                return json.loads(run.ok().out)["end"]["sum_received"]["bits_per_second"] / 1e9
            return wait_for("the iperf3 server is free", measured, seconds + 30)
        connections, more = {"keep-alive": (32, []), "new connections": (32, ["-H", "Connection: close"]), "p50": (1, [])}[metric]
        out = laptop.run(["wrk", "-t", min(2, connections), "-c", connections, "-d", f"{max(1, round(seconds))}s", "--latency",
                          *more, f"http://{self.host}:{WEB + self.offset}/"], seconds + 20).ok().out
        if "Socket errors" in out or "Non-2xx" in out:      # wrk says neither where there is none
            raise Failed(f"{self.name}, {metric}: {out}")
        if metric == "p50":
            value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", out).groups()      # type: ignore[union-attr]
            return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
        return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])               # type: ignore[index]


def open_the_way(lab: Lab) -> None:
    """No firewall, no NAT, no connection tracking: everybody can reach everybody, so that all ways have the same hops."""
    lab.router.nft("delete table inet home")
    lab.internet.ip("route add 192.168.1.0/24 via 192.0.2.7")
    for host in (lab.laptop, lab.connector, lab.nas):
        host.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
        host.sysctl("net.ipv4.tcp_tw_reuse", 1)
        host.sysctl("net.core.somaxconn", 16384)


def servers(lab: Lab) -> None:
    lab.nas.start(["iperf3", "-s", "-p", IPERF, "--forceflush"], "iperf3", ready="listening")
    root = lab.root / "bench-nginx"
    root.mkdir()
    (root / "index.html").write_text("x" * 100)
    (root / "nginx.conf").write_text(f"""
        daemon off; user root; worker_processes {4 * (os.cpu_count() or 1)}; pid {root}/pid; error_log stderr notice;
        events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000;
          client_body_temp_path {root}/1; proxy_temp_path {root}/2; fastcgi_temp_path {root}/3; uwsgi_temp_path {root}/4;
          scgi_temp_path {root}/5;
          server {{ listen {NAS}:{WEB} backlog=16384 reuseport; root {root}; }} }}""")
    lab.nas.start(["nginx", "-p", root, "-e", "stderr", "-c", root / "nginx.conf"], "bench-nginx", ready="start worker processes")


def haproxy(lab: Lab) -> Path:
    root = lab.root / "haproxy"
    root.mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench", "-keyout", root / "key.pem", "-out", root / "cert.pem"], check=True, capture_output=True)
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
    for host, text in ((lab.connector, far), (lab.laptop, near)):
        conf = root / f"{host.name}.cfg"
        conf.write_text(text)
        host.start(["haproxy", "-db", "-f", conf], "haproxy")
    path = Path("HAProxy TLS pair", "127.0.0.1", TLS_OFFSET)
    wait_answers(lab.laptop, path)
    return path


def tg_direct(lab: Lab, tg: Tg) -> Path:
    tg.connector_arguments = ["--listen", f"{CONNECTOR}:{DIRECT}"]
    tg.start(PEOPLE + resource("NAS", "nas.home.int"))
    path = Path("tg", "nas.home.int")
    wait_answers(lab.laptop, path)
    wait_for("tg takes the direct path", lambda: "direct" in tg.client("status").out, 15, 0.2, tg.explain)
    return path


def wait_answers(laptop: Host, path: Path) -> None:
    url = f"http://{path.host}:{WEB + path.offset}/"
    wait_for(f"{path.name} is ready", lambda: laptop.run(["curl", "-sSf", "-m", "2", "-o", "/dev/null", url]).code == 0, 15, 0.1)


def run(lab: Lab, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    open_the_way(lab)
    servers(lab)
    tg = Tg(lab)
    paths = [Path("bare path", NAS), haproxy(lab), tg_direct(lab, tg)]
    readings: dict[str, dict[str, list[float]]] = {p.name: {m: [] for m in METRICS} for p in paths}
    for number in range(rounds):
        for metric in METRICS:
            for path in paths[number % len(paths):] + paths[:number % len(paths)]:
                value = path.measure(lab, metric, seconds)
                readings[path.name][metric].append(value)
                print(f"round {number + 1}/{rounds}  {metric:16} {path.name:18} {shown(metric, value)}", file=sys.stderr, flush=True)
    tg.client("down")
    return readings


def shown(metric: str, value: float) -> str:
    return f"{value:.1f}" if METRICS[metric][0] == "Gbit/s" else f"{value:,.0f}"


def caption(rounds: int, seconds: float) -> str:
    """What the table below it shows, true of this run; documents take both as they are."""
    figures = f"medians of {rounds} rounds" if rounds > 1 else "one round"
    return (f"{os.cpu_count()} cores, Linux {os.uname().release}; {figures}, {seconds:g} s a figure; tg by its direct path;\n"
            "4 flows: down; keep-alive and new connections: 32 at once; p50: one at a time. Ratios: above 1 is better for tg.\n")


def table(medians: dict[str, dict[str, float]]) -> str:
    rows = [["", *(f"{m}, {unit}" for m, (unit, _) in METRICS.items())]]
    rows += [[name, *(shown(m, v) for m, v in row.items())] for name, row in medians.items()]
    for other in ("bare path", "HAProxy TLS pair"):
        row = [f"tg : {other}"]
        for metric, (_, more_is_better) in METRICS.items():
            mine, theirs = medians["tg"][metric], medians[other][metric]
            row.append(f"{mine / theirs if more_is_better else theirs / mine:.2f}")
        rows.append(row)
    return markdown(rows)


def aims(medians: dict[str, dict[str, float]]) -> str:
    """Whether tg is where it means to be, beside the HAProxy pair in this run."""
    lines = []
    for metric, least in AIMS.items():
        ratio = medians["tg"][metric] / medians["HAProxy TLS pair"][metric]
        lines.append(f"{metric}: {ratio:.2f} of the HAProxy TLS pair, {'as' if ratio >= least else 'NOT as'} wanted (at least {least:g})")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="tg beside the bare path and a HAProxy TLS pair")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--json", metavar="FILE", help="also write every reading here")
    args = parser.parse_args()
    rounds, seconds = (1, 1.0) if args.quick else (args.rounds, args.seconds)
    if os.geteuid() != 0:
        print("bench: making network namespaces takes root: sudo scripts/bench", file=sys.stderr)
        return 1
    try:
        with Lab() as lab:
            try:
                readings = run(lab, rounds, seconds)
            except Failed as e:
                print(f"{e}\n{lab.log_tails(only='tg-')}", file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        return 130
    medians = {name: {m: statistics.median(v) for m, v in row.items()} for name, row in readings.items()}
    print(caption(rounds, seconds))
    print(table(medians))
    print("\n" + aims(medians))
    if args.json:
        write_json(args.json, {"rounds": rounds, "seconds": seconds, "medians": medians, "readings": readings})
    return 0


if __name__ == "__main__":
    sys.exit(main())
