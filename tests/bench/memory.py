"""What tg holds and does when nothing happens: the memory of its client and of its connector, an idle flow, an idle tunnel, and
the processor time of a client with idle flows."""
from __future__ import annotations

import contextlib
import time
from typing import Any

from processes import resident, scheduled
from support.lab import NAS
from support.many_flows import many
from support.netns import wait_for
from support.tg import Tg
from ways import Client

PORT = 9100
CROWD = "198.18.100."


def settled(pid: int) -> int:
    """The memory of a process once it is the same for half a second."""
    seen = [resident(pid)]
    def same() -> bool:
        seen.append(resident(pid))
        return len(seen) > 5 and len(set(seen[-5:])) == 1
    wait_for("memory stays the same", same, 30, 0.1)
    return seen[-1]


def flows(tg: Tg, count: int) -> dict[str, Any]:
    """So many TCP flows, each used once: what each adds to both ends."""
    assert tg.connector
    client, connector = tg.client_pids()[0], tg.connector.pid
    before = settled(client), settled(connector)
    with contextlib.ExitStack() as stack:
        many(stack, tg, NAS, tg.lookup("nas.home.int"), PORT, count)
        after = settled(client), settled(connector)
    return {"flows": count, "client_before": before[0], "client_after": after[0], "connector_before": before[1],
            "connector_after": after[1], "client_each": (after[0] - before[0]) / count,
            "connector_each": (after[1] - before[1]) / count}


def idle_cpu(tg: Tg, count: int, seconds: float) -> dict[str, Any]:
    """With so many flows that carry nothing."""
    client = tg.client_pids()[0]
    with contextlib.ExitStack() as stack:
        many(stack, tg, NAS, tg.lookup("nas.home.int"), PORT + 1, count)
        settled(client)
        used, began = scheduled(client), time.monotonic()
        time.sleep(seconds)              # which is what is measured
        used, took = scheduled(client) - used, time.monotonic() - began
    return {"flows": count, "seconds": took, "cpu_seconds": used, "percent": 100 * used / took}


def tunnels(tg: Tg, count: int, clients: list[Client]) -> dict[str, Any]:
    """So many more clients, each on a machine of its own, with a tunnel to the connector and nothing in it; they go to
    `clients`."""
    assert tg.connector
    connector = tg.connector.pid
    before = settled(connector)
    for number in range(count):
        host = tg.lab.internet_host(f"crowd{number}", f"{CROWD}{2 * number + 1}")
        clients.append(Client(tg, host, "alice@example.com"))
    for client in clients:
        client.wait("direct")
    after = settled(connector)
    return {"tunnels": count, "before": before, "after": after, "each": (after - before) / count}


def measure(tg: Tg, flow_count: int, tunnel_count: int, seconds: float) -> dict[str, Any]:
    """Of a client and a connector that have just been started and have carried nothing. The tunnels stay until the end: what is
    free again in a process would be taken by what comes next, and would count as nothing."""
    assert tg.connector
    clients: list[Client] = []
    try:
        return {"client": settled(tg.client_pids()[0]), "connector": settled(tg.connector.pid),
                "tunnel": tunnels(tg, tunnel_count, clients), "flow": flows(tg, flow_count), "idle": idle_cpu(tg, 64, seconds)}
    finally:
        for client in clients:
            client.stop()
