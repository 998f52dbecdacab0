"""The page and its plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from run import Subject

DOCS = Path(__file__).parent.parent.parent / "docs"
IN_FLIGHT = (1, 16, 64)

TEXT = """\
<!-- Written by `nox -s bench`. -->

# Benchmarks

What onemcp costs, beside a direct call and beside other gateways, in the same run. `nox -s bench`
runs it anywhere, installs the other gateways, and writes this page. Ratios travel between machines;
milliseconds do not. [Where the time goes](explanation/performance.md) tells why.

The backend is a program in {language} whose one tool repeats a text of 64 characters; every gateway
starts its own over stdio, and clients reach the gateways over HTTP. Only ContextForge has its
backend over HTTP, because its bridge to stdio gave calls in flight together each other's answers.
Every answer is checked. All gateways run at once and take turns; figures are medians of {rounds}
rounds of up to {calls} calls. *CPU* is the processor time of the gateway alone for one call, the
figure that noise disturbs least; of the direct call it is the backend's. Only onemcp and
ContextForge check a token in these runs.

This run: {machine}. {note}

## Beside other gateways

{cpu}

![CPU per call](benchmarks-cpu.svg)

{latency}

![Calls per second](benchmarks-rate.svg)

{missing}

## Ways through onemcp

The eras of clients, the transports of backends, and what checking tokens costs.

{ways_cpu}

{ways_latency}

## Kinds of calls

Through onemcp, 16 in flight, all in one run; *ratio* is to the first row's CPU.

{kinds}
"""


@dataclass(frozen=True)
class Conditions:
    """Under which conditions it was measured."""

    machine: str
    language: str
    rounds: int
    calls: int
    note: str


def write(
    conditions: Conditions,
    subjects: Sequence[Subject],
    kinds: Sequence[Subject],
    missing: Mapping[str, str],
) -> None:
    """Write the page and its plots."""
    ways = [each for each in kinds if set(IN_FLIGHT) <= each.figures.keys()]
    text = TEXT.format(
        language=conditions.language,
        rounds=conditions.rounds,
        calls=f"{conditions.calls:,}",
        machine=conditions.machine,
        note=conditions.note,
        cpu=_cpu_table(subjects),
        latency=_latency_table(subjects),
        missing=_missing(missing),
        ways_cpu=_cpu_table(ways, idle=False),
        ways_latency=_latency_table(ways),
        kinds=_kinds_table(kinds),
    )
    (DOCS / "benchmarks.md").write_text(text, encoding="utf-8")
    gateways = [subject for subject in subjects if subject.name != "direct"]
    cpu = [(each.name, each.figures[16].cpu_ms) for each in gateways]
    rate = [(each.name, each.figures[16].rate) for each in gateways]
    (DOCS / "benchmarks-cpu.svg").write_text(bars("CPU per call at 16 in flight", cpu, "ms", 2))
    (DOCS / "benchmarks-rate.svg").write_text(bars("Calls per second at 16 in flight", rate, "", 0))


def _cpu_table(subjects: Sequence[Subject], *, idle: bool = True) -> str:
    columns = ["CPU ms, 1 in flight", "16", "64", "calls/s, 1 in flight", "16", "64"]
    columns += ["start s", "idle MiB"] if idle else []
    rows = []
    for each in subjects:
        found = [each.figures[n] for n in IN_FLIGHT]
        row = [f"{figures.cpu_ms:.3f}" for figures in found]
        row += [f"{figures.rate:,.0f}" for figures in found]
        row += [f"{each.start:.2f}", f"{each.idle:.0f}"] if idle else []
        rows.append([each.name, *row])
    return _table(["", *columns], rows)


def _latency_table(subjects: Sequence[Subject]) -> str:
    columns = [name for n in IN_FLIGHT for name in (f"p50, {n} in flight", "p99")]
    rows = []
    for each in subjects:
        found = [each.figures[n].percentile_ms(share) for n in IN_FLIGHT for share in (0.5, 0.99)]
        rows.append([each.name, *(f"{value:.2f}" for value in found)])
    return _table(["ms", *columns], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _missing(missing: Mapping[str, str]) -> str:
    if not missing:
        return "Every gateway that is known could be run."
    return "Not run: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + "."


def _kinds_table(kinds: Sequence[Subject]) -> str:
    rows = []
    first = kinds[0].figures[16].cpu_ms
    for each in kinds:
        figures = each.figures[16]
        latency = [f"{figures.percentile_ms(share):.2f}" for share in (0.5, 0.99)]
        ratio = f"{figures.cpu_ms / first:.2f}"
        row = [f"{figures.cpu_ms:.3f}", ratio, f"{figures.rate:,.0f}", *latency]
        rows.append([each.name, *row])
    return _table(["", "CPU ms", "ratio", "calls/s", "p50 ms", "p99 ms"], rows)


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str, digits: int) -> str:
    """Draw horizontal bars, in colours that are seen on light and on dark paper."""
    width, left, height, most = 760, 190, 26, max(value for _, value in rows)
    box = f"0 0 {width} {50 + height * len(rows)}"
    font = 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" {font} role="img">',
        f"<title>{escape(title)}</title>",
        _text(8, 24, title, size=15),
    ]
    for number, (name, value) in enumerate(rows):
        top = 40 + height * number
        long = max(1.0, (width - left - 100) * value / most)
        colour = "#2a7de1" if name == "onemcp" else "#a0a0a0"
        parts += [
            _text(left - 8, top + 14, name, anchor="end"),
            f'<rect x="{left}" y="{top}" width="{long:.1f}" height="18" fill="{colour}"/>',
            _text(left + long + 6, top + 14, f"{value:,.{digits}f} {unit}"),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {where} fill="#808080">{escape(words)}</text>'
