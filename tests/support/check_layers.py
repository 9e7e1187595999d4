#!/usr/bin/env python3
"""Checks what ARCHITECTURE.md says about who may include what, and where files are: check_layers.py [REPOSITORY]

Prints "FILE:LINE: what is wrong" for each finding. Exit status: 0 nothing was found, 1 something was, 2 the check
itself is broken: before it looks at the repository, every rule must find the mistake that `mistakes` makes for it.
"""
from __future__ import annotations

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOMS = ["core", "dns", "net", "cmd"]            # each may include itself and those before it
FOLDERS = {*ROOMS, "tests", "scripts"}
ROLES = {"client", "connector", "controller", "relay"}
PURE = {"core", "dns"}

# What a pure room may not include: sockets, files, threads, randomness, and what of BoringSSL is not a pure function.
IMPURE_HEADER = re.compile(
    r"sys/(?!types\.h$).*|netinet/.*|arpa/.*|net/.*|linux/.*|netdb\.h|poll\.h|unistd\.h|fcntl\.h|fstream|filesystem|"
    r"pthread\.h|thread|mutex|shared_mutex|condition_variable|future|random|coroutine|ctime|time\.h|"
    r"openssl/(rand|ssl|bio|x509v?3?)\.h")
IMPURE_CALL = re.compile(
    r"\w*_clock::now|\brandom_device\b|\bRAND_bytes\b|\bgetrandom\b|\bstd::(?:rand|time)\b|\bgettimeofday\b|"
    r"\bclock_gettime\b|\bgetenv\b|(?<![\w>])::(?:socket|open|connect|send|recv|read|write)\(")
INCLUDE = re.compile(r"""\s*#\s*include\s*(?:<(?P<system>[^>]+)>|"(?P<own>[^"]+)")""")
OUTSIDE = re.compile("/wo" "rk/|[.]{2}/sha" "red")   # places of one developer's machine


def code_of(line: str) -> str:
    """The line without its comment and what is in quotes; an include keeps its path."""
    if INCLUDE.match(line):
        return line
    return re.sub(r"//.*", "", re.sub(r'"(?:[^"\\]|\\.)*"', '""', line))


def wrong_include(path: str, system: str | None, own: str | None) -> str | None:
    room, *below = path.split("/")
    if system:
        if room in PURE and IMPURE_HEADER.fullmatch(system):
            return f"<{system}>: {room} is pure"
        if system.startswith(("asio/", "asio.", "boost/asio")) and path != "net/loop.cpp":
            return f"<{system}>: asio is known to net/loop.cpp alone"
        if system.startswith(("CLI/", "toml++/", "toml.hpp")) and room != "cmd" and not path.startswith("tests/cmd/"):
            return f"<{system}>: CLI11 and toml++ are cmd's alone"
        if system.startswith("CLI/") and room == "cmd" and (len(below) != 1 or not path.endswith(".cpp")):
            return f"<{system}>: it takes seconds to compile; cmd/declare.h has what declares a command"
        return None
    target, *inside = (own or "").split("/")
    if room in ROOMS:
        if target not in ROOMS:
            return f'"{own}": a path from the top of the repository is wanted'
        if ROOMS.index(target) > ROOMS.index(room):
            return f'"{own}": {room} comes before {target} and does not know it'
        if room == "cmd" and target == "cmd" and inside[0] in ROLES and below[0] in ROLES and inside[0] != below[0]:
            return f'"{own}": the {below[0]} does not know the {inside[0]}'
    return None


def findings_in(path: str, text: str) -> Iterator[str]:
    """What is wrong with one file, as "LINE: TEXT"."""
    for number, line in enumerate(text.splitlines(), 1):
        if OUTSIDE.search(line):
            yield f"{number}: names a place outside the repository"
        if not path.endswith((".h", ".cpp")):
            continue
        code = code_of(line)
        if include := INCLUDE.match(code):
            if wrong := wrong_include(path, include["system"], include["own"]):
                yield f"{number}: {wrong}"
        elif path.split("/")[0] in PURE and (call := IMPURE_CALL.search(code)):
            yield f"{number}: {call[0]}: times, randomness and I/O are parameters in {path.split('/')[0]}"


def findings(files: dict[str, str]) -> Iterator[str]:
    for path, text in sorted(files.items()):
        top, slash, _ = path.partition("/")
        if slash and top not in FOLDERS and not top.startswith("."):
            yield f"{path}:1: a top-level folder other than {', '.join(sorted(FOLDERS))}"
        yield from (f"{path}:{found}" for found in findings_in(path, text))


def mistakes() -> Iterator[tuple[str, str, bool]]:
    """A file, its text, and whether it is a mistake."""
    for text in ("#include <asio/io_context.hpp>", "#include <sys/socket.h>", "#include <netinet/in.h>",
                 "#include <arpa/inet.h>", "#include <thread>", "#include <random>", "  #  include <mutex>",
                 "#include <openssl/rand.h>", "#include <toml++/toml.h>", '#include "net/loop.h"',
                 '#include "cmd/command.h"', '#include "frame.h"', "auto t = std::chrono::steady_clock::now();",
                 "std::random_device r;", "const int fd = ::socket(1, 2, 3);"):
        yield "core/x.cpp", text, True
        yield "dns/x.h", text, True
    yield "core/x.cpp", '#include "dns/name.h"', True
    yield "net/x.cpp", '#include "cmd/command.h"', True
    yield "net/x.cpp", "#include <asio/post.hpp>", True
    yield "net/x.cpp", "#include <CLI/App.hpp>", True
    yield "cmd/client/x.cpp", '#include "cmd/controller/store.h"', True
    yield "lib/x.txt", "", True
    yield "README.md", "see /wo" "rk/main", True
    yield "tests/x.py", "open('.." "/shared/x')", True
    yield "core/x.cpp", "// steady_clock::now is not for us", False
    yield "core/x.cpp", 'const char* text = "random_device";', False
    yield "core/x.cpp", "#include <openssl/sha.h>", False
    yield "dns/x.h", '#include "core/bytes.h"', False
    yield "net/loop.cpp", "#include <asio/post.hpp>", False
    yield "net/x.cpp", "#include <sys/socket.h>", False
    yield "cmd/x.cpp", '#include "cmd/client/agent.h"', False
    yield "cmd/client/x.cpp", '#include "cmd/command.h"', False
    yield ".ci/run", "", False


def tracked(repository: pathlib.Path) -> list[str]:
    """The files of the repository; without git (an unpacked archive), all but what is built."""
    git = subprocess.run(["git", "-c", f"safe.directory={repository}", "-C", repository, "ls-files", "-z"],
                         capture_output=True, text=True, check=False)
    if git.returncode == 0:
        return [name for name in git.stdout.split("\0") if name]
    names = (p.relative_to(repository) for p in repository.rglob("*") if p.is_file())
    return [str(n) for n in names if n.parts[0] not in ("build", ".git") and "__pycache__" not in n.parts]


def main(argv: list[str]) -> int:
    repository = pathlib.Path(argv[0] if argv else pathlib.Path(__file__).parents[2]).resolve()
    broken = [f"{path}: {text}" for path, text, wrong in mistakes() if bool(list(findings({path: text}))) != wrong]
    if broken:
        print("check_layers: the check itself is broken:", *broken, sep="\n", file=sys.stderr)
        return 2
    names = [n for n in tracked(repository) if (repository / n).is_file()]
    if not any(n.startswith("core/") for n in names):
        print(f"check_layers: {repository} is not the repository of tg", file=sys.stderr)
        return 2
    found = list(findings({n: (repository / n).read_text(errors="replace") for n in names}))
    print(*found, f"{len(names)} files, {len(found)} findings", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
