"""What processes have used so far, read from /proc."""
from __future__ import annotations

import contextlib
import os
import pathlib
import re
import time
from typing import Iterable

from support.netns import numbered

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used, and those of its children that it has waited for. Threads that have
    ended are in it."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


def total_cpu(pids: Iterable[int]) -> float:
    """The sum of those that still run."""
    seconds = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            seconds += cpu(pid)
    return seconds


def scheduled(pid: int) -> float:
    """As cpu() of the process alone, but from the scheduler's nanoseconds: for what uses less than a tick."""
    return sum(int(text.split()[0]) for text in numbered(f"/proc/{pid}/task", "schedstat")) / 1e9


def busy(seconds: float = 1.0) -> float:
    """How much of the machine's processors was in use in the next seconds, by anybody: 0 to 1."""
    def read() -> tuple[int, int]:
        fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    total, idle = read()
    time.sleep(seconds)                  # which is what is measured
    total_then, idle_then = read()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def resident(pid: int) -> int:
    """Bytes that are in memory, the program's own file among them."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)[1]) * 1024      # type: ignore[index]


def name(pid: int) -> str:
    """As the kernel calls it; "" when it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
