"""The journey of the source description, with the tools that people use."""
from __future__ import annotations

import ipaddress
import re

from support.lab import HOME_DNS, ISP_DNS, NAS, NAS_PAGE, PUBLIC_PAGE, PUBLIC_WEB, UDP_ECHO_PORT, Lab
from support.netns import Host, kill_and_wait
from support.pcap import Capture
from support.tg import CLIENT_ADDRESS, STUB, STUBS, Tg


def interface_of(laptop: Host) -> str:
    match = re.search(rf"^(\S+)\s.*\b{re.escape(CLIENT_ADDRESS)}/", laptop.run("ip -br addr").out, re.M)
    assert match, laptop.run("ip addr").out
    return match[1]


def test_at_home_without_tg_the_homes_dns_answers(lab: Lab, session_tg: Tg) -> None:
    session_tg.stop()
    lab.laptop_goes_home()
    try:
        out = lab.laptop.run("dig nas.home.int").ok().out
    finally:
        lab.laptop_goes_away()
    assert re.search(rf"^nas\.home\.int\.\s+60\s+IN\s+A\s+{NAS}$", out, re.M)
    assert f"SERVER: {HOME_DNS}#53" in out
    assert "status: NXDOMAIN" in lab.laptop.run("dig nas.home.int").ok().out


def test_dig_says_what_it_must(tg: Tg, laptop: Host) -> None:
    out = laptop.run("dig nas.home.int").ok().out
    match = re.search(r"^nas\.home\.int\.\s+15\s+IN\s+A\s+(\S+)$", out, re.M)
    assert match, out
    assert ipaddress.ip_address(match[1]) in ipaddress.ip_network("100.96.0.0/12")
    assert "status: NOERROR" in out
    assert "flags: qr aa rd ra ad; QUERY: 1, ANSWER: 1," in out
    assert f"SERVER: {STUB}#53({STUB})" in out
    assert laptop.run("dig +short nas.home.int").out == match[1] + "\n", "a name keeps its address"


def test_interface_resolvers_and_routes(tg: Tg, laptop: Host) -> None:
    device = interface_of(laptop)
    servers = re.findall(r"^nameserver\s+(\S+)", laptop.run("cat /etc/resolv.conf").out, re.M)
    assert servers == [*STUBS, ISP_DNS]
    addresses = {laptop.run(f"dig +short @{server} nas.home.int").ok().out for server in STUBS}
    assert len(addresses) == 1 and addresses.pop().startswith("100."), "all four answer, and alike"
    for target in ("100.96.0.1", "100.111.255.254", "10.0.1.25", "10.0.5.7"):
        assert f"dev {device} " in laptop.run(["ip", "route", "get", target]).ok().out, target
    for target in (PUBLIC_WEB, "10.0.1.26", "10.0.6.1", "100.112.0.1", "8.8.8.8"):
        assert f"dev {device} " not in laptop.run(["ip", "route", "get", target]).out, target


def test_curl_ssh_ping_and_udp(tg: Tg, lab: Lab, laptop: Host) -> None:
    for url in ("http://nas.home.int/", "http://nas.tg/", "http://10.0.1.25/", "http://10.0.5.7/", "http://a.lab.home.int/"):
        assert laptop.run(["curl", "-sS", "--max-time", "5", url]).ok().out == NAS_PAGE, url
    seen = laptop.run([*lab.ssh("nas.home.int"), "hostname; echo $SSH_CONNECTION"]).ok().out
    assert seen.startswith("nas\n192.168.1.88 ") and f" {NAS} 22" in seen
    assert " 3 received" in laptop.run("ping -c 3 -i 0.2 nas.home.int").ok().out
    assert laptop.run(f"echo hello | nc -u -w 1 nas.home.int {UDP_ECHO_PORT}").out == "hello\n"


def test_the_nas_saw_only_the_connector(tg: Tg, lab: Lab, laptop: Host) -> None:
    before = len(lab.nas_requests())
    laptop.run("curl -sS http://nas.home.int/").ok()
    new = lab.nas_requests()[before:]
    assert new == ['192.168.1.88 "GET / HTTP/1.1" 200 nas.home.int']


def test_sftp_moves_a_file_both_ways_unchanged(tg: Tg, lab: Lab, laptop: Host) -> None:
    (lab.root / "drop").mkdir(exist_ok=True)
    (lab.root / "drop").chmod(0o777)
    ssh = " ".join(lab.ssh("nas.home.int"))
    laptop.run(f"head -c 20000000 /dev/urandom > up.bin && {ssh} 'cat > {lab.root}/drop/there.bin' < up.bin && "
               f"{ssh} 'cat {lab.root}/drop/there.bin' > back.bin && cmp up.bin back.bin", timeout=60).ok()


def test_the_real_address_never_reaches_the_laptop(tg: Tg, laptop: Host) -> None:
    real = bytes(map(int, NAS.split(".")))
    with Capture(laptop, "any") as wires:
        for command in ("dig nas.home.int", "dig nas.home.int any", "dig nas.home.int aaaa", "dig nas.home.int https",
                        "dig +tcp nas.home.int", "curl -sS http://nas.home.int/", "ping -c 1 nas.home.int"):
            assert NAS not in laptop.run(command).ok().out
    packets = list(wires.packets())
    assert packets
    assert not [p for p in packets if NAS in (p.source, p.target)]
    assert not [p for p in packets if 53 in p.ports and real in p.payload]
    assert NAS.encode() not in wires.bytes
    for path in tg.state("client").rglob("*"):
        assert not path.is_file() or NAS.encode() not in path.read_bytes(), path


def test_other_names_are_left_alone(tg: Tg, laptop: Host) -> None:
    assert laptop.run("dig +short example.org").ok().out == PUBLIC_WEB + "\n"
    assert laptop.run("curl -sS http://example.org/").ok().out == PUBLIC_PAGE
    assert "status: NXDOMAIN" in laptop.run("dig nothing.example.org").ok().out


def test_a_resource_that_is_also_public_goes_through_the_connector(tg: Tg, laptop: Host) -> None:
    assert laptop.run("curl -sS http://shop.example.org/").ok().out == NAS_PAGE


def test_status_resources_and_explain(tg: Tg) -> None:
    status = tg.client("status").ok().out
    assert re.search(r"^client +online$", status, re.M), status
    assert re.search(r"^tunnel +home-1 \(home\): relayed by 203\.0\.113\.10:8444, ", status, re.M), status
    as_json = tg.client("status", "--json").ok().out
    assert tg.status()["schema_version"] == 1 and as_json.count("\n") == 1
    resources = tg.client("resources").ok().out
    assert all(a in resources for a in ("nas.home.int", "nas.tg", "*.lab.home.int", "10.0.5.0/24"))
    assert "bob.home.int" not in resources
    for host, name, port in (("nas.home.int:22", "NAS", "22 allowed"), ("web.home.int:80", "Web only", "80 allowed"),
                             ("web.home.int:22", "Web only", "22 not allowed")):
        said = tg.client("explain", host).ok().out
        assert re.search(rf"^{re.escape(host.split(':')[0])} belongs to the Resource {name} \(", said, re.M), said
        assert re.search(rf"^tcp +{port}$", said, re.M), said
    assert tg.client("explain", "example.org").ok().out.startswith("example.org: ")


def test_up_while_up_is_a_conflict_and_harms_nothing(tg: Tg) -> None:
    again = tg.client_up()
    assert again.code == 6 and again.err.count("\n") == 1, again
    assert tg.works()


def test_after_a_crash_glibc_finds_no_name_until_the_client_is_started_or_down(tg: Tg, laptop: Host) -> None:
    """As README's Limits and SECURITY.md say: it reads three resolvers, and nobody has the first four any more."""
    def found(name: str) -> str:
        return laptop.run(["getent", "ahostsv4", name], env={"RES_OPTIONS": "timeout:1 attempts:1"}).out.split(" ")[0]
    address = found("nas.home.int")
    assert found("example.org") == PUBLIC_WEB and address.startswith("100.")
    kill_and_wait(tg.client_pids())
    assert (found("example.org"), found("nas.home.int")) == ("", "")
    tg.client("down").ok()
    assert (found("example.org"), found("nas.home.int")) == (PUBLIC_WEB, "")
    tg.client_up().ok()
    assert (found("example.org"), found("nas.home.int")) == (PUBLIC_WEB, address)
