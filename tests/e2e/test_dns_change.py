"""The system's DNS servers come late, or are others of a sudden, as after DHCP: whoever finds the controller by its name
comes back within 5 s all the same."""
from __future__ import annotations

import json
import signal
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator

import pytest
from support.dnswire import ask, parse, query
from support.lab import CONTROLLER, HOME_DNS, ISP_DNS, NAS, PUBLIC_WEB, Lab
from support.netns import Host, Process, wait_for
from support.tg import LISTEN, PEOPLE, RELAY_LISTEN, RESOURCES, STUB, Tg

SOON = 5.0
NAME = "controller.example.org"
OLD, NEW = "198.51.100.2", "198.51.100.3"
SILENT = ["does not answer", "no DNS server answered"]     # of the first attempt, and of those after it
POLICY = PEOPLE + RESOURCES + f'[[relay]]\nname = "relay-1"\naddress = "{PUBLIC_WEB}"\n'


def dnsmasq(lab: Lab, address: str) -> Process:
    """Knows the controller and the NAS, for a second."""
    conf = lab.root / f"dnsmasq-{address}.conf"
    conf.write_text("\n".join(["keep-in-foreground", "bind-interfaces", f"listen-address={address}", "no-resolv", "no-hosts",
                               "log-queries", "log-facility=-", "user=root", "pid-file", "local-ttl=1", "address=/#/",
                               f"host-record={NAME},{CONTROLLER}", f"host-record=nas.home.int,{NAS}", ""]))
    return lab.internet.start(["dnsmasq", "-C", conf], f"dns-{address}", ready="started, version")


def use(host: Host, *servers: str) -> None:
    host.resolv_conf.write_text("".join(f"nameserver {s}\n" for s in servers))


@dataclass
class Named:
    """A controller that everybody knows by its name only."""
    tg: Tg
    old: Process
    new: Process

    def start_controller(self) -> None:
        tg = self.tg
        tg.controller = tg.lab.internet.start([*tg.words("controller serve"), "--listen", LISTEN, "--relay-listen", RELAY_LISTEN,
                                               "--public", f"{NAME}:8443"], "tg-controller", env=tg.env())
        for port in (8443, 8444):
            tg.wait_listening(tg.lab.internet, tg.controller, port)


@pytest.fixture(scope="module")
def module_named(session_tg: Tg, lab: Lab) -> Iterator[Named]:
    tg, hosts = session_tg, (lab.laptop, lab.connector, lab.internet)
    tg.stop()
    lab.internet.ip(f"addr add {OLD}/24 dev laptop", f"addr add {NEW}/24 dev laptop")
    named = Named(tg, dnsmasq(lab, OLD), dnsmasq(lab, NEW))
    try:
        for host in hosts:
            use(host, NEW)
        named.start_controller()
        tg.apply(POLICY).ok()
        tg.start_connector(tg.token("connector", "home-1"))
        tg.start_relay(tg.token("relay", "relay-1"))
        tg.client_up(tg.token("device", "alice@example.com")).ok()
        tg.started = True
        tg.wait_works(10, "everything was started")
        yield named
    finally:
        tg.stop()
        for process in (named.old, named.new):
            process.kill()
        lab.internet.ip(f"addr del {OLD}/24 dev laptop", f"addr del {NEW}/24 dev laptop")
        for host, server in zip(hosts, (ISP_DNS, HOME_DNS, ISP_DNS)):
            use(host, server)
        tg.policy = ""


@pytest.fixture
def named(module_named: Named, cold_tg: Tg) -> Named:
    return module_named


def relay_hears(tg: Tg) -> bool:
    return bool(json.loads(tg.run(tg.lab.internet, "relay status", "--json").ok().out)["controller"]["connected"])


@dataclass
class Agent:
    role: str
    host: Host
    start: Callable[[], None]           # returns when it runs, not when it is online
    stop: Callable[[], object]
    works: Callable[[], bool]

    def status(self, tg: Tg) -> dict[str, object]:
        shown = tg.run(self.host, f"{self.role} status", "--json").out
        return json.loads(shown) if shown else {}

    def problem(self, tg: Tg) -> str:
        status = self.status(tg)
        return str(status.get("problem") or status["controller"].get("problem"))      # type: ignore[attr-defined]

    def wait_lost(self, tg: Tg, *why: str) -> None:
        """Waits until it says one of these."""
        def says() -> bool:
            problem = self.problem(tg)
            return any(words in problem for words in why)
        wait_for(f"the {self.role} says {' or '.join(map(repr, why))}", says, 10, 0.1, tg.explain)

    def wait_back(self, tg: Tg, since: str) -> None:
        wait_for(f"the {self.role} works after {since}", self.works, SOON, 0.05, tg.explain)


@pytest.fixture(params=["client", "connector", "relay"])
def agent(request: pytest.FixtureRequest, named: Named) -> Iterator[Agent]:
    """One of them, stopped, on a machine whose resolv.conf is the test's to write; the others run and use NEW."""
    tg, role = named.tg, request.param
    lab, process = tg.lab, list[Process]()

    def start() -> None:
        host = {"client": lab.laptop, "connector": lab.connector, "relay": lab.internet}[role]
        words = {"client": [*tg.words("client up"), "--foreground"], "connector": tg.words("connector run"),
                 "relay": [*tg.words("relay run"), "--listen", f"{PUBLIC_WEB}:8444"]}[role]
        process.append(host.start(words, f"tg-{role}-dns", env=tg.env()))
        wait_for(f"the {role} runs", lambda: "controller" in made.status(tg), 10, 0.1, process[-1].text)

    def stop() -> None:
        if process and process[-1].alive():
            assert process[-1].stop(5) == 0

    if role == "client":
        made = Agent(role, lab.laptop, start, stop, lambda: tg.works(1.0))
        tg.client("down")
    elif role == "connector":
        made = Agent(role, lab.connector, start, stop, lambda: tg.run(lab.connector, "connector health").code == 0)
        assert tg.connector
        tg.connector.stop(5)
    else:
        made = Agent(role, lab.internet, start, stop, lambda: relay_hears(tg))
        assert tg.relay
        tg.relay.stop(5)
    try:
        yield made
    finally:
        named.old.signal(signal.SIGCONT)
        stop()
        use(made.host, NEW)
        if not (tg.controller and tg.controller.alive()):
            named.start_controller()
        if role == "client":
            tg.client_up().ok()
        elif role == "connector":
            tg.start_connector()
        else:
            tg.start_relay()


@pytest.mark.parametrize("before", [[], [OLD]], ids=["none", "one that is silent"])
def test_started_before_there_is_a_server_that_knows(named: Named, agent: Agent, before: list[str]) -> None:
    tg = named.tg
    named.old.signal(signal.SIGSTOP)
    use(agent.host, *before)
    agent.start()
    agent.wait_lost(tg, *(SILENT if before else ["could be asked"]))
    use(agent.host, NEW)
    agent.wait_back(tg, "resolv.conf names a server that knows")


def test_the_servers_change_while_it_is_up(named: Named, agent: Agent) -> None:
    tg = named.tg
    use(agent.host, OLD)
    agent.start()
    agent.wait_back(tg, "it was started")
    named.old.signal(signal.SIGSTOP)
    assert tg.controller
    tg.controller.kill()                                    # with it goes the line that stands
    agent.wait_lost(tg, *SILENT)                            # what was resolved before is over
    named.start_controller()
    if agent.role == "client":
        tg.wait_connector()
    use(agent.host, NEW)
    agent.wait_back(tg, "resolv.conf names another server")


def test_a_connector_asks_the_new_servers_for_resources(named: Named, lab: Lab) -> None:
    tg = named.tg
    assert tg.connector
    tg.wait_works(SOON, "the test before")
    tg.connector.stop(5)
    use(lab.connector, OLD)
    tg.start_connector()
    tg.wait_works(SOON, "the connector was started")
    try:
        named.old.signal(signal.SIGSTOP)
        wait_for("the old answers are over", lambda: not tg.works(1.0), 5, explain=tg.explain)
        use(lab.connector, NEW)
        tg.wait_works(SOON, "resolv.conf of the connector names another server")
        shown = json.loads(tg.run(lab.connector, "connector status", "--json").ok().out)
        assert [d["server"] for d in shown["dns"]] == [f"{NEW}:53"], shown
    finally:
        named.old.signal(signal.SIGCONT)
        use(lab.connector, NEW)


TWO_LOOKS = 4.5


def test_a_file_that_names_no_server_for_a_moment_changes_nothing(named: Named, lab: Lab) -> None:
    """As while a program writes it. Longer than two looks, so that it was seen."""
    tg = named.tg
    tg.wait_works(SOON, "the test before")
    assert tg.connector
    before = len(tg.connector.text())
    use(lab.connector)
    lab.laptop.resolv_conf.write_text("# a header, and the rest to come\n")
    try:
        threading.Event().wait(TWO_LOOKS)                   # how long they are empty; not a synchronisation
        assert tg.works()
        assert tg.status()["dns"]["upstream"] == [f"{NEW}:53"]
        assert ask(lab.laptop, STUB, NAME).texts == [CONTROLLER], "asked of the servers that the system had"
    finally:
        use(lab.connector, NEW)
        use(lab.laptop, NEW)
    assert "DNS servers have changed" not in tg.connector.text()[before:]


def test_a_question_under_way_is_asked_of_the_new_servers(named: Named, lab: Lab) -> None:
    """By whoever asks tg's resolvers, and long before the old ones' time is over."""
    tg, laptop = named.tg, lab.laptop
    use(laptop, OLD)
    try:
        wait_for("the client asks the old one", lambda: tg.status()["dns"]["upstream"] == [f"{OLD}:53"], SOON, explain=tg.explain)
        named.old.signal(signal.SIGSTOP)
        with laptop.socket(kind=socket.SOCK_DGRAM, timeout=6) as s:
            s.connect((STUB, 53))
            use(laptop, NEW)                                # seen 2 s later at the latest, and then it takes 1 s
            started = time.monotonic()
            s.send(query(NAME))
            answer = parse(s.recv(65535))
            assert answer.texts == [CONTROLLER], answer
            assert time.monotonic() - started < 3.5
    finally:
        named.old.signal(signal.SIGCONT)
        use(laptop, NEW)
    wait_for("the client asks the new one", lambda: tg.status()["dns"]["upstream"] == [f"{NEW}:53"], SOON, explain=tg.explain)


def test_servers_that_were_named_stay(named: Named, lab: Lab) -> None:
    """--dns is the administrator's word: /etc/resolv.conf is not looked at."""
    tg = named.tg
    assert tg.connector
    tg.connector.stop(5)
    tg.connector_arguments = ["--dns", NEW]
    try:
        use(lab.connector, OLD)
        named.old.signal(signal.SIGSTOP)
        tg.start_connector()
        use(lab.connector, ISP_DNS)
        tg.wait_works(SOON, "the connector was started with --dns")
        threading.Event().wait(TWO_LOOKS)                   # one that follows the file would have seen it; not a synchronisation
        assert tg.works()
        shown = json.loads(tg.run(lab.connector, "connector status", "--json").ok().out)
        assert [d["server"] for d in shown["dns"]] == [f"{NEW}:53"], shown
        assert "DNS servers have changed" not in tg.connector.text()
    finally:
        named.old.signal(signal.SIGCONT)
        use(lab.connector, NEW)
        tg.connector.stop(5)
        tg.connector_arguments = []
        tg.start_connector()
