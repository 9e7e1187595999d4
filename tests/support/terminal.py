"""A command at a terminal of its own, and what a person types there."""
from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
from typing import Callable, Mapping

from support.netns import Host

Reply = str | Callable[[], str]


def talk(host: Host, words: list[str], env: Mapping[str, str], replies: list[tuple[str, Reply]], folder: str = "") -> tuple[int, str]:
    """Runs a command in `host`; after each prompt, in this order, its reply is typed. Returns the exit status and all that the
    terminal has shown."""
    pid, fd = pty.fork()
    if pid == 0:
        if folder:
            os.chdir(folder)
        os.execvpe("ip", ["ip", "netns", "exec", host.namespace, *words], {**os.environ, **env})
    shown, left = b"", list(replies)
    with contextlib.suppress(OSError):                               # EIO: the other end has gone
        while True:
            ready, _, _ = select.select([fd], [], [], 30)
            if not ready:
                os.kill(pid, signal.SIGKILL)
                break
            chunk = os.read(fd, 4096)
            if not chunk:
                break
            shown += chunk
            if left and shown.endswith(left[0][0].encode()):
                reply = left.pop(0)[1]
                os.write(fd, (reply if isinstance(reply, str) else reply()).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert not left, f"nobody asked {left[0][0]!r}: {shown!r}"
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace").replace("\r\n", "\n")
