"""Very many Resources: how long `tg controller apply` takes, when the client has them, and how long others wait meanwhile."""
from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from memory import settled
from processes import cpu
from support.dnswire import NOERROR, ask
from support.netns import wait_for
from support.tg import STUB, Tg, resource


NETWORKS = 10           # a person reaches 20,000 Resources of one at most


def policy(count: int) -> str:
    networks = "".join(f'[[network]]\nname = "many-{n}"\n' for n in range(NETWORKS))
    return networks + "".join(
        resource(f"Many {i}", f"many{i}.home.int").replace('"home"', f'"many-{i % NETWORKS}"') for i in range(count))


class Asking:
    """Asks the client for a name that it knows, again and again; `slowest` is how long an answer took at most."""

    def __init__(self, tg: Tg) -> None:
        self.tg, self.slowest, self._ended = tg, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self) -> None:
        while not self._ended.wait(0.005):
            began = time.monotonic()
            with contextlib.suppress(OSError):
                ask(self.tg.lab.laptop, STUB, "nas.home.int", timeout=60)
            self.slowest = max(self.slowest, time.monotonic() - began)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)


def measure(tg: Tg, count: int) -> dict[str, Any]:
    """From before the command is typed. The client's Matcher is whole at once: when it answers for the last it has them all."""
    assert tg.controller
    path = tg.lab.root / "many.toml"
    path.write_text(tg.policy + policy(count))
    (client,) = tg.client_pids()
    controller = tg.controller.pid
    used = {pid: cpu(pid) for pid in (client, controller)}
    def answered() -> bool:
        found = ask(tg.lab.laptop, STUB, f"many{count - 1}.home.int", timeout=60)
        return found.rcode == NOERROR and bool(found.answer)
    with Asking(tg) as meanwhile:
        began = time.monotonic()
        command = tg.run(tg.lab.internet, "controller apply", str(path), "--timeout", "300", timeout=310).ok().seconds
        wait_for("the client answers for the last Resource", answered, 120, 0.01, tg.explain)
        took = time.monotonic() - began
    return {"resources": count, "apply": command, "answered": took, "slowest_answer": meanwhile.slowest,
            "client_cpu": cpu(client) - used[client], "controller_cpu": cpu(controller) - used[controller],
            "client": settled(client), "controller": settled(controller)}
