"""scripts/demo as people run it: told to its end, interrupted, kept and ended. With the release build, unless TG_BINARY
names another tg. conftest.py keeps this file out of runs of the whole folder: `scripts/test demo` names it."""
from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Iterator

import pytest
from support.lab import NAS_PAGE
from support.netns import ETC_NETNS, NETNS, Failed, kill_and_wait, remove, wait_for
from support.tg import REPOSITORY

DEMO = REPOSITORY / "scripts/demo"
BUILD = 900.0           # seconds that scripts/demo has to build the release, when nobody has yet
STORY = 120.0


class Told:
    """A demo that runs: the folder in which alone it may write, and what it prints."""

    def __init__(self, *arguments: str) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tgdemo-"))
        self.folder.chmod(0o755)                             # sshd reads a key there as another user
        self.tmp = self.folder / "tmp"
        self.tmp.mkdir()
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([DEMO, *arguments], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True, env=self.env())

    def env(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.tmp)}

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_line(self, pattern: str, deadline: float) -> None:
        def there() -> bool:
            if re.search(pattern, self.text(), re.M):
                return True
            if self.process.poll() is not None:
                raise Failed(f"the demo ended with {self.process.returncode} before {pattern!r}:\n{self.text()}")
            return False
        wait_for(f"the demo says {pattern!r}", there, deadline, explain=self.text)

    def wait(self, deadline: float) -> int:
        try:
            return self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise Failed(f"the demo did not end within {deadline:g} s:\n{self.text()[-3000:]}") from None

    def names(self) -> set[str]:
        """The namespaces and /etc/netns entries of this demo: its process (the shell becomes Python) is in their names."""
        own = re.compile(rf"tg{self.process.pid}[0-9a-f]{{4}}-\w+")
        folders = [f for f in (NETNS, ETC_NETNS) if f.exists()]
        return {str(p) for folder in folders for p in folder.iterdir() if own.fullmatch(p.name)}

    def processes(self) -> dict[int, str]:
        """What runs with the demo's folder in its environment, arguments or directory: everything that it started."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    about = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                    if str(self.tmp).encode() in about + os.readlink(entry / "cwd").encode():
                        found[int(entry.name)] = (entry / "comm").read_text().strip()
        return found

    def nothing_is_left(self) -> None:
        assert self.names() == set()
        assert list(self.tmp.iterdir()) == []
        assert self.processes() == {}

    def close(self) -> None:
        """Also when a test failed, nothing stays."""
        kill_and_wait(list(self.processes()))
        self.process.wait()
        for name in {pathlib.Path(n).name.rsplit("-", 1)[0] for n in self.names()}:
            remove(name)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def told(*arguments: str) -> Iterator[Told]:
    made = Told(*arguments)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.skipif(bool(os.environ.get("TG_BINARY")), reason="of the release build only")
def test_the_release_runs_where_there_is_nothing_else() -> None:
    """No loader, no library, no /proc, no /etc: only the one file."""
    with tempfile.TemporaryDirectory() as empty:
        shutil.copy(REPOSITORY / "build/release/tg", f"{empty}/tg")
        done = subprocess.run(["chroot", empty, "/tg", "version"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.startswith("tg "), done


def test_every_line_of_the_story_holds_and_nothing_is_left() -> None:
    with told() as demo:
        assert demo.wait(BUILD + STORY) == 0, demo.text()
        held, failed = map(int, re.findall(r"^(\d+) held, (\d+) did not$", demo.text(), re.M)[-1])
        assert held >= 60 and failed == 0
        demo.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_lab_is_built_leaves_nothing(number: signal.Signals) -> None:
    with told() as demo:
        wait_for("the first host is there", demo.names, BUILD, explain=demo.text)
        interrupt(demo, number)
        assert not re.search(r"^1\. ", demo.text(), re.M), "the lab was not ready yet"


@pytest.mark.parametrize("chapter,number", [("Use it", signal.SIGINT), ("Everything else", signal.SIGTERM),
                                            ("Down", signal.SIGINT)])
def test_a_signal_in_the_middle_leaves_nothing(chapter: str, number: signal.Signals) -> None:
    with told() as demo:
        demo.wait_line(rf"^\d+\. {chapter}", BUILD + STORY)
        assert len(demo.names()) >= 10, "or this test would not see what is left"
        assert {"tg", "dnsmasq", "nginx", "sshd", "tcpdump"} <= set(demo.processes().values()), demo.processes()
        interrupt(demo, number)


def interrupt(demo: Told, number: signal.Signals) -> None:
    """Ctrl-C reaches everything in the terminal's foreground, kill one process."""
    if number == signal.SIGINT:
        os.killpg(demo.process.pid, number)
    else:
        demo.process.send_signal(number)
    assert demo.wait(20) == 128 + number, demo.text()
    assert not re.search(r"^\d+ held", demo.text(), re.M), "it was interrupted in the middle"
    demo.nothing_is_left()


def test_what_was_kept_runs_on_until_it_is_ended() -> None:
    with told("--keep") as demo:
        assert demo.wait(BUILD + STORY) == 0, demo.text()
        (name,) = re.findall(r"^  sudo scripts/demo --end (\S+)$", demo.text(), re.M)
        scripts = {pathlib.Path(s).name.removeprefix("enter-"): s
                   for s in re.findall(r"^  sudo (\S+/enter-\w+)$", demo.text(), re.M)}
        assert set(scripts) == {"laptop", "internet", "router", "nas", "connector"}
        for host, script in scripts.items():
            inode = (NETNS / f"{name}-{host}").stat().st_ino
            assert entered(script, "readlink", "/proc/self/ns/net") == f"net:[{inode}]\n"
            assert entered(script, "sh", "-c", "printf '%s|' \"$@\"", "sh", "two  words", "*", "") == "two  words|*||"
            assert entered(script, stdin="echo $((6 * 7)); readlink /proc/self/ns/net\n") == f"42\nnet:[{inode}]\n"
        assert entered(scripts["laptop"], "curl", "-sS", "http://nas.home.int/") == NAS_PAGE
        assert "online as alice@example.com" in entered(scripts["laptop"], "tg", "client", "netcheck")
        assert entered(scripts["connector"], "tg", "connector", "health").startswith("healthy: ")
        assert "home-1" in entered(scripts["internet"], "tg", "controller", "connector", "list")
        ended = subprocess.run([DEMO, "--end", name], env=demo.env(), capture_output=True, text=True, timeout=30)
        assert ended.returncode == 0, ended
        demo.nothing_is_left()


def entered(script: str, *command: str, stdin: str = "") -> str:
    done = subprocess.run([script, *command], input=stdin, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    return done.stdout
