"""What processes have used so far, read from /proc."""
from __future__ import annotations

import contextlib
import os
import pathlib
import re
from typing import Iterable

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
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


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
