"""The journey as a person would live it, in network namespaces: every command with its output, every claim checked.

    demo.py [--keep]      exit status 0 only when everything held
    demo.py --end NAME    ends a demo that was kept
"""
from __future__ import annotations

import ipaddress
import os
import pathlib
import re
import shlex
import sys
import textwrap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.lab import HOME_DNS, ISP_DNS, NAS, NAS_PAGE, PUBLIC_PAGE, PUBLIC_WEB, UDP_ECHO_PORT, Lab      # noqa: E402
from support.netns import Failed, Host, Result, remove, wait_for                                # noqa: E402
from support.pcap import Capture                                                                # noqa: E402
from support.tg import CLIENT_ADDRESS, LISTEN, PEOPLE, PUBLIC, RELAY_LISTEN, STUB, STUBS, Tg, resource   # noqa: E402

RELAY_PORT = int(RELAY_LISTEN.rsplit(":", 1)[1])
TLS_DATA = b"\x17\x03\x03"      # how a record of TLS begins once the handshake is over

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
POLICY = PEOPLE + resource("NAS", "nas.home.int", 'alias = "nas.tg"') + resource("Box", "10.0.1.25") + \
    resource("Cameras", "10.0.5.0/24", 'protocols = { tcp = ["80"], udp = "none", icmp = true }')


def paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


class Story:
    """What is told, and what of it did not hold."""

    def __init__(self, lab: Lab, tg: Tg) -> None:
        self.lab, self.tg, self.held, self.failed, self.chapter_number = lab, tg, 0, 0, 0

    def chapter(self, title: str) -> None:
        self.chapter_number += 1
        print(f"\n{paint('1', f'{self.chapter_number}. {title}')}", flush=True)

    def env(self, host: Host) -> dict[str, str]:
        roles = {"laptop": "client", "internet": "controller", "connector": "connector"}
        return {**self.tg.env(), "TG_STATE": str(self.tg.state(roles.get(host.name, host.name)))}

    def told(self, host: Host, command: str) -> None:
        print(f"\n  {paint('36', host.name + '$')} {paint('1', shorten(command))}", flush=True)

    def shell(self, host: Host, command: str, code: int | None = 0, timeout: float = 40.0, words: str = "") -> Result:
        """Types `command` at `host`. Its exit status is a check too."""
        self.told(host, words or command)
        result = host.run(command, timeout, env=self.env(host))
        printed = (result.out + result.err).strip("\n")
        if printed:
            print(textwrap.indent(shorten(printed), "    ", lambda _: True), flush=True)
        if code is not None and result.code != code:
            self.check(f"exit status {code}, not {result.code}", False)
        return result

    def check(self, claim: str, holds: object) -> None:
        if holds:
            self.held += 1
            print(f"    {paint('32', 'ok')}    {claim}", flush=True)
        else:
            self.failed += 1
            print(f"    {paint('31', 'FAIL')}  {claim}", flush=True)


def lines_of(text: str, *patterns: str) -> bool:
    """Every line of `text` is one of `patterns`, and each of these is there."""
    lines = text.strip("\n").splitlines()
    return all(any(re.fullmatch(p, line) for line in lines) for p in patterns) and \
        all(any(re.fullmatch(p, line) for p in patterns) for line in lines)


def shorten(text: str) -> str:
    return re.sub(r"tg1_[A-Za-z0-9_-]{12,}", lambda m: m.group()[:12] + "…", text)


def system_state(host: Host) -> dict[str, object]:
    """What the client may touch on its machine."""
    shown = {c: host.run(c).out for c in ("ip -br addr", "ip rule", "ip route show table all", "nft list ruleset")}
    return {**shown, "/etc/resolv.conf": host.resolv_conf.read_bytes()}


def at_home(s: Story) -> None:
    s.chapter("At home, without tg: the home's own DNS knows the NAS")
    s.lab.laptop_goes_home()
    dig = s.shell(s.lab.laptop, "dig nas.home.int").out
    s.check(f"nas.home.int is {NAS}", re.search(rf"^nas\.home\.int\.\s+\d+\s+IN\s+A\s+{re.escape(NAS)}$", dig, re.M))
    s.check(f"says {HOME_DNS}", f"SERVER: {HOME_DNS}#53" in dig)


def away(s: Story) -> None:
    s.chapter("Away, without tg: nobody knows the name, and the address leads nowhere")
    s.lab.laptop_goes_away()
    dig = s.shell(s.lab.laptop, "dig nas.home.int").out
    s.check(f"{ISP_DNS} says that there is no such name", "status: NXDOMAIN" in dig and f"SERVER: {ISP_DNS}#53" in dig)
    nothing = s.shell(s.lab.laptop, f"curl -sS --max-time 2 http://{NAS}/", code=7)
    s.check(f"{NAS} cannot be reached", nothing.code == 7 and nothing.err.startswith("curl: (7) ") and not nothing.out)


def controller(s: Story) -> None:
    lab, tg = s.lab, s.tg
    s.chapter("Somewhere on the internet: the controller")
    command = f"tg controller serve --listen {LISTEN} --relay-listen {RELAY_LISTEN} --public {PUBLIC}"
    s.told(lab.internet, command + " &")
    tg.controller = lab.internet.start(command.split(), "tg-controller", env=s.env(lab.internet))
    for port in (8443, 8444):
        tg.wait_listening(lab.internet, tg.controller, port)
    tg.controller.wait_text("that FILE.toml names\n")
    banner = tg.controller.text()
    print(textwrap.indent(shorten(banner.strip()), "    "))
    at, relay = re.escape(PUBLIC), re.escape(RELAY_LISTEN)
    s.check("it serves, with no configuration but its addresses, and says what to type next", lines_of(
        banner, r"tg controller tg-[0-9a-f]{8} is new, and up", rf"  agents +{at}, which they reach as {at}",
        rf"  relay +{relay}, which they reach as {relay}", r"next, in another terminal:",
        r"  tg controller apply FILE\.toml(?: --state \S+)? +# who may reach what",
        r"  tg controller connector token NAME(?: --state \S+)? +# lets in a connector that FILE\.toml names"))
    (lab.root / "home.toml").write_text(POLICY)
    policy = s.shell(lab.internet, f"cat {lab.root}/home.toml", words="cat home.toml").out
    s.check("that is everything there is to say", policy == POLICY)
    applied = s.shell(lab.internet, f"tg controller apply {lab.root}/home.toml", words="tg controller apply home.toml")
    s.check("it is made true, as the file says it", lines_of(
        applied.out, r"\+ network home", r"\+ connector home-1 \(network home\)", r"\+ user alice@example\.com",
        r"\+ user bob@example\.com", r"\+ group family \(1 member\)", r"\+ resource NAS \(nas\.home\.int\)",
        r"\+ resource Box \(10\.0\.1\.25\)", r"\+ resource Cameras \(10\.0\.5\.0/24\)")
        and applied.err == "8 created, 0 updated, 0 removed\n")
    plan = s.shell(lab.internet, f"tg controller apply --dry-run {lab.root}/home.toml",
                   words="tg controller apply --dry-run home.toml")
    s.check("applied once, there is nothing left to do",
            (plan.code, plan.out, plan.err) == (0, "", "nothing to change\n"))


def connector(s: Story) -> None:
    lab, tg = s.lab, s.tg
    s.chapter("At home: the connector. It dials out; nothing at home is opened")
    token = s.shell(lab.internet, "tg controller connector token home-1").out.strip()
    s.check("one token, nothing else", re.fullmatch(r"tg1_[A-Za-z0-9_-]+", token))
    s.told(lab.connector, f"tg connector run --token {token} &")
    tg.connector = lab.connector.start(["tg", "connector", "run", "--token", token], "tg-connector", env=s.env(lab.connector))
    tg.wait_connector()
    for peer in (f"controller {PUBLIC}", f"relay {RELAY_LISTEN}"):
        tg.connector.wait_text(f"{peer}: connected\n")
    log = tg.connector.text()
    print(textwrap.indent(shorten(log.strip()), "    "))
    s.check("it has reached the controller and its relay, and complains of nothing", lines_of(
        log, rf"\S+ info controller {re.escape(PUBLIC)}: connected",
        rf"\S+ info relay {re.escape(RELAY_LISTEN)}: connected"))
    s.check("it is well", s.shell(lab.connector, "tg connector health").out == "healthy: 0 tunnels, 0 flows\n")
    elsewhere = lab.internet.run("ss -Hltun").out
    sees = re.search(r"^tcp .*:8443\s", elsewhere, re.M) and re.search(r"^udp .*:53\s", elsewhere, re.M)
    s.check("it listens on no port, neither TCP nor UDP (on the controller's machine the same command shows them)",
            sees and s.shell(lab.connector, "ss -Hltun").out == "")


def client_up(s: Story) -> None:
    token = s.shell(s.lab.internet, "tg controller device token alice@example.com").out.strip()
    s.check("one token, nothing else", re.fullmatch(r"tg1_[A-Za-z0-9_-]+", token))
    up = s.shell(s.lab.laptop, f"tg client up --token {token}")
    s.check("online, as whom the token is for",
            (up.out, up.err) == ("", "tg: online as alice@example.com, 3 Resources\n"))
    wait_for("the tunnel stands", lambda: '"state":"up"' in s.tg.client("status", "--json").out, explain=s.tg.explain)
    s.check("all is well, and by which way", lines_of(
        s.shell(s.lab.laptop, "tg client status").out, r"client +online", r"user +alice@example\.com",
        rf"controller +{re.escape(PUBLIC)}: connected", r"resources +3", r"interface +tg0, range 100\.96\.0\.0/12", r"capture +(split|rewrite: .+)",
        rf"dns +/etc/resolv\.conf; everything else goes to {re.escape(ISP_DNS)}:53",
        rf"tunnel +home-1 \(home\): relayed by {re.escape(RELAY_LISTEN)}, [0-9.]+ ms, 0 flows"))
    again = s.shell(s.lab.nas, f"tg client up --token {token} --timeout 10", code=5)
    s.check("a token lets nobody in twice", again.code == 5 and again.err ==
            "tg: the token has been used already: each lets in one machine, once; ask for a new one\n")


def names(s: Story) -> None:
    s.chapter("The name works, and stands for an address that exists nowhere else")
    dig = s.shell(s.lab.laptop, "dig nas.home.int").out
    answer = re.search(r"^nas\.home\.int\.\s+15\s+IN\s+A\s+(\S+)$", dig, re.M)
    s.check("nas.home.int. 15 IN A, an address of 100.96.0.0/12",
            answer and ipaddress.ip_address(answer[1]) in ipaddress.ip_network("100.96.0.0/12"))
    s.check("flags qr aa rd ra ad, one answer", re.search(r"flags: qr aa rd ra ad; QUERY: 1, ANSWER: 1,", dig))
    s.check(f"says {STUB}", f"SERVER: {STUB}#53" in dig)
    s.check(f"{NAS} is nowhere in it", NAS not in dig)
    address = answer[1] if answer else "100.96.0.1"
    aaaa = s.shell(s.lab.laptop, "dig nas.home.int AAAA").out
    s.check("no IPv6 way around the tunnel: NOERROR, no answer", "status: NOERROR" in aaaa and "ANSWER: 0" in aaaa)
    s.check("the address leads back to the name",
            s.shell(s.lab.laptop, f"dig +short -x {address}").out.strip() == "nas.home.int.")

    s.chapter("What the client has put into the laptop")
    interface = re.search(rf"^(\S+)\s.*\b{re.escape(CLIENT_ADDRESS)}/", s.shell(s.lab.laptop, "ip -br addr").out, re.M)
    s.check(f"an interface with {CLIENT_ADDRESS}", interface)
    name = interface[1] if interface else "?"
    resolvers = re.findall(r"^nameserver\s+(\S+)", s.shell(s.lab.laptop, "cat /etc/resolv.conf").out, re.M)
    s.check(f"its resolvers {STUBS[0]} to {STUBS[-1]} come first, the ISP's last", resolvers == [*STUBS, ISP_DNS])
    s.check("the last of them answers as the first does",
            s.shell(s.lab.laptop, f"dig +short @{STUBS[-1]} nas.home.int").out == address + "\n")
    for target in (address, "10.0.1.25", "10.0.5.7"):
        route = s.shell(s.lab.laptop, f"ip route get {target}").out
        s.check(f"{target} goes through {name}", f"dev {name} " in route)
    route = s.shell(s.lab.laptop, f"ip route get {PUBLIC_WEB}").out
    s.check(f"{PUBLIC_WEB} does not", "dev eth0 " in route)
    route = s.shell(s.lab.laptop, f"ip route get {NAS}").out
    s.check("there is no route into the home", "via 198.51.100.1 dev eth0 " in route)


def use(s: Story) -> None:
    s.chapter("Use it: web, SSH, ping, UDP")
    laptop = s.lab.laptop
    s.check("the NAS's page", s.shell(laptop, "curl -sS http://nas.home.int/").out == NAS_PAGE)
    s.check("the NAS's page, by the alias", s.shell(laptop, "curl -sS http://nas.tg/").out == NAS_PAGE)
    s.check("the box's page, by its address", s.shell(laptop, "curl -sS http://10.0.1.25/").out == NAS_PAGE)
    ssh = s.shell(laptop, " ".join(s.lab.ssh("nas.home.int")) + " 'hostname; echo $SSH_CONNECTION'",
                  words="ssh alice@nas.home.int 'hostname; echo $SSH_CONNECTION'").out
    s.check("a shell on the NAS, which sees the connector's address", ssh.startswith("nas\n192.168.1.88 "))
    ping = s.shell(laptop, "ping -c 3 -i 0.2 nas.home.int").out
    s.check("three of three pings came back", " 3 received" in ping)
    echo = s.shell(laptop, f"echo 'anybody there?' | nc -u -w 1 nas.home.int {UDP_ECHO_PORT}").out
    s.check("a datagram went there and came back", echo == "anybody there?\n")
    closed = s.shell(laptop, "curl -sS --max-time 5 http://nas.home.int:81/", code=7)
    s.check("a closed port is refused at once, as at home",
            closed.code == 7 and closed.err.startswith("curl: (7) ") and closed.seconds < 1)
    seen = s.shell(s.lab.nas, f"cat {s.lab.nas_log}", words="cat /var/log/nginx/access.log").out.splitlines()[1:]
    s.check("the NAS saw the connector, and never the laptop",
            seen and all(line.startswith("192.168.1.88 ") for line in seen))


def public(s: Story) -> None:
    laptop = s.lab.laptop
    s.chapter("Everything else is left alone")
    dig = s.shell(s.lab.laptop, "dig example.org").out
    s.check(f"example.org is {PUBLIC_WEB}, as the ISP says it",
            re.search(rf"^example\.org\.\s+60\s+IN\s+A\s+{re.escape(PUBLIC_WEB)}$", dig, re.M))
    s.check("the public web works", s.shell(s.lab.laptop, "curl -sS http://example.org/").out == PUBLIC_PAGE)
    s.check("a name that does not exist does not", "status: NXDOMAIN" in s.shell(s.lab.laptop, "dig no-such.example.org").out)

    s.chapter("What the client says about itself")
    status = s.shell(s.lab.laptop, "tg client status").out
    s.check("online, and which path is used", re.search(r"^client +online$", status, re.M) and re.search(
        rf"^tunnel +home-1 \(home\): relayed by {re.escape(RELAY_LISTEN)}, ", status, re.M))
    resources = s.shell(s.lab.laptop, "tg client resources").out
    s.check("the Resources, and what each allows", lines_of(
        resources, r"NAME +ADDRESS +ALIAS +LOCAL +STATE +PROTOCOLS",
        r"NAS +nas\.home\.int +nas\.tg +100\.[0-9.]+ +ready +everything",
        r"Box +10\.0\.1\.25 +- +- +ready +everything", r"Cameras +10\.0\.5\.0/24 +- +- +ready +tcp 80; icmp"))
    why = s.shell(laptop, "tg client explain nas.home.int:22").out
    s.check("why: it is the NAS, port 22 allowed", all(re.search(f"^{line}$", why, re.M) for line in (
        r"nas\.home\.int belongs to the Resource NAS \(nas\.home\.int, network home\)", r"tcp +22 allowed")))
    why = s.shell(laptop, "tg client explain 10.0.5.7:22").out
    s.check("why: it is one of the Cameras, port 22 not allowed", all(re.search(f"^{line}$", why, re.M) for line in (
        r"10\.0\.5\.7 belongs to the Resource Cameras \(10\.0\.5\.0/24, network home\)", r"tcp +22 not allowed")))
    refused = s.shell(laptop, "nc -vzn -w 5 10.0.5.7 22", code=1)
    s.check("and so it is, at once, and not as a closed port",
            (refused.out, refused.code) == ("", 1) and "No route to host" in refused.err and refused.seconds < 1)
    s.check("the port that is allowed is not", s.shell(laptop, "curl -sS http://10.0.5.7/").out == NAS_PAGE)


def down(s: Story, before: dict[str, object]) -> None:
    s.chapter("Down: the laptop is as it was")
    s.check("it says so", s.shell(s.lab.laptop, "tg client down").err == "tg: down\n")
    after = system_state(s.lab.laptop)
    for what, was in before.items():
        s.check(f"{what}: the same as before", after[what] == was)
        if after[what] != was:
            print(f"before:\n{was}\nafter:\n{after[what]}")
    s.check("no process of tg is left", not s.tg.client_pids())
    s.check("the name is unknown again", "NXDOMAIN" in s.shell(s.lab.laptop, "dig nas.home.int").out)


def secrecy(s: Story, uplink: Capture, everything: Capture) -> None:
    s.chapter("What the laptop's wires saw meanwhile")
    real = bytes(map(int, NAS.split(".")))
    packets = list(everything.packets())
    by_tunnel = [p for p in packets if CLIENT_ADDRESS in (p.source, p.target)]
    s.check(f"captured: {len(packets)} packets on all of the laptop's interfaces, {len(by_tunnel)} of them on tg's",
            by_tunnel)
    s.check(f"none of them from or to {NAS}", not any(NAS in (p.source, p.target) for p in packets))
    dns = [p for p in packets if 53 in p.ports]
    s.check(f"{len(dns)} of them are DNS, and none tells {NAS}", dns and not any(real in p.payload for p in dns))
    s.check(f"nor is '{NAS}' written anywhere", NAS.encode() not in everything.bytes)
    page, name, clear = NAS_PAGE.strip().encode(), b"nas.home.int", PUBLIC_PAGE.strip().encode()
    s.check("the NAS's page and name are in clear on tg's interface, the public page on the uplink: that would be seen",
            page in everything.bytes and name in everything.bytes and clear in uplink.bytes)
    sealed = [p for p in uplink.packets() if RELAY_PORT in p.ports and TLS_DATA in p.payload]
    s.check(f"the NAS's page and name crossed the uplink only in TLS: {len(sealed)} packets to and from the relay",
            len(sealed) > 20 and page not in uplink.bytes and name not in uplink.bytes)
    stored = [p for p in s.tg.state("client").rglob("*") if p.is_file()]
    s.check(f"nor does the client's state hold {NAS}", stored and not any(NAS.encode() in p.read_bytes() for p in stored))


def journey(s: Story, keep: bool) -> None:
    at_home(s)
    away(s)
    controller(s)
    connector(s)
    s.chapter("Away: the client")
    with Capture(s.lab.laptop, "eth0") as uplink, Capture(s.lab.laptop, "any") as everything:
        before = system_state(s.lab.laptop)
        client_up(s)
        names(s)
        use(s)
        public(s)
        if not keep:
            down(s, before)
    secrecy(s, uplink, everything)
    for report in s.tg.findings():
        print(report)
        s.check("no sanitizer has anything to say", False)


def how_to_enter(s: Story) -> None:
    for host in s.lab.hosts:
        variables = " ".join(shlex.quote(f"{k}={v}") for k, v in s.env(host).items() if k in ("TG_STATE", "PATH"))
        script = s.lab.root / f"enter-{host.name}"
        script.write_text("#!/bin/sh\n[ $# -gt 0 ] || set -- sh -i\n"
                          f"exec ip netns exec {host.namespace} env {variables} PS1='{host.name}$ ' \"$@\"\n")
        script.chmod(0o755)
    print("\nEverything is left running, the client too. To enter a host (each script is one `ip netns exec`):")
    for host in s.lab.hosts:
        print(f"  sudo {s.lab.root}/enter-{host.name}")
    print(f"To end it:\n  sudo scripts/demo --end {s.lab.name}")


def main(argv: list[str]) -> int:
    if len(argv) == 2 and argv[0] == "--end" and re.fullmatch(r"tg[0-9a-f]+", argv[1]):
        remove(argv[1])
        return 0
    if argv not in ([], ["--keep"]):
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("demo: making network namespaces takes root: sudo scripts/demo", file=sys.stderr)
        return 1
    try:
        with Lab() as lab:
            story = Story(lab, Tg(lab))
            try:
                journey(story, keep=bool(argv))
            except Failed as e:
                print(textwrap.indent(str(e), "    "))
                story.check("the story goes on", False)
            if story.failed:
                print(f"\nWhat tg's processes said last:\n{lab.log_tails(only='tg-')}\n{lab.log_tails(only='client')}")
            if argv:
                how_to_enter(story)
                lab.keep = True
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left behind", file=sys.stderr)
        return 130
    print(f"\n{paint('1', f'{story.held} held, {story.failed} did not')}")
    return 1 if story.failed or not story.held else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
