"""Completion in real shells: what a person sees who presses Tab."""
from __future__ import annotations

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from typing import Callable

import pytest
from support.tg import binary

SHELLS = ["bash", "zsh", "fish"]

CASES = [
    ("tg ", {"client", "connector", "controller", "relay", "version", "completion"}, {"up", "--token"}),
    ("tg cl", {"client"}, {"connector"}),
    ("tg client ", {"up", "down", "ping", "netcheck", "dns", "report", "login", "logout"}, {"dance", "run"}),
    ("tg client n", {"netcheck"}, {"ping"}),
    ("tg client up --", {"--token", "--foreground", "--state", "--config", "--timeout"}, {"--count"}),
    ("tg client ping --json nas.home.int --c", {"--count", "--config"}, {"--json"}),
    ("tg client --", {"--help"}, {"--token"}),
    ("tg controller resource ", {"list", "create", "delete"}, {"token"}),
    ("tg completion ", {"bash", "zsh", "fish"}, {"client"}),
    ("tg client status --config ./fil", {"./file-to-complete"}, {"--json"}),
    ("tg controller apply ./fil", {"./file-to-complete"}, set()),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with tg on PATH, its scripts, and a file."""
    at = tmp_path_factory.mktemp("completion")
    (at / "bin").mkdir()
    (at / "bin/tg").symlink_to(binary())
    (at / "file-to-complete").touch()
    for shell in SHELLS:
        done = subprocess.run([binary(), "completion", shell], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        (at / f"tg.{shell}").write_text(done.stdout)
    return at


def environment(place: pathlib.Path) -> dict[str, str]:
    return {"PATH": f"{place}/bin:{os.environ['PATH']}", "HOME": str(place), "TERM": "dumb", "LC_ALL": "C",
            "COLUMNS": "300", "LINES": "60"}


def in_bash(place: pathlib.Path, line: str) -> set[str]:
    """Bash completes in a terminal only; its own machinery is asked as readline would."""
    words = line.split() + ([""] if line.endswith(" ") else [])
    quoted = " ".join(f"'{w}'" for w in words)
    script = f"""source {place}/tg.bash
        compopt() {{ COMPOPT="$*"; }}
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}
        complete=$(complete -p tg); complete=${{complete#*-F }}
        ${{complete%% *}} tg "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
        case ${{#COMPREPLY[@]}}$COMPOPT in 0*default*) compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}" ;; esac; true"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, cwd=place,
                          env=environment(place))
    assert done.stderr == ""
    return set(done.stdout.split())


def in_fish(place: pathlib.Path, line: str) -> set[str]:
    done = subprocess.run(["fish", "--no-config", "-c", f"source {place}/tg.fish; complete -C '{line}'"], text=True,
                          capture_output=True, check=True, cwd=place, env=environment(place))
    assert done.stderr == ""
    return {entry.split("\t")[0] for entry in done.stdout.splitlines()}


def at_terminal(place: pathlib.Path, argv: list[str], start: str, line: str, there: Callable[[str], bool], tabs: int = 1) -> str:
    """What is on the terminal of a shell after `line` and Tab, once what it shows has what is wanted `there` and says no more."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execvpe(argv[0], argv, environment(place))
    def read_until(done: Callable[[str], bool], quiet: float = 0.0) -> str:
        out, end = b"", time.monotonic() + 20
        while time.monotonic() < end:
            if select.select([fd], [], [], max(quiet, 0.05))[0]:
                try:
                    out += os.read(fd, 65536)
                except OSError:
                    break
                if quiet:
                    continue
            if done(out.decode(errors="replace")):
                break
        return out.decode(errors="replace")
    try:
        os.write(fd, (start + "; echo RE''ADY\n").encode())
        read_until(lambda shown: "READY\r\n" in shown)
        os.write(fd, (line + "\t" * tabs).encode())
        return read_until(there, quiet=0.5)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)


def in_zsh(place: pathlib.Path, line: str) -> set[str]:
    """zsh completes in a terminal only. What it offers is caught where the completion system hands it over."""
    caught = place / "caught"
    caught.write_text("")
    start = ("PS1='> '; autoload -Uz compinit && compinit -u; zstyle ':completion:*' verbose no; "
             f"source {place}/tg.zsh; "
             f"compadd() {{ local -a got; builtin compadd -O got \"$@\"; print -rl -- $got >> {caught}; "
             "builtin compadd \"$@\"; }")
    at_terminal(place, ["zsh", "-f", "-i"], start, line, lambda _: caught.stat().st_size > 0, tabs=2)
    return set(caught.read_text().split())


COMPLETE = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


@pytest.mark.parametrize("line,there,not_there", CASES)
@pytest.mark.parametrize("shell", SHELLS)
def test_completion(place: pathlib.Path, shell: str, line: str, there: set[str], not_there: set[str]) -> None:
    if not shutil.which(shell):
        pytest.fail(f"{shell} is missing: scripts/setup --tests installs it")
    got = COMPLETE[shell](place, line)
    if shell == "zsh" and any(w.startswith("./") for w in there):
        got = {f"./{w}" for w in got}                               # _files offers the last part of a path
        not_there = set()
    assert there <= got, f"{shell}: {line!r} offers {sorted(got)}"
    assert not (not_there & got), f"{shell}: {line!r} offers {sorted(got)}"


def test_bash_at_a_terminal(place: pathlib.Path) -> None:
    shown = at_terminal(place, ["bash", "--norc", "-i"], f"PS1='> '; source {place}/tg.bash", "tg client netch", lambda s: "netcheck " in s)
    assert re.search(r"tg client netcheck ", shown), repr(shown)


def test_zsh_loads_the_script_from_fpath(place: pathlib.Path) -> None:
    functions = place / "functions"
    functions.mkdir()
    shutil.copy(place / "tg.zsh", functions / "_tg")
    start = f"PS1='> '; fpath=({functions} $fpath); autoload -Uz compinit && compinit -u -D"
    shown = at_terminal(place, ["zsh", "-f", "-i"], start, "tg client netch", lambda s: "netcheck" in s.replace("\b", ""))
    assert "tg client netcheck" in shown.replace("\b", "") and "\a" not in shown, repr(shown)
