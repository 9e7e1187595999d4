"""tg in the lab: a controller, a connector and a client, started with the commands that a person would type."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import socket
import time

from support.dnswire import ask
from support.lab import CONTROLLER, PUBLIC_WEB, Lab
from support.netns import Failed, Host, Process, Result, ended_children, kill_and_wait, killed, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STUB = "100.95.0.251"
STUBS = ["100.95.0.251", "100.95.0.252", "100.95.0.253", "100.95.0.254"]
CLIENT_ADDRESS = "172.16.30.1"
LISTEN, RELAY_LISTEN, PUBLIC = f"{CONTROLLER}:8443", f"{CONTROLLER}:8444", f"{CONTROLLER}:8443"

# What a program says when it gives up on itself: TG_CHECK (core/result.cpp), the C++ library's assertions, exceptions.
GAVE_UP = re.compile(rb"^.*(?:internal error:|Assertion '.*' failed|terminate called).*$", re.MULTILINE)

PEOPLE = """
[[network]]
name = "home"
[[connector]]
name = "home-1"
network = "home"
[[user]]
email = "alice@example.com"
[[user]]
email = "bob@example.com"
[[group]]
name = "family"
members = ["alice@example.com"]
"""


def resource(name: str, address: str, more: str = "", groups: str = '["family"]') -> str:
    return f'[[resource]]\nname = "{name}"\nnetwork = "home"\naddress = "{address}"\ngroups = {groups}\n{more}\n'


RESOURCES = '[[network]]\nname = "elsewhere"\n[[connector]]\nname = "spare"\nnetwork = "elsewhere"\n' + "".join([
    resource("NAS", "nas.home.int", 'alias = "nas.tg"'),
    resource("Web only", "web.home.int", 'protocols = { tcp = ["80", "8000-8100"], udp = "none", icmp = false }'),
    resource("Lab", "*.lab.home.int"),
    resource("Shop", "shop.example.org"),
    resource("Gone", "gone.home.int"),
    resource("Down", "down.home.int"),
    resource("No ARP", "noarp.home.int"),
    resource("Multi", "multi.home.int"),
    resource("Six", "six.home.int"),
    resource("Evil", "evil.home.int"),
    resource("Metadata", "metadata.home.int"),
    resource("Self", "self.home.int"),
    resource("Box", "10.0.1.25"),
    resource("Boxes", "10.0.5.0/24"),
    resource("Cut off", "192.168.66.0/24"),
    resource("No route", "192.168.67.0/24"),
    resource("Bob's", "bob.home.int", groups="[]"),
])


def connects(path: pathlib.Path) -> bool:
    """Whether somebody listens at a socket that is a file."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def binary() -> pathlib.Path:
    """What is tested: TG_BINARY, or the dev build, or the release build."""
    chosen = os.environ.get("TG_BINARY")
    for path in [pathlib.Path(chosen)] if chosen else [REPOSITORY / f"build/{p}/tg" for p in ("dev", "release")]:
        if path.exists():
            return path.resolve()
    raise Failed("there is no tg to test: run scripts/build dev, or set TG_BINARY")


class Tg:
    """The tg processes of a Lab. State directories are ROOT/state/ROLE."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.binary = lab, binary()
        self.reports = lab.root / "sanitizer"
        self.reports.mkdir(exist_ok=True)
        self.controller: Process | None = None
        self.connector: Process | None = None
        self.policy = ""
        self.started = False
        self.controller_arguments: list[str] = []
        self.connector_arguments: list[str] = []
        self.client_arguments: list[str] = []
        self.relay: Process | None = None
        self.relay_listen = RELAY_LISTEN                   # of the one in the controller; "none": there is none
        self._found: list[str] = []                        # not yet told by findings()
        self._told: set[int] = set()                       # processes whose end was told
        self._read: dict[pathlib.Path, tuple[int, int]] = {}      # by log: its inode, and how far it was read
        (lab.root / "bin").mkdir(exist_ok=True)
        (lab.root / "bin/tg").symlink_to(self.binary)

    # -- commands -----------------------------------------------------------------------------------------------------------
    def state(self, role: str) -> pathlib.Path:
        return self.lab.root / "state" / role

    def env(self) -> dict[str, str]:
        path = f"log_path={self.reports}/report"
        def with_path(key: str) -> str:
            return ":".join(filter(None, [os.environ.get(key), path]))
        return {"ASAN_OPTIONS": with_path("ASAN_OPTIONS"), "UBSAN_OPTIONS": with_path("UBSAN_OPTIONS"),
                "TSAN_OPTIONS": with_path("TSAN_OPTIONS"), "PATH": f"{self.lab.root}/bin:{os.environ['PATH']}"}

    def words(self, command: str, state: str | None = None) -> list[str]:
        role = state or command.split()[0]
        return [str(self.binary), *command.split(), "--state", str(self.state(role))]

    def run(self, host: Host, command: str, *more: str, state: str | None = None, timeout: float = 20.0) -> Result:
        """run(lab.laptop, "client status", "--json"): with the role's own --state."""
        result = host.run([*self.words(command, state), *more], timeout, env=self.env())
        if result.code < 0 or GAVE_UP.search(result.err.encode()):
            self._found.append(str(result))
        return result

    def client(self, command: str, *more: str, timeout: float = 20.0) -> Result:
        return self.run(self.lab.laptop, f"client {command}", *more, timeout=timeout)

    def admin(self, command: str, *more: str, timeout: float = 20.0) -> Result:
        return self.run(self.lab.internet, f"controller {command}", *more, timeout=timeout)

    def status(self) -> dict[str, object]:
        return json.loads(self.client("status", "--json").ok().out)

    def token(self, kind: str, name: str, *more: str) -> str:
        out = self.admin(f"{kind} token", name, *more).ok().out
        if not re.fullmatch(r"\S+\n", out):
            raise Failed(f"a token is one word and nothing else, not {out!r}")
        return out.strip()

    # -- start and stop -----------------------------------------------------------------------------------------------------
    def start_controller(self) -> Process:
        self.controller = self.lab.internet.start(
            [*self.words("controller serve"), "--listen", LISTEN, "--relay-listen", self.relay_listen, "--public", PUBLIC,
             *self.controller_arguments],
            "tg-controller", env=self.env())
        for port in (8443,) if self.relay_listen == "none" else (8443, 8444):
            self.wait_listening(self.lab.internet, self.controller, port)
        wait_for("tg controller answers commands", lambda: connects(self.state("controller") / "control.sock"), 15,
                 explain=self.controller.text)
        return self.controller

    def wait_listening(self, host: Host, process: Process, port: int, address: str = CONTROLLER) -> None:
        """Afterwards `process.since` is when it began to listen: the time of the last attempt that failed."""
        attempts = [process.since]
        def up() -> bool:
            if not process.alive():
                raise Failed(f"{process.name} ended with {process.popen.returncode}:\n{process.text()}")
            attempts.append(time.monotonic())
            with host.socket(timeout=1) as s:
                return s.connect_ex((address, port)) == 0
        wait_for(f"{process.name} listens on {port}", up, 15, explain=process.text)
        process.since = attempts[-2]

    def apply(self, policy: str | None = None, *more: str) -> Result:
        if policy is not None:
            self.policy = policy
        path = self.lab.root / "home.toml"
        path.write_text(self.policy)
        return self.run(self.lab.internet, "controller apply", str(path), *more)

    def start_connector(self, token: str | None = None, ready: bool = True) -> Process:
        """The connector is online once this returns, if it is to be `ready`."""
        more = ["--token", token] if token else []
        self.connector = self.lab.connector.start([*self.words("connector run"), *more, *self.connector_arguments],
                                                  "tg-connector", env=self.env())
        if ready:
            self.wait_connector()
        return self.connector

    def start_with_relay(self, policy: str, *relay_options: str) -> None:
        """As start(), with a relay of its own, relay-1 of the policy, in the place of the embedded one."""
        self.relay_listen = "none"
        self.start_controller()
        self.apply(policy).ok()
        self.start_relay(self.token("relay", "relay-1"), PUBLIC_WEB, *relay_options)
        self.start_connector(self.token("connector", "home-1"))
        self.client_up(self.token("device", "alice@example.com")).ok()
        self.started = True
        self.wait_works(10, "everything was started")

    def start_relay(self, token: str | None = None, address: str = PUBLIC_WEB, *options: str) -> Process:
        """A relay of its own, on the internet at `address`:8444. Serves, that is: it has heard of the controller, once this
        returns."""
        more = ["--token", token] if token else []
        self.relay = self.lab.internet.start([*self.words("relay run"), *more, "--listen", f"{address}:8444", *options], "tg-relay",
                                             env=self.env())
        self.wait_listening(self.lab.internet, self.relay, 8444, address)
        wait_for("tg relay health", lambda: self.run(self.lab.internet, "relay health").code == 0, 10, 0.1, self.lab.log_tails)
        return self.relay

    def wait_connector(self, deadline: float = 15.0) -> None:
        assert self.connector
        process = self.connector
        def up() -> bool:
            if not process.alive():
                raise Failed(f"the connector ended with {process.popen.returncode}:\n{process.text()}")
            return self.run(self.lab.connector, "connector health").code == 0
        wait_for("tg connector health says that it is online", up, deadline, 0.1, self.lab.log_tails)

    def client_up(self, token: str | None = None, timeout: float = 30.0) -> Result:
        return self.client("up", *(["--token", token] if token else []), *self.client_arguments, timeout=timeout)

    def client_pids(self) -> list[int]:
        """The client's processes. Short-lived commands such as `status` are among them while they run."""
        return self.lab.laptop.pids(self.binary)

    def start(self, policy: str = PEOPLE + RESOURCES) -> None:
        """From nothing to a client that is online."""
        self.start_controller()
        self.apply(policy).ok()
        self.start_connector(self.token("connector", "home-1"))
        self.client_up(self.token("device", "alice@example.com")).ok()
        self.started = True

    def stop(self) -> None:
        """Back to nothing: no process, no state, the laptop as it was. Whatever does not end well when asked to is killed,
        and told by findings()."""
        if not self.started and not self.state("controller").exists():
            return
        if self.client_pids():
            down = self.client("down", timeout=15)
            if down.code != 0:
                self._found.append(str(down))
        for process in sorted(self._servers(), key=lambda p: p is self.controller):        # the controller last
            try:
                process.stop(5)
            except Failed as e:
                self._found.append(str(e))
                process.kill()
        for host in self.lab.hosts:
            for pid in host.pids(self.binary):
                self._found.append(f"{host.name}: process {pid} still runs after everything was told to stop")
                kill_and_wait([pid])
        self._look()                                       # before the logs go
        for role in ("client", "connector", "relay", "controller"):
            shutil.rmtree(self.state(role), ignore_errors=True)
        self.lab.laptop_goes_away()
        self.started = False

    def changed(self, policy: str) -> str:
        """What is not as start(policy) left it; "" when everything is. Whether somebody meant it, findings() knows."""
        return ("nothing is started" if not self.started
                else "another policy" if self.policy != policy
                else "no controller" if not (self.controller and self.controller.alive())
                else "no connector" if not (self.connector and self.connector.alive())
                else "no client" if not self.client_pids()
                else "a controller with other options" if self.controller_arguments
                else "a connector with other options" if self.connector_arguments
                else "another relay" if self.relay_listen != RELAY_LISTEN else "")

    def whole(self, policy: str) -> bool:
        """Nothing has changed, and a new flow works."""
        return not self.changed(policy) and self.works()

    def _servers(self) -> list[Process]:
        """The servers among the Lab's processes that are tg's and run."""
        return [p for p in self.lab.processes if str(self.binary) in p.command and p.alive()
                and {"serve", "run", "--foreground"} & set(p.command)]

    # -- health -------------------------------------------------------------------------------------------------------------
    def works(self, timeout: float = 2.0) -> bool:
        """A new flow through everything: a name, an address, an answer of the NAS."""
        try:
            with self.connect("nas.home.int", 80, timeout) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return s.recv(64).startswith(b"HTTP/1.1 200")
        except (OSError, AssertionError):
            return False

    def wait_works(self, deadline: float, since: str, began: float | None = None) -> float:
        """Waits until a new flow works, and returns how long that took. `began`: when the clock started, by
        time.monotonic(); without it, now."""
        start = time.monotonic() if began is None else began
        wait_for(f"a new flow works, {deadline:g} s after {since}", lambda: self.works(1.0),
                 start + deadline - time.monotonic(), 0.05, self.explain)
        took = time.monotonic() - start
        if took > deadline:
            raise Failed(f"{since}: a new flow took {took:.2f} s, and not {deadline:g} s\n{self.explain()}")
        return took

    def wait_settled(self) -> None:
        """Waits until what the test before broke is whole: the client hears the controller, and no tunnel runs dry."""
        def settled() -> bool:
            j = json.loads(self.client("status", "--json").out)
            home = [t for t in j["tunnels"] if t["network"] == "home"]
            return bool(j["controller"]["connected"] and home and all(t["state"] == "up" and "others" not in t for t in home))
        wait_for("the client is settled", settled, 20, explain=self.explain)

    def lookup(self, name: str, timeout: float = 5.0) -> str:
        answer = ask(self.lab.laptop, STUB, name, timeout=timeout)
        if not answer.answer:
            raise Failed(f"{name} has no address: rcode {answer.rcode}")
        return answer.answer[0].text

    def connect(self, name: str, port: int, timeout: float = 10.0) -> socket.socket:
        """A TCP connection from the laptop, by name as an application makes it."""
        s = self.lab.laptop.socket(timeout=timeout)
        try:
            s.connect((name if name[0].isdigit() else self.lookup(name, timeout), port))
        except BaseException:
            s.close()
            raise
        return s

    def explain(self) -> str:
        status = self.client("status", "--json", timeout=5)
        return f"{status}\n{self.lab.log_tails(only='tg-')}\n{self.lab.log_tails(only='client')}"

    def sanitized(self) -> bool:
        return b"__asan_init" in self.binary.read_bytes() or b"__tsan_init" in self.binary.read_bytes()

    def findings(self) -> list[str]:
        """What went wrong with tg's processes, whatever tests saw of it, since this was asked last: sanitizers' reports,
        ends that nobody meant, broken invariants in logs."""
        self._look()
        found, self._found = self._found, []
        return found

    def _look(self) -> None:
        for path in sorted(self.reports.iterdir()):
            self._found += [text.decode(errors="replace") for text in self._new_text(path)]
        for path in sorted(self.lab.root.rglob("*.log")):
            for text in self._new_text(path):
                self._found += [f"{path.name}: {m[0].decode(errors='replace')}" for m in GAVE_UP.finditer(text)]
        for p in self.lab.processes:
            if str(self.binary) in p.command and p.pid not in self._told and (bad := p.bad_end()):
                self._told.add(p.pid)
                self._found.append(bad)
        started = {p.pid for p in self.lab.processes}
        for pid, code in ended_children(self.binary.name):                   # clients in the background
            if pid not in started | self._told and code != 0 and not (code == -9 and pid in killed):
                self._told.add(pid)
                self._found.append(f"a client, {pid}, ended with {code}\n{self.lab.log_tails(only='client')}")

    def _new_text(self, path: pathlib.Path) -> list[bytes]:
        """The whole lines that a file has got since it was asked for last, if any."""
        try:
            with path.open("rb") as f:
                status = os.fstat(f.fileno())
                inode, at = self._read.get(path, (0, 0))
                at = f.seek(at if inode == status.st_ino and at <= status.st_size else 0)
                text = f.read()
        except FileNotFoundError:
            return []
        text = text[:text.rfind(b"\n") + 1]
        self._read[path] = status.st_ino, at + len(text)
        return [text] if text else []
