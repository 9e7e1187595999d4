"""Programs of ours that simulate many agents (agents.cpp, tunnels.cpp): told by lines on stdin, heard by events on stdout, a JSON
object a line."""
from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import Any

from support.netns import Failed, Host, Process, stops


class Simulated:
    """One such program, in a host. It ends with end(), or with the host."""

    def __init__(self, host: Host, name: str, *command: object) -> None:
        argv, log = host.argv(list(command)), host.space.logs / f"{host.name}-{name}.log"
        with log.open("ab") as errors, stops.held():
            self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                          start_new_session=True, cwd=host.space.root)
            host.space.processes.append(Process(self.popen, f"{host.name}-{name}", log, 0, argv, time.monotonic()))
        self._heard = b""

    def tell(self, line: str) -> None:
        assert self.popen.stdin
        try:
            self.popen.stdin.write(line.encode() + b"\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            self.hear("nothing: it has ended", 10)

    def hear(self, name: str, deadline: float) -> dict[str, Any]:
        """The next event of that name."""
        assert self.popen.stdout
        end = time.monotonic() + deadline
        while True:
            line, newline, rest = self._heard.partition(b"\n")
            if newline:
                self._heard = rest
                event = json.loads(line)
                if event["event"] == "failed":
                    raise Failed(f"the simulated agents gave up: {event['text']}")
                if event["event"] == name:
                    return event
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.popen.stdout], [], [], left)[0]:
                raise Failed(f"not within {deadline:g} s: the simulated agents say \"{name}\"")
            more = os.read(self.popen.stdout.fileno(), 65536)
            if not more:
                raise Failed(f"the simulated agents ended with {self.popen.wait()}")
            self._heard += more

    def ask(self, line: str, name: str, deadline: float) -> dict[str, Any]:
        self.tell(line)
        return self.hear(name, deadline)

    def end(self) -> None:
        assert self.popen.stdin
        self.popen.stdin.close()
        self.popen.wait(30)
