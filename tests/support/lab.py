"""The lab: a laptop, an internet and a home, as network namespaces with real servers in them.

    laptop                      internet                            router (home's NAT)        LAN 192.168.1.0/24
    eth0 198.51.100.10 ──────── 198.51.100.1  ISP's DNS             192.0.2.7 ══ 192.168.1.1 ──┬── nas        .50
    home0 192.168.1.20 ─ ─ ─ ─  203.0.113.10  controller, relay ─── 192.0.2.1       DNS        ├── connector  .88
      (when at home)            203.0.113.80  public web                                       └─ ─ laptop    .20

Nothing at home can be reached from outside. The NAS also has 10.0.1.25 and 10.0.5.7 behind it, and fd00:1::50.
The home's DNS knows home.int; the ISP's knows example.org and nothing of home. internet_host() adds machines to the internet.
"""
from __future__ import annotations

import ipaddress
import pathlib
import shutil
import subprocess

from support.netns import Failed, Host, Process, Space, stops, wait_for

CONTROLLER, PUBLIC_WEB, ISP_DNS = "203.0.113.10", "203.0.113.80", "198.51.100.1"
LAPTOP, LAPTOP_AT_HOME, HOME_OUTSIDE = "198.51.100.10", "192.168.1.20", "192.0.2.7"
OIDC, OIDC_NAME = "203.0.113.20", "id.example.com"         # where support/oidc.py's provider runs
HOME_DNS, NAS, CONNECTOR, NAS6 = "192.168.1.1", "192.168.1.50", "192.168.1.88", "fd00:1::50"
UDP_ECHO_PORT = 7007
NAS_PAGE = "Hello from the NAS.\n"
PUBLIC_PAGE = "Hello from the public web.\n"
WIRES = [("laptop", "eth0", "internet", "laptop"), ("laptop", "home0", "router", "laptop"), ("internet", "home", "router", "wan"),
         ("nas", "lan0", "router", "nas"), ("connector", "lan0", "router", "connector")]
SUPPORT = pathlib.Path(__file__).parent

HOME_RECORDS = [
    f"host-record=nas.home.int,{NAS}",
    f"host-record=web.home.int,{NAS}",
    "host-record=multi.home.int,10.0.2.1",                 # two addresses, of which one cannot be reached
    f"host-record=multi.home.int,{NAS}",
    f"host-record=six.home.int,{NAS6}",
    "host-record=down.home.int,10.0.2.1",                  # the router says host-unreachable
    "host-record=noarp.home.int,192.168.1.99",             # nobody has this address
    "host-record=evil.home.int,127.0.0.1",
    "host-record=metadata.home.int,169.254.169.254",
    f"host-record=self.home.int,{CONNECTOR}",
    f"host-record=a.lab.home.int,{NAS}",
    f"host-record=b.lab.home.int,{NAS}",
    f"host-record=shop.example.org,{NAS}",                 # also a public name, with another address
    "mx-host=nas.home.int,mail.home.int,10",
    "srv-host=_http._tcp.lab.home.int,nas.home.int,80,5,6",
    "srv-host=nas.home.int,nas.home.int,8443,1,2",
    'txt-record=nas.home.int,"a private note"',
    *(f"txt-record=big.lab.home.int,{i:04d}{'x' * 196}" for i in range(15)),   # more than a UDP answer holds
    "local=/home.int/",
    f"server={ISP_DNS}",
]
ISP_RECORDS = [
    f"host-record=example.org,www.example.org,{PUBLIC_WEB}",
    f"host-record=shop.example.org,{PUBLIC_WEB}",
    f"host-record=controller.example.org,{CONTROLLER}",
    "host-record=relay.example.com,203.0.113.90",
    f"host-record={OIDC_NAME},{OIDC}",
    *(f"txt-record=big.example.org,{i:04d}{'y' * 196}" for i in range(15)),
    "address=/#/",                                         # and no other name in the world
]


class Lab(Space):
    """Brings the topology up; `with Lab() as lab:`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            self._hosts()
            self._services()
        except BaseException:
            self.close()
            raise

    # -- the wires ----------------------------------------------------------------------------------------------------------
    def _hosts(self) -> None:
        self.laptop, self.internet = self.host("laptop"), self.host("internet")
        self.router, self.nas, self.connector = self.host("router"), self.host("nas"), self.host("connector")
        for host in (self.router, self.nas, self.connector):
            for key in ("all", "default"):
                host.sysctl(f"net.ipv6.conf.{key}.disable_ipv6", 0)
                host.sysctl(f"net.ipv6.conf.{key}.accept_dad", 0)
        for host in (self.internet, self.router, self.nas):
            host.sysctl("net.ipv4.ip_forward", 1)

        def veth(host: Host, interface: str, peer: Host, there: str) -> str:
            return f"link add {interface} type veth peer name {there} netns {peer.namespace}"

        self.laptop.ip(veth(self.laptop, "eth0", self.internet, "laptop"), veth(self.laptop, "home0", self.router, "laptop"),
                       f"addr add {LAPTOP}/24 dev eth0", "link set eth0 up", )
        self.internet.ip(veth(self.internet, "home", self.router, "wan"), f"addr add {ISP_DNS}/24 dev laptop",
                         "addr add 192.0.2.1/24 dev home", f"addr add {CONTROLLER}/32 dev lo",
                         f"addr add {PUBLIC_WEB}/32 dev lo", "link set laptop up", "link set home up")
        self.router.ip(veth(self.router, "nas", self.nas, "lan0"), veth(self.router, "connector", self.connector, "lan0"),
                       "link add lan type bridge", "link set nas master lan", "link set connector master lan",
                       "link set laptop master lan", "addr add 192.0.2.7/24 dev wan", f"addr add {HOME_DNS}/24 dev lan",
                       *(f"link set {i} up" for i in ("wan", "lan", "nas", "connector", "laptop")),
                       "route add default via 192.0.2.1", f"route add 10.0.1.0/24 via {NAS}", f"route add 10.0.5.0/24 via {NAS}")
        self.nas.ip(f"addr add {NAS}/24 dev lan0", f"addr add {NAS6}/64 dev lan0", "addr add 10.0.1.25/32 dev lo",
                    "addr add 10.0.5.7/32 dev lo", "link set lan0 up", f"route add default via {HOME_DNS}")
        self.connector.ip(f"addr add {CONNECTOR}/24 dev lan0", "addr add fd00:1::88/64 dev lan0", "link set lan0 up",
                          f"route add default via {HOME_DNS}", f"route add 10.0.1.0/24 via {NAS}",
                          f"route add 10.0.5.0/24 via {NAS}", "route add unreachable 192.168.66.0/24",
                          "route add throw 192.168.67.0/24")             # EHOSTUNREACH and ENETUNREACH, at once
        self.laptop.ip("route add default via 198.51.100.1")
        self.router.nft("""table inet home {
          chain nat { type nat hook postrouting priority srcnat
            oifname "wan" ip saddr 192.168.1.0/24 masquerade
          }
          chain forward { type filter hook forward priority filter; policy drop
            ct state established,related accept
            ip daddr 10.0.2.0/24 reject with icmp type host-unreachable
            iifname "lan" accept
          }
          chain input { type filter hook input priority filter; policy drop
            ct state established,related accept
            iifname { "lan", "lo" } accept
            meta l4proto { icmp, ipv6-icmp } accept
          }
        }""")
        self.laptop.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
        for host in (self.nas, self.connector, self.router):
            host.resolv_conf.write_text(f"nameserver {HOME_DNS}\n")
        self.internet.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")

    def internet_host(self, name: str, address: str) -> Host:
        """A machine of its own on the internet, made when it is first asked for. The address beside it, of the same /31, is
        the internet's."""
        for host in self.hosts:
            if host.name == name:
                return host
        beside = str(ipaddress.ip_address(int(ipaddress.ip_address(address)) ^ 1))
        made = self.host(name)
        made.ip(f"link add eth0 type veth peer name {name} netns {self.internet.namespace}", f"addr add {address}/31 dev eth0",
                "link set eth0 up", f"route add default via {beside}")
        self.internet.ip(f"addr add {beside}/31 dev {name}", f"link set {name} up")
        made.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
        return made

    def wire(self, first: Host, second: Host) -> tuple[str, str]:
        """The two ends of the wire between them: interfaces of the first and of the second."""
        for a, at_a, b, at_b in [*WIRES, *((h.name, "eth0", "internet", h.name) for h in self.hosts)]:
            if (a, b) == (first.name, second.name):
                return at_a, at_b
            if (b, a) == (first.name, second.name):
                return at_b, at_a
        raise Failed(f"no wire joins {first.name} and {second.name}")

    def laptop_goes_home(self) -> None:
        """The laptop is on the LAN, with the home's DNS, as after DHCP there."""
        self.laptop.ip("link set eth0 down", f"addr add {LAPTOP_AT_HOME}/24 dev home0", "link set home0 up",
                       f"route add default via {HOME_DNS}")
        self.laptop.resolv_conf.write_text(f"nameserver {HOME_DNS}\n")

    def laptop_goes_away(self, address: str = LAPTOP) -> None:
        """The laptop is on its uplink, with the ISP's DNS."""
        self.laptop.ip("link set home0 down", "addr flush dev home0", "addr flush dev eth0", f"addr add {address}/24 dev eth0",
                       "link set eth0 up", "route add default via 198.51.100.1")
        self.laptop.resolv_conf.write_text(f"nameserver {ISP_DNS}\n")
        # The kernel says so up to a second later (net/core/link_watch.c), and tests compare how the laptop looks.
        wait_for("eth0 is up", lambda: " UP " in self.laptop.run("ip -br link show dev eth0").out)

    # -- the servers --------------------------------------------------------------------------------------------------------
    def _services(self) -> None:
        self.start_isp_dns()
        self.start_home_dns()
        self.web_root = self.root / "www"
        self.nas_log = self._nginx(self.nas, f"{NAS}:80", NAS_PAGE, extra=["10.0.1.25:80", "10.0.5.7:80", f"[{NAS6}]:80"])
        self._nginx(self.internet, f"{PUBLIC_WEB}:80", PUBLIC_PAGE)
        self._sshd()
        self.nas.start(["python3", SUPPORT / "udp_echo.py", NAS, UDP_ECHO_PORT], "udp-echo", ready="ready")

    def start_isp_dns(self) -> Process:
        self.isp_dns = self._dnsmasq(self.internet, ISP_DNS, ISP_RECORDS)
        return self.isp_dns

    def start_home_dns(self, more: list[str] | None = None) -> Process:
        self.home_dns = self._dnsmasq(self.router, HOME_DNS, HOME_RECORDS + (more or []))
        return self.home_dns

    def _dnsmasq(self, host: Host, address: str, records: list[str]) -> Process:
        conf = self.root / f"dnsmasq-{host.name}.conf"
        conf.write_text("\n".join(["keep-in-foreground", "bind-interfaces", f"listen-address={address}", "no-resolv", "no-hosts",
                                   "log-queries", "log-facility=-", "user=root", "pid-file", "local-ttl=60", *records, ""]))
        return host.start(["dnsmasq", "-C", conf], "dns", ready="started, version")

    def _nginx(self, host: Host, listen: str, page: str, extra: list[str] | None = None) -> pathlib.Path:
        """Serves `page` at / and the files of `web_root` below /files/. Returns the access log."""
        root = self.root / f"nginx-{host.name}"
        (root / "www").mkdir(parents=True)
        self.web_root.mkdir(exist_ok=True)
        (root / "www/index.html").write_text(page)
        access = self.logs / f"{host.name}-nginx-access.log"
        listens = "".join(f"listen {at} backlog=4096; " for at in [listen, *(extra or [])])
        (root / "nginx.conf").write_text(f"""
            daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000; pid {root}/pid; error_log stderr notice;
            events {{ worker_connections 8192; }}
            http {{
              log_format seen '$remote_addr "$request" $status $host';
              access_log {access} seen;
              sendfile on; tcp_nopush on; keepalive_requests 1000000; client_max_body_size 0;
              client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
              uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
              server {{ {listens} default_type text/plain;
                location / {{ root {root}/www; }}
                location /files/ {{ alias {self.web_root}/; }}
              }}
            }}""")
        host.start(["nginx", "-p", root, "-e", "stderr", "-c", root / "nginx.conf"], "nginx", ready="start worker processes")
        return access

    def _sshd(self) -> None:
        """The user `alice` of the NAS logs in with the key `ssh_key`; she exists only in the NAS's own /etc/passwd."""
        root = self.root / "ssh"
        root.mkdir()
        for key in ("host", "alice"):
            with stops.held():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", root / key], check=True)
        self.ssh_key = root / "alice"
        passwd = pathlib.Path("/etc/passwd").read_text()
        (self.nas.etc / "passwd").write_text(passwd.rstrip("\n") + "\nalice:*:61234:65534::/:/bin/sh\n")
        shutil.copy(root / "alice.pub", root / "authorized_keys")
        (root / "authorized_keys").chmod(0o644)
        (root / "sshd_config").write_text(
            f"ListenAddress {NAS}\nHostKey {root}/host\nAuthorizedKeysFile {root}/authorized_keys\nPidFile none\nUsePAM no\n"
            "StrictModes no\nPasswordAuthentication no\nUseDNS no\nPrintMotd no\nMaxStartups 200\nSubsystem sftp internal-sftp\n")
        (root / "known_hosts").write_text("")
        # Its own /run (sshd wants /run/sshd there) and its own host name.
        self.nas.start("mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec unshare --uts sh -c "
                       f"'hostname nas && exec /usr/sbin/sshd -D -e -f {root}/sshd_config'", "sshd",
                       ready="Server listening")

    def ssh(self, host: str, *options: str) -> list[str]:
        return ["ssh", "-F", "none", "-i", str(self.ssh_key), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
                "-o", f"UserKnownHostsFile={self.root}/ssh/known_hosts", "-o", "LogLevel=ERROR", *options, f"alice@{host}"]

    # -- what was seen ------------------------------------------------------------------------------------------------------
    def nas_requests(self) -> list[str]:
        return self.nas_log.read_text().splitlines() if self.nas_log.exists() else []
