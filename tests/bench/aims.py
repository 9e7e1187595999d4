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
    found: float | None             # None: not measured

    @property
    def reached(self) -> bool:
        return self.found is not None and OPERATORS[self.how](self.found, self.wanted)

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.what}: not measured ({self.how} {self.wanted:g} {self.unit})"
        verdict = "as wanted" if self.reached else "NOT as wanted"
        return f"{self.what}: {self.found:.3g} {self.unit}, {verdict} ({self.how} {self.wanted:g})"


def median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def aims(f: Figures) -> list[Aim]:
    """Ratios are medians of those of the rounds."""
    def at_least(times: float, metric: str, other: str) -> Aim:
        return Aim(metric, "≥", times, f"× {other}", median(f.ratios("tg", other, metric)))
    def memory(kind: str, key: str, unit: float) -> float | None:
        return f.memory[kind][key] / unit if f.memory else None
    bulk = ("up", "down", "4 flows")
    slower_p50 = [1 / ratio for ratio in f.ratios("tg", "HAProxy TLS pair", "p50")]
    return [
        *(at_least(1.2, metric, "HAProxy TLS pair") for metric in bulk),
        *(at_least(5, metric, other) for other in ("wireguard-go", "nebula") for metric in bulk),
        *(Aim(f"{metric}, relayed", "≥", 0.8, "× direct", median(f.ratios("tg, relayed", "tg", metric)))
          for metric in ("up", "down", "keep-alive")),
        at_least(0.6, "new connections", "bare path"),
        at_least(1.3, "keep-alive", "HAProxy TLS pair"),
        Aim("p50", "≤", 1, "× HAProxy TLS pair", median(slower_p50)),
        Aim("p99 beside bulk", "≤", 3, "× its own p99", median(f.beside_bulk("tg"))),
        Aim("DNS answers", "≥", 1.5, "× unbound, one thread", median(f.dns_ratios("unbound, one thread"))),
        Aim("memory of an idle client", "<", 15, "MB", f.memory["client"] / 1e6 if f.memory else None),
        Aim("memory of the connector, an idle flow", "<", 6, "KiB", memory("flow", "connector_each", 1024)),
        Aim("memory of the connector, an idle tunnel", "<", 64, "KiB", memory("tunnel", "each", 1024)),
        Aim("processor of a client with 64 idle flows", "<", 0.1, "% of a core", memory("idle", "percent", 1)),
    ]
