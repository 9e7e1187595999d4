"""README's chapter "Three real machines", done by its text alone: every command that it shows is typed on the machine of its
prompt, and every line that it shows as an answer has to come."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Iterator

import pytest
from support.lab import Lab
from support.netns import Failed, Host, Process, Result, kill_and_wait, wait_for
from support.tg import REPOSITORY, Tg, binary

STAYS = re.compile(r"tg (controller serve|connector run|relay run)\b")
# What differs from one machine or day to another.
VARIES = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"), (r"\btg-[0-9a-f]{8}\b", "INSTANCE"), (r"\btg1_\S+", "TOKEN"),
    (r"\b100\.(9[6-9]|1[01]\d)\.\d+\.\d+\b(?!/)", "ADDRESS"), (r"\b\d+(\.\d+)? ms\b", "N ms"), (r"\b\d+ (tunnels|flows)\b", r"N \1"),
    (r" --state \S+", ""), (r"\s+", " "),
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
        prompt = re.match(r"(server|home|laptop|relay)\$ (.*)", line)
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
    """Somebody with three machines and the README."""

    def __init__(self, lab: Lab) -> None:
        self.hosts = {"server": lab.internet, "home": lab.connector, "laptop": lab.laptop}
        self.lab, self.token, self.stays = lab, "", dict[str, Process]()
        tools = lab.root / "newcomer/bin"
        tools.mkdir(parents=True)
        (tools / "tg").symlink_to(binary())
        (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (tools / "sudo").chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def env(self, machine: str) -> dict[str, str]:
        """Only the state is not where the README has it: this machine may have a tg of its own."""
        return {"PATH": self.path, "TG_STATE": str(self.lab.root / "newcomer" / machine)}

    def run(self, machine: str, command: str) -> Result:
        return self.hosts[machine].run(f"cd newcomer && {command}", 40, env=self.env(machine))

    def type(self, step: Step) -> None:
        command = re.sub(r"tg1_…", self.token, step.command)
        assert "…" not in command, command
        if STAYS.search(command):
            if old := self.stays.pop(step.machine, None):
                assert old.stop() == 0
            process = self.hosts[step.machine].start(command.split(), f"newcomer-{step.machine}", env=self.env(step.machine))
            self.stays[step.machine] = process
            for wanted in step.answers:
                wait_for(f"{command} says {wanted!r}", lambda: plain(wanted) in map(plain, process.text().splitlines()), 10,
                         explain=process.text)
            return
        result = self.run(step.machine, command).ok()
        lines = [plain(line) for line in (result.out + result.err).splitlines()]
        for wanted in step.answers:
            if plain(wanted) not in lines:
                raise Failed(f"README promises {wanted!r}, but:\n{result}")
        if found := re.fullmatch(r"(tg1_\S+)\n", result.out):
            self.token = found[1]

    def follow(self, text: str) -> None:
        for step in steps(text):
            self.type(step)

    def close(self) -> None:
        self.run("laptop", "tg client down")
        for host in self.hosts.values():
            kill_and_wait(host.pids(binary()))


@pytest.fixture
def newcomer(session_tg: Tg, lab: Lab) -> Iterator[Newcomer]:
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
    for number, least in ((1, 3), (2, 2), (3, 2), (4, 3), (5, 1)):
        assert len(steps(section(text, number))) >= least, f"step {number} of the README has no commands"
        newcomer.follow(section(text, number))
    assert newcomer.run("laptop", "curl -s http://nas.home.int/").ok().out.startswith("Hello from the NAS")
    newcomer.run("laptop", "ping -c 1 -W 5 nas.tg").ok()
    wait_for("the Resource of step 5 is there", lambda: newcomer.run("laptop", "curl -s http://web.home.int/").code == 0, 5)
    assert "the end" in text.lower()
    newcomer.follow(section(text, text[:text.lower().index(". the end")].count("\n### ")))
    assert look_of(lab.laptop) == before
    for machine in ("home", "server"):
        assert newcomer.stays[machine].stop() == 0
