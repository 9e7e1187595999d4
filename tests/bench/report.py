"""The figures of a run as Markdown, as documents take it.

    report.py FILE        of a file that bench.py wrote with --json
"""
from __future__ import annotations

import statistics
import sys

from aims import Aim, aims
from figures import METRICS, Figures
from table import markdown

OTHERS = ("bare path", "HAProxy TLS pair", "wireguard-go", "nebula", "sshuttle")


def number(value: float, unit: str) -> str:
    if unit != "Gbit/s":
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def kib(size: float) -> str:
    return f"{size / 1024:.1f} KiB"


def spread(ratios: list[float]) -> str:
    """The median, and from where to where."""
    if not ratios:
        return "–"
    middle = f"{statistics.median(ratios):.2f}"
    return middle if len(ratios) == 1 else f"{middle} ({min(ratios):.2f}–{max(ratios):.2f})"


def caption(f: Figures) -> str:
    """What the tables show, true of this run."""
    figures = f"; medians of {f.rounds} rounds" if f.rounds > 1 else "; one round"
    lines = [f.machine_line() + (f"{figures}, {f.seconds} s a figure;" if f.ways or f.dns else ";"), f"{f.programs()}."]
    if f.ways:
        lines += ["4 flows and 64 flows: down; keep-alive: 16 connections; new connections: one a request, 32 at once;",
                  "p50 and p99: one request at a time; p99 beside bulk: the same while four flows carry down what they can."]
    return "\n".join([*lines, *filter(None, [f.noise()])])


def empty(f: Figures, way: str) -> str:
    return "not run" if way in f.not_run else "–"


def columns(f: Figures) -> list[str]:
    """The ways that were asked for, in order, also those that could not be measured."""
    return [way for way in (*OTHERS, "tg", "tg, relayed") if way in f.ways or way in f.not_run]


def absolute(f: Figures) -> str:
    ways = columns(f)
    rows = [["", *ways]]
    for metric, unit in ((m, METRICS[m].unit) for m in METRICS if any(m in row for row in f.ways.values())):
        cells = [number(statistics.median(v), unit) if (v := f.values(way, metric)) else empty(f, way) for way in ways]
        rows.append([f"{metric}, {unit}", *cells])
    if any(f.beside_bulk(way) for way in ways):
        slower = {way: f.beside_bulk(way) for way in ways}
        rows.append(["p99 beside bulk : p99", *(f"{statistics.median(r):.1f}" if r else empty(f, way) for way, r in slower.items())])
    return markdown(rows)


def relative(f: Figures) -> str:
    others = [way for way in columns(f) if way in OTHERS]
    rows = [["", *(f"tg : {way}" for way in others), *(["relayed : direct"] if "tg, relayed" in columns(f) else [])]]
    for metric in METRICS:
        if metric not in f.ways.get("tg", {}):
            continue
        cells = [spread(r) if (r := f.ratios("tg", way, metric)) else empty(f, way) for way in others]
        if "tg, relayed" in columns(f):
            cells.append(spread(f.ratios("tg, relayed", "tg", metric)))
        rows.append([metric, *cells])
    return markdown(rows)


def processors(f: Figures) -> str:
    rows = [["processor time a gigabyte", "together", "of which"]]
    for way in columns(f):
        parts = f.cpu(way)
        if parts:
            rows.append([way, f"{sum(parts.values()):.2f} s", " + ".join(f"{part} {value:.2f}" for part, value in parts.items())])
        elif way in f.not_run:
            rows.append([way, "not run", ""])
    return markdown(rows)


def dns(f: Figures) -> str:
    rows = [["DNS, names of its own", "answers/s", "tg : it", "its processor, an answer", "tg : it"]]
    for server, values in f.dns.items():
        found, costs = ([v for v in of if v is not None] for of in (values, f.dns_cost.get(server, [])))
        rows.append([server, f"{statistics.median(found):,.0f}" if found else "–", "" if server == "tg" else spread(f.dns_ratios(server)),
                     f"{statistics.median(costs) * 1e6:.1f} µs" if costs else "–", "" if server == "tg" else spread(f.dns_cost_ratios(server))])
    rows += [[server, "not run", "", "", ""] for server in ("dnsmasq", "unbound, one thread") if server in f.not_run]
    asker = [v for v in f.dns_asker if v is not None]
    return markdown(rows) + (f"\ndnsperf itself took {statistics.median(asker):.0%} of a core, and can be the limit." if asker else "")


def crowd(f: Figures) -> str:
    rows = [["four clients at once", "datagrams a second", ": one thread", "cores of the connector", "of all clients"]]
    for threads, every in f.crowd.items():
        found = [one for one in every if one]
        if found:
            rate, served, asked = (statistics.median(one[key] for one in found) for key in ("rate", "connector", "clients"))
            rows.append([f"connector with `--threads {threads}`", f"{rate:,.0f}",
                         "" if threads == "1" else spread(f.crowd_ratios(int(threads))), f"{served:.2f}", f"{asked:.2f}"])
    return markdown(rows)


MATCHED = {"exact": "a name that one has", "wildcard": "a name that a wildcard means", "foreign": "a name that nobody has",
           "name": "any of these", "address": "an address"}


def match(f: Figures) -> str:
    rows = [[f"match, {f.match[0]['resources']:,.0f} Resources", "median"]]
    rows += [[what, f"{statistics.median(f.matched(key)):.0f} ns"] for key, what in MATCHED.items()]
    return markdown([*rows, ["memory of the index, a Resource", f"{statistics.median(f.matched('bytes')):.0f} bytes"]])


def at_rest(f: Figures) -> str:
    rows = [["at rest, and under load", "figure"]]
    if m := f.memory:
        rows += [
            ["memory of an idle client", f"{m['client'] / 1e6:.1f} MB"],
            ["memory of an idle connector", f"{m['connector'] / 1e6:.1f} MB"],
            [f"memory of the connector, an idle tunnel, of {m['tunnel']['tunnels']:,}", kib(m["tunnel"]["each"])],
            [f"memory of the connector, an idle flow, of {m['flow']['flows']:,}", kib(m["flow"]["connector_each"])],
            [f"memory of the client, an idle flow, of {m['flow']['flows']:,}", kib(m["flow"]["client_each"])],
            [f"processor of a client with {m['idle']['flows']} idle flows, in {m['idle']['seconds']:.0f} s",
             f"{m['idle']['percent']:.3f} % of a core"]]
    if one := f.load:
        rows += [[f"`apply` of {one['resources']:,} Resources", f"{one['apply']:.2f} s"],
                 ["from its start until a client answers for the last", f"{one['answered']:.2f} s"],
                 ["the slowest DNS answer for another name meanwhile", f"{one['slowest_answer']:.2f} s"],
                 ["processor time of the controller, and of the client, for that",
                  f"{one['controller_cpu']:.2f} s, {one['client_cpu']:.2f} s"],
                 ["memory of the controller, and of the client, afterwards",
                  f"{one['controller'] / 1e6:.0f} MB, {one['client'] / 1e6:.0f} MB"]]
    return markdown(rows)


def verdicts(every: list[Aim]) -> str:
    """A line for each aim; those that were not measured, because of --only or of what cannot run, share one."""
    lines = [str(aim) for aim in every if aim.values]
    if missing := [f"{aim.what} {aim.how} {aim.wanted:g} {aim.unit}" for aim in every if not aim.values]:
        lines.append("wanted, but not measured: " + "; ".join(missing))
    return "\n".join(lines)


def report(f: Figures) -> str:
    parts = [caption(f)]
    if f.ways:
        ratios = "Ratios of tg to the others" + (", and from the least to the best round" if f.rounds > 1 else "")
        parts += [absolute(f), f"{ratios}; above 1 is better for tg:", relative(f)]
    if any(f.carried.values()):
        parts.append(processors(f))
    if f.crowd:
        parts.append(crowd(f))
    if f.dns:
        parts.append(dns(f))
    if f.match:
        parts.append(match(f))
    if f.memory or f.load:
        parts.append(at_rest(f))
    parts += ["\n".join(f"not run: {name}: {why}" for name, why in f.not_run.items()),
              "\n".join(f"failed: {line}" for line in f.failed), verdicts(aims(f))]
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    print(report(Figures.read(sys.argv[1])))
