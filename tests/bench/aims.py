"""What tg is meant to reach, and whether it has in this run."""
from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Callable

from figures import Figures

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "≥": lambda a, b: a >= b, "≤": lambda a, b: a <= b, "<": lambda a, b: a < b}


@dataclass
class Aim:
    what: str
    how: str                        # of OPERATORS
    wanted: float
    unit: str
    values: list[float]             # of the rounds; none: not measured

    @property
    def reached(self) -> bool:
        return bool(self.values) and OPERATORS[self.how](statistics.median(self.values), self.wanted)

    def __str__(self) -> str:
        if not self.values:
            return f"{self.what}: not measured ({self.how} {self.wanted:g} {self.unit})"
        spread = f" ({min(self.values):.3g}–{max(self.values):.3g})" if len(self.values) > 1 else ""
        verdict = "as wanted" if self.reached else "NOT as wanted"
        return f"{self.what}: {statistics.median(self.values):.3g}{spread} {self.unit}; {verdict}, {self.how} {self.wanted:g}"


def aims(f: Figures) -> list[Aim]:
    """Ratios are medians of those of the rounds, and have the least and the best beside them."""
    def at_least(times: float, metric: str, other: str) -> Aim:
        return Aim(metric, "≥", times, f"× {other}", f.ratios("tg", other, metric))
    def at_rest(kind: str, key: str, unit: float) -> list[float]:
        return [f.memory[kind][key] / unit] if f.memory else []
    bulk = ("up", "down", "4 flows")
    return [
        *(at_least(1.2, metric, "HAProxy TLS pair") for metric in bulk),
        *(at_least(5, metric, other) for other in ("wireguard-go", "nebula") for metric in bulk),
        *(Aim(f"{metric}, relayed", "≥", 0.8, "× direct", f.ratios("tg, relayed", "tg", metric))
          for metric in ("up", "down", "keep-alive")),
        at_least(0.6, "new connections", "bare path"),
        at_least(1.3, "keep-alive", "HAProxy TLS pair"),
        Aim("p50", "≤", 1, "× HAProxy TLS pair", [1 / ratio for ratio in f.ratios("tg", "HAProxy TLS pair", "p50")]),
        Aim("p99 beside bulk", "≤", 3, "× its own p99", f.beside_bulk("tg")),
        Aim("four clients at once, two threads", "≥", 1.7, "× one thread", f.crowd_ratios(2)),
        Aim("DNS answers", "≥", 1.5, "× unbound, one thread", f.dns_ratios("unbound, one thread")),
        Aim("match, a name", "<", 300, "ns", f.matched("name")),
        Aim("match, an address", "<", 300, "ns", f.matched("address")),
        Aim("match, memory of the index", "<", 150, "bytes a Resource", f.matched("bytes")),
        Aim("memory of an idle client", "<", 15, "MB", [f.memory["client"] / 1e6] if f.memory else []),
        Aim("memory of the connector, an idle flow", "<", 6, "KiB", at_rest("flow", "connector_each", 1024)),
        Aim("memory of the connector, an idle tunnel", "<", 64, "KiB", at_rest("tunnel", "each", 1024)),
        Aim("processor of a client with 64 idle flows", "<", 0.1, "% of a core", at_rest("idle", "percent", 1)),
    ]
