"""Draws the figures of a run as SVG: a panel for each, a bar for each way, a thin line from the least to the best round.

    chart.py FILE        of a file that bench.py wrote with --json, to standard output

It has a background of its own, light or dark as the reader prefers, and so is as legible on every page.
"""
from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from figures import Figures

WIDTH, MARGIN, GAP = 940, 32, 44
PANEL = (WIDTH - 2 * MARGIN - GAP) // 2
LABEL, VALUE = 118, 58                 # left and right of the bars
HEAD, STEP, BAR, FOOT = 50, 19, 12, 26
TOP, CAPTION_LINE = 88, 17
CUT = 3.0                              # a bar that is so many times the next is cut
ORDER = ["tg", "tg, relayed", "HAProxy TLS pair", "wireguard-go", "nebula", "sshuttle"]
PANELS = [     # a metric, its title, and its unit
    ("up", "One flow up", "Gbit/s"), ("down", "One flow down", "Gbit/s"),
    ("4 flows", "Four flows down", "Gbit/s"), ("64 flows", "64 flows down", "Gbit/s"),
    ("keep-alive", "Requests, 16 connections", "thousand/s"), ("new connections", "New connections", "thousand/s"),
    ("p50", "One request at a time", "p50, µs, less is better"),
    ("p99 beside bulk", "One request beside four bulk flows", "p99, ms, less is better")]
SCALES = {"thousand/s": 1e3, "p99, ms, less is better": 1e3}
LIGHT = {"page": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "soft": "#59636e", "rule": "#d8dee4", "own": "#1a66d6",
         "own2": "#7fb0f5", "other": "#a9b4bf", "line": "#1f2328"}
DARK = {"page": "#0d1117", "edge": "#30363d", "ink": "#f0f6fc", "soft": "#9198a1", "rule": "#2b323b", "own": "#4c9aff",
        "own2": "#2c5c9e", "other": "#545d68", "line": "#f0f6fc"}


@dataclass
class Bar:
    name: str
    values: list[float]                # of the rounds
    note: str = ""                     # in place of a bar

    @property
    def middle(self) -> float:
        return statistics.median(self.values) if self.values else 0.0


@dataclass
class Panel:
    title: str
    unit: str
    bars: list[Bar]
    ratios: list[tuple[str, float]] = field(default_factory=list)


def panels(f: Figures) -> list[Panel]:
    out = []
    for metric, title, unit in PANELS:
        if not f.values("tg", metric):
            continue
        scale = SCALES.get(unit, 1.0)
        bars = [Bar(way, [v / scale for v in f.values(way, metric)], "not run" if way in f.not_run else "") for way in ORDER
                if f.values(way, metric) or way in f.not_run]
        ratios = [(name, statistics.median(r)) for name, other in (("HAProxy", "HAProxy TLS pair"), ("bare path", "bare path"))
                  if (r := f.ratios("tg", other, metric))]
        out.append(Panel(title, unit, bars, ratios))
    cost = [Bar(way, [sum(f.cpu(way).values())]) for way in ORDER if f.cpu(way)]
    if any(bar.name == "tg" for bar in cost):
        mine = {bar.name: bar.middle for bar in cost}
        ratios = [("HAProxy", mine["HAProxy TLS pair"] / mine["tg"])] if "HAProxy TLS pair" in mine else []
        out.append(Panel("Processor time of both ends", "seconds a gigabyte, less is better", cost, ratios))
    if any(f.dns.get("tg", [])):
        bars = [Bar(name.split(",")[0], [v / 1e3 for v in values if v is not None]) for name, values in f.dns.items()]
        ratios = [(name.split(",")[0], statistics.median(r)) for name in f.dns if name != "tg" and (r := f.dns_ratios(name))]
        out.append(Panel("DNS answers for names of its own", "thousand/s", bars, ratios[::-1]))
    return out


def value(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    at = f' text-anchor="{anchor}"' if anchor != "start" else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{style}{at}>{escape(words)}</text>'


def full(panel: Panel) -> tuple[float, float]:
    """What a bar of the whole width stands for, and from what value on bars are cut."""
    highest = sorted((bar.middle for bar in panel.bars), reverse=True)
    if len(highest) > 1 and "less" in panel.unit and highest[0] > CUT * highest[1] > 0:
        return highest[1] * 1.35, highest[1] * 1.35
    return max([*highest, *(max(bar.values) for bar in panel.bars if bar.values)]), float("inf")


def draw_bar(bar: Bar, x: float, y: float, most: float, cut: float) -> list[str]:
    room = PANEL - LABEL - VALUE
    own = {"tg": "own", "tg, relayed": "own2"}.get(bar.name, "other")
    centre = y + BAR / 2 + 4
    out = [text(x + LABEL - 10, centre, bar.name, "name mine" if bar.name == "tg" else "name", "end")]
    if not bar.values:
        return [*out, text(x + LABEL, centre, bar.note, "name")]
    end = min(bar.middle / most, 1.0) * room
    out.append(f'<rect class="{own}" x="{x + LABEL:g}" y="{y:g}" width="{max(end, 1.5):.1f}" height="{BAR}" rx="2"/>')
    right = end
    if bar.middle > cut:
        at = x + LABEL + end - 26
        out.append(f'<path class="cut" d="M{at:.1f} {y + BAR + 2:g} l6 -{BAR + 4} m5 0 l-6 {BAR + 4}"/>')
    elif len(bar.values) > 1:
        low, high = (min(v / most, 1.0) * room for v in (min(bar.values), max(bar.values)))
        right = max(end, high)
        out.append(f'<path class="line" d="M{x + LABEL + low:.1f} {y + BAR / 2:g} H{x + LABEL + high:.1f}"/>')
    return [*out, text(x + LABEL + right + 6, centre, value(bar.middle), "value mine" if bar.name == "tg" else "value")]


def draw_panel(panel: Panel, x: float, y: float) -> list[str]:
    out = [text(x, y + 14, panel.title, "title"), text(x, y + 31, panel.unit, "unit")]
    for number, (name, ratio) in enumerate(panel.ratios[:2]):
        out.append(text(x + PANEL, y + 14 + 17 * number, f"tg : {name} {ratio:.2f}", "ratio" if not number else "unit", "end"))
    most, cut = full(panel)
    out.append(f'<path class="axis" d="M{x + LABEL - 0.5:g} {y + HEAD - 7:g} V{y + HEAD + STEP * len(panel.bars):g}"/>')
    for number, bar in enumerate(panel.bars):
        out += draw_bar(bar, x, y + HEAD + STEP * number - 3, most, cut)
    return out


def style() -> str:
    def colours(of: dict[str, str]) -> str:
        return "svg{" + "".join(f"--{name}:{colour};" for name, colour in of.items()) + "}"
    return (colours(LIGHT) + "@media(prefers-color-scheme:dark){" + colours(DARK) + "}"
            'text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink);'
            "font-variant-numeric:tabular-nums}"
            ".page{fill:var(--page);stroke:var(--edge)}.head{font-size:19px;font-weight:650}"
            ".title{font-size:14px;font-weight:600}"
            ".lead,.unit,.name,.value,.caption{fill:var(--soft)}.lead{font-size:13px}.caption{font-size:11.5px}"
            ".mine{fill:var(--ink);font-weight:650}.ratio{fill:var(--own);font-weight:650}"
            ".own{fill:var(--own)}.own2{fill:var(--own2)}.other{fill:var(--other)}"
            ".axis{stroke:var(--rule);fill:none}.line{stroke:var(--line);fill:none;opacity:.65}"
            ".cut{stroke:var(--page);stroke-width:2.5;fill:none}")


def caption(f: Figures) -> list[str]:
    rounds = f"medians of {f.rounds} rounds" if f.rounds > 1 else "one round"
    line = "; thin lines: from the least to the best round" if f.rounds > 1 else ""
    lines = [f"{f.machine_line()}; everything on that one machine;",
             f"{rounds}, {f.seconds} s a figure{line}.", f"{f.programs()}."]
    lines += filter(None, [f.noise()])
    if f.not_run:
        lines.append("Not run: " + ", ".join(f.not_run) + ".")
    return lines


def draw(f: Figures) -> str:
    every = panels(f)
    y, out = float(TOP), list[str]()
    for row in range(0, len(every), 2):
        pair = every[row:row + 2]
        for column, panel in enumerate(pair):
            out += draw_panel(panel, MARGIN + column * (PANEL + GAP), y)
        y += HEAD + STEP * max(len(panel.bars) for panel in pair) + FOOT
    for line in caption(f):
        out.append(text(MARGIN, y + 8, line, "caption"))
        y += CAPTION_LINE
    height = round(y + MARGIN - 8)
    title = "tg beside others that take the same way"
    head = [f'<rect class="page" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
            text(MARGIN, 42, title, "head"),
            text(MARGIN, 64, "Laptop, connector, NAS: the same hops for all. Ratios: above 1 is better for tg.", "lead")]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{title}</title>", f"<style>{style()}</style>", *head, *out, "</svg>", ""])


if __name__ == "__main__":
    sys.stdout.write(draw(Figures.read(sys.argv[1])))
