"""README's chapter "Three real machines", done by its text alone: every command that it shows is typed on the machine of
its prompt, and every line that it shows as an answer has to come. Its systemd units are read by systemd-analyze, and
their commands run as their users with their rights."""
from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Iterator

import pytest
from support.lab import Lab
from support.netns import Failed, Host, Process, Result, kill_and_wait, wait_for
from support.oidc import Provider
from support.sign_in import code_of
from support.terminal import Reply, talk
from support.tg import REPOSITORY, Tg, binary

PASSWORD = "correct horse battery staple"
SERVICE = 61235                # the user id of the services
RELAY = "203.0.113.90"        # relay.example.com, as the ISP's DNS says
RUNNER = "198.18.0.9"         # a machine without a person
STAYS = re.compile(r"tg (controller serve|connector run|relay run)\b")
# What differs from one machine or day to another.
VARIES = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"), (r"\btg-[0-9a-f]{8}\b", "INSTANCE"), (r"\btg1_\S+", "TOKEN"),
    (r"\b100\.(9[6-9]|1[01]\d)\.\d+\.\d+\b(?!/)", "ADDRESS"), (r"\b\d+(\.\d+)? ms\b", "N ms"), (r"\b\d+ (tunnels|flows)\b", r"N \1"),
    (r" --state \S+", ""), (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? UTC", "TIME"), (r"^\d+(?=  TIME|:)", "N"),
    (r"\b[0-9a-f]{64}\b", "HASH"), (r"#(…|[\w-]{43})(?!\S)", "#PIN"), (r"\b[A-Z]{4}-[A-Z]{4}\b", "CODE"),
    (r"secret=(…|[A-Z2-7]{32})", "SECRET"), (r"tg%20tg-[0-9a-f]{8}", "ISSUER"), (r"^Code: .*", "Code"), (r", by sudo of \S+", ""), (r"\b[0-9a-f]{8}\b", "NUMBER"),
    (r"\s+", " "),
]


@dataclass
class Step:
    machine: str                  # the word before $
    command: str
    answers: list[str] = field(default_factory=list)


def chapter(title: str) -> str:
    text = (REPOSITORY / "README.md").read_text()
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def section(text: str, number: int) -> str:
    return re.split(r"\n### \d+\. ", text)[number]


def steps(text: str) -> list[Step]:
    out: list[Step] = []
    for line in re.findall(r"^    (.+)$", text, re.M):
        prompt = re.match(r"(server|home|laptop|relay|runner)\$ (.*)", line)
        if prompt:
            out.append(Step(prompt[1], prompt[2]))
        elif out:
            out[-1].answers.append(line)
    return out


def plain(line: str) -> str:
    for pattern, instead in VARIES:
        line = re.sub(pattern, instead, line)
    return line.strip()


class Newcomer:
    """Somebody with three machines, later a fourth, and the README."""

    def __init__(self, lab: Lab) -> None:
        self.hosts = {"server": lab.internet, "home": lab.connector, "laptop": lab.laptop, "relay": lab.internet_host("relay", RELAY)}
        self.lab, self.token, self.stays = lab, "", dict[str, Process]()
        self.address = self.printed = ""                     # of the controller, and by the last command
        self.number = ""                                     # of a request, as the last command printed it
        tools = lab.root / "newcomer/bin"
        tools.mkdir(parents=True)
        self.tg = pathlib.Path(shutil.copy(binary(), tools / "tg"))       # where every user may run it
        (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (tools / "sudo").chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def env(self, machine: str) -> dict[str, str]:
        """Only the state is not where the README has it: this machine may have a tg of its own."""
        return {"PATH": self.path, "TG_STATE": str(self.lab.root / "newcomer" / machine)}

    def run(self, machine: str, command: str) -> Result:
        return self.hosts[machine].run(f"cd newcomer && {command}", 40, env=self.env(machine))

    def start(self, machine: str, command: list[str]) -> Process:
        process = self.hosts[machine].start(command, f"newcomer-{machine}", env=self.env(machine))
        self.stays[machine] = process
        return process

    def type(self, step: Step) -> None:
        command = re.sub(r"tg1_…", self.token, step.command).replace("1f0c77ab", self.number)
        command = command.replace("/var/lib/tg/controller", self.env(step.machine)["TG_STATE"])
        assert "…" not in command, command
        if STAYS.search(command):
            if old := self.stays.pop(step.machine, None):
                assert old.stop() == 0
            process = self.start(step.machine, command.split())
            for wanted in step.answers:
                wait_for(f"{command} says {wanted!r}", lambda: plain(wanted) in map(plain, process.text().splitlines()), 10,
                         explain=process.text)
            return
        result = self.run(step.machine, command).ok()
        lines = [plain(line) for line in (result.out + result.err).splitlines()]
        for wanted in step.answers:
            if plain(wanted) not in lines:
                raise Failed(f"README promises {wanted!r}, but:\n{result}")
        self.printed = result.out
        if found := re.fullmatch(r"(tg1_\S+)\n", result.out):
            self.token = found[1]
        if found := re.fullmatch(r"([0-9a-f]{8})\n", result.out):
            self.number = found[1]

    def sign_in(self, step: Step, provider: Provider, account: str) -> None:
        """Types a `tg client login`, and does in a browser what it says."""
        at = self.start("laptop", self.whole(step.command).split())
        at.wait_text("Waiting until", 15)
        page = re.search(r"https://\S+", at.text())
        assert page
        provider.approve(page[0], account)
        assert self.stays.pop("laptop").wait() == 0
        said = [plain(line) for line in at.text().splitlines()]
        for wanted in step.answers:
            if plain(wanted) not in said:
                raise Failed(f"README promises {wanted!r}, but:\n{at.text()}")

    def whole(self, command: str) -> str:
        return re.sub(r"\S+#…", self.address, command)

    def talk(self, step: Step, replies: list[tuple[str, Reply]]) -> None:
        """Types a command that asks for something."""
        code, shown = talk(self.hosts[step.machine], self.whole(step.command).split(), self.env(step.machine), replies,
                           str(self.lab.root / "newcomer"))
        said = [plain(line) for line in shown.splitlines()]
        if code != 0 or any(plain(wanted) not in said for wanted in step.answers):
            raise Failed(f"README promises {step.answers}, but {code}:\n{shown}")

    def works(self) -> bool:
        return self.run("laptop", "curl -sS -m 2 http://nas.home.int/").out.startswith("Hello from the NAS")

    def goes_by(self, relay: str) -> None:
        wait_for(f"the laptop reaches the NAS by {relay}",
                 lambda: self.works() and f"relayed by {relay}" in self.run("laptop", "tg client status").out, 15, 0.1,
                 lambda: str(self.run("laptop", "tg client status")) + self.lab.log_tails(only="newcomer"))

    def follow(self, text: str) -> None:
        for step in steps(text):
            self.type(step)

    def close(self) -> None:
        self.run("laptop", "tg client down")
        self.hosts["home"].sysctl("net.ipv4.ping_group_range", "0 2147483647")
        for host in self.hosts.values():
            kill_and_wait(host.pids(self.tg))
        shutil.rmtree(self.lab.root / "newcomer")


@pytest.fixture
def newcomer(session_tg: Tg, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    monkeypatch.delenv("TG_CAPTURE", raising=False)           # a newcomer's client chooses by itself
    session_tg.stop()
    made = Newcomer(lab)
    yield made
    made.close()


def look_of(laptop: Host) -> list[str]:
    return [laptop.run(c).ok().out for c in ("ip -br addr", "ip rule", "ip route show table all", "cat /etc/resolv.conf")]


def test_three_machines_by_the_readme_alone(newcomer: Newcomer, lab: Lab) -> None:
    text = chapter("Three real machines, step by step")
    toml = re.search(r"```toml\n(.*?)```", section(text, 1), re.S)
    assert toml
    (lab.root / "newcomer/home.toml").write_text(toml[1])
    before = look_of(lab.laptop)
    for number, least in ((1, 3), (2, 2), (3, 2), (4, 3), (5, 5)):
        assert len(steps(section(text, number))) >= least, f"step {number} of the README has no commands"
        if number == 5:
            more = re.search(r"```toml\n(.*?)```", section(text, number), re.S)
            assert more and "[[test]]" in more[1]
            with (lab.root / "newcomer/home.toml").open("a") as f:
                f.write("\n" + more[1])
        newcomer.follow(section(text, number))
    assert newcomer.works()
    newcomer.run("laptop", "ping -c 1 -W 5 nas.tg").ok()
    wait_for("the Resource of step 5 is there", lambda: newcomer.run("laptop", "curl -s http://web.home.int/").code == 0, 5)
    more_relays(newcomer, section(text, 6))
    by_service(newcomer)
    assert "the end" in text.lower()
    newcomer.follow(section(text, text[:text.lower().index(". the end")].count("\n### ")))
    assert look_of(lab.laptop) == before
    for machine in ("home", "relay", "server"):
        assert newcomer.stays.pop(machine).stop() == 0


def test_a_team_by_the_readme_alone(newcomer: Newcomer, lab: Lab) -> None:
    """The chapter for a team, after the first two steps of the one before. The provider's CA is one of its own, and the laptop
    was never enrolled."""
    first = chapter("Three real machines, step by step")
    text, machines = chapter("Running it for a team").split("\n### Machines without people\n")
    machines, policies = machines.split("\n### More than a membership: policies\n")
    policies, administers = policies.split("\n### Who administers, from where, and programs\n")
    tomls = [re.search(r"```toml\n(.*?)```", part, re.S) for part in (section(first, 1), text)]
    assert all(tomls) and "`--ca-bundle FILE`" in text
    home = lab.root / "newcomer/home.toml"
    home.write_text(tomls[0][1])                                       # type: ignore[index]
    with Provider(lab) as provider:
        serve, *then = steps(section(first, 1))
        newcomer.type(Step("server", f"{serve.command} --ca-bundle {provider.ca_file}", serve.answers))
        for step in then:
            newcomer.type(step)
        newcomer.follow(section(first, 2))
        with home.open("a") as f:
            f.write("\n" + tomls[1][1])                                # type: ignore[index]
        todo = steps(text)
        assert len(todo) >= 6
        for step in todo:
            if "--user" in step.command or "user password" in step.command:
                newcomer.talk(step, [("New password: ", PASSWORD), ("Once more: ", PASSWORD)] if "user password" in step.command else
                              [("Password of alice@example.com: ", PASSWORD), ("Code: ", lambda: code_of(newcomer.printed.strip()))])
            elif "client login" in step.command:
                shown = newcomer.run("server", "tg controller status").out
                pin = re.search(r"tg client login (\S+#[\w-]{43})\n", shown)
                assert pin
                newcomer.address = pin[1]
                newcomer.sign_in(step, provider, "alice")
            else:
                newcomer.type(step)
            if "client up" in step.command:
                wait_for("what the claim gives is there", lambda: newcomer.run("laptop", "curl -s http://web.home.int/").code == 0, 10)
        assert newcomer.works()
        newcomer.run("laptop", "tg client down").ok()
    without_people(newcomer, machines)
    more_than_a_membership(newcomer, policies)
    from_where(newcomer, administers)
    for machine in ("home", "server"):
        assert newcomer.stays.pop(machine).stop() == 0


def without_people(newcomer: Newcomer, text: str) -> None:
    toml = re.search(r"```toml\n(.*?)```", text, re.S)
    assert toml and len(steps(text)) >= 6
    with (newcomer.lab.root / "newcomer/home.toml").open("a") as f:
        f.write("\n" + toml[1])
    newcomer.hosts["runner"] = newcomer.lab.internet_host("runner", RUNNER)
    try:
        newcomer.follow(text)
        wait_for("the runner is out", lambda: newcomer.run("runner", "curl -sS -m 1 http://192.168.1.50/").code != 0, 5)
    finally:
        newcomer.run("runner", "tg client down")


def more_than_a_membership(newcomer: Newcomer, text: str) -> None:
    toml = re.search(r"```toml\n(.*?)```", text, re.S)
    assert toml and len(steps(text)) >= 7
    with (newcomer.lab.root / "newcomer/home.toml").open("a") as f:
        f.write("\n" + toml[1])
    try:
        for step in steps(text):
            newcomer.type(step)
            if "approve" in step.command:
                wait_for("it is approved", lambda: newcomer.run("laptop", "curl -s http://10.0.1.25/").code == 0, 5)
    finally:
        newcomer.run("laptop", "tg client down").ok()


def from_where(newcomer: Newcomer, text: str) -> None:
    assert len(steps(text)) >= 10
    for step in steps(text):
        newcomer.type(step)
        if "/networks" in step.command:
            assert [n["name"] for n in json.loads(newcomer.printed)["items"]] == ["home"]
        if "/me" in step.command:
            assert json.loads(newcomer.printed)["role"] == "owner"
    with_it = newcomer.run("laptop", "tg controller user list --api-token report.token")
    assert with_it.code == 4, with_it                      # it was deleted


def more_relays(newcomer: Newcomer, text: str) -> None:
    """Chapter 6, and what it says of relays."""
    toml = re.search(r"```toml\n(.*?)```", text, re.S)
    assert toml and len(steps(text)) >= 3 and "`tg controller serve --relay-listen none`" in text
    with (newcomer.lab.root / "newcomer/home.toml").open("a") as f:
        f.write("\n" + toml[1])
    newcomer.follow(text)
    address = re.search(r'address = "(.+)"', toml[1])
    assert address
    wait_for("the connector waits at the relay too", lambda: re.search(
        rf"^relay +{re.escape(address[1])}: connected", newcomer.run("home", "tg connector status").out, re.M), 10, 0.1)
    serve = steps(section(chapter("Three real machines, step by step"), 1))[0]
    assert newcomer.stays.pop("server").stop() == 0
    newcomer.goes_by(address[1])                           # a relay that runs goes on while the controller is away
    newcomer.type(Step("server", serve.command + " --relay-listen none"))
    wait_for("the controller is back", lambda: newcomer.run("server", "tg controller status").code == 0, 10, 0.1)
    newcomer.goes_by(address[1])


def by_service(newcomer: Newcomer) -> None:
    """Everything once more, with the commands, users and rights of the systemd units."""
    newcomer.run("laptop", "tg client down").ok()
    newcomer.hosts["home"].sysctl("net.ipv4.ping_group_range", "1 0")
    for machine, name in (("server", "controller"), ("relay", "relay"), ("home", "connector"), ("laptop", "client")):
        unit = dict(re.findall(r"^(\w+)=(.*)$", units()[f"tg-{name}.service"], re.M))
        if machine in newcomer.stays:
            assert newcomer.stays.pop(machine).stop() == 0
        rights = ["--no-new-privs"]
        if unit.get("User"):
            subprocess.run(["chown", "-R", f"{SERVICE}:{SERVICE}", newcomer.lab.root / "newcomer" / machine], check=True)
            rights += [f"--reuid={SERVICE}", f"--regid={SERVICE}", "--clear-groups"]
        def listed(key: str) -> str:
            return ",".join(["-all", *("+" + c.removeprefix("CAP_").lower() for c in unit[key].split())])
        if "CapabilityBoundingSet" in unit:
            rights += [f"--bounding-set={listed('CapabilityBoundingSet')}"]
        if "AmbientCapabilities" in unit:
            rights += [f"--{kind}-caps={listed('AmbientCapabilities')}" for kind in ("inh", "ambient")]
        newcomer.start(machine, ["setpriv", *rights, *unit["ExecStart"].removeprefix("/usr/local/bin/").split()])
    wait_for("all is online again", newcomer.works, 15, 0.1, lambda: newcomer.lab.log_tails(only="newcomer"))
    newcomer.run("laptop", "ping -c 1 -W 5 nas.tg").ok()


def units() -> dict[str, str]:
    """The systemd units of the README by their names; the relay's is made as its text says."""
    text = chapter("Three real machines, step by step")
    found = {name: unit for unit, name in re.findall(r"```ini\n(# (tg-\w+\.service).*?)```", text, re.S)}
    assert sorted(found) == ["tg-client.service", "tg-connector.service", "tg-controller.service"]
    assert "the connector's with `tg relay run`, `StateDirectory=tg/relay` and neither of the capabilities' lines" in text
    relay = found["tg-connector.service"].replace("connector", "relay")
    return {**found, "tg-relay.service": re.sub(r"^\w*Capabilit\w+=.*\n", "", relay, flags=re.M)}


@pytest.mark.parametrize("role", ["controller", "connector", "relay", "client"])
def test_systemd_understands_every_line_of_the_units(role: str, tmp_path: pathlib.Path) -> None:
    name = f"tg-{role}.service"
    unit = units()[name]
    assert "ExecStart=/usr/local/bin/tg " in unit
    (tmp_path / name).write_text(unit.replace("/usr/local/bin/tg ", f"{binary()} "))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), done
