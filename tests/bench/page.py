"""The page and its plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from run import Figures, Subject

DOCS = Path(__file__).parent.parent.parent / "docs"
IN_FLIGHT = (1, 16, 64)

TEXT = """\
<!-- Written by `nox -s bench`. -->

# Benchmarks

What onemcp costs, beside a direct call and beside other gateways, in the same run. `nox -s bench`
runs it anywhere, installs the other gateways, and writes this page. Ratios travel between machines;
milliseconds do not. [Where the time goes](explanation/performance.md) tells why.

The backend is a program in {language} whose one tool repeats a text of 64 characters; every gateway
starts its own over stdio, and clients reach the gateways over HTTP. Every answer is checked. All
gateways run at once and take turns; figures are medians of {rounds} rounds of up to {calls} calls.
*CPU* is the processor time of the gateway alone for one call, the figure that noise disturbs least;
of the direct call it is the backend's. Only onemcp checks a token in these runs.

This run: {machine}. {note}

## Beside other gateways

{cpu}

![CPU per call](benchmarks-cpu.svg)

{latency}

![Calls per second](benchmarks-rate.svg)

{missing}

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
    kinds: Sequence[tuple[str, Figures]],
    missing: Mapping[str, str],
) -> None:
    """Write the page and its plots."""
    text = TEXT.format(
        language=conditions.language,
        rounds=conditions.rounds,
        calls=f"{conditions.calls:,}",
        machine=conditions.machine,
        note=conditions.note,
        cpu=_cpu_table(subjects),
        latency=_latency_table(subjects),
        missing=_missing(missing),
        kinds=_kinds_table(kinds),
    )
    (DOCS / "benchmarks.md").write_text(text, encoding="utf-8")
    gateways = [subject for subject in subjects if subject.name != "direct"]
    cpu = [(each.name, each.figures[16].cpu_ms) for each in gateways]
    rate = [(each.name, each.figures[16].rate) for each in gateways]
    (DOCS / "benchmarks-cpu.svg").write_text(bars("CPU per call at 16 in flight", cpu, "ms", 2))
    (DOCS / "benchmarks-rate.svg").write_text(bars("Calls per second at 16 in flight", rate, "", 0))


def _cpu_table(subjects: Sequence[Subject]) -> str:
    lines = [
        "| | CPU ms, 1 in flight | 16 | 64 | calls/s, 1 in flight | 16 | 64 | start s | idle MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in subjects:
        cpu = " | ".join(f"{each.figures[n].cpu_ms:.3f}" for n in IN_FLIGHT)
        rate = " | ".join(f"{each.figures[n].rate:,.0f}" for n in IN_FLIGHT)
        lines.append(f"| {each.name} | {cpu} | {rate} | {each.start:.2f} | {each.idle:.0f} |")
    return "\n".join(lines)


def _latency_table(subjects: Sequence[Subject]) -> str:
    lines = [
        "| ms | p50, 1 in flight | p99 | p50, 16 in flight | p99 | p50, 64 in flight | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in subjects:
        found = [each.figures[n].percentile_ms(share) for n in IN_FLIGHT for share in (0.5, 0.99)]
        lines.append(f"| {each.name} | {' | '.join(f'{value:.2f}' for value in found)} |")
    return "\n".join(lines)


def _missing(missing: Mapping[str, str]) -> str:
    if not missing:
        return "Every gateway that is known could be run."
    return "Not run: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + "."


def _kinds_table(kinds: Sequence[tuple[str, Figures]]) -> str:
    lines = ["| | CPU ms | ratio | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    first = kinds[0][1].cpu_ms
    for name, figures in kinds:
        p50, p99 = figures.percentile_ms(0.5), figures.percentile_ms(0.99)
        ratio = figures.cpu_ms / first
        lines.append(f"| {name} | {figures.cpu_ms:.3f} | {ratio:.2f} | {p50:.2f} | {p99:.2f} |")
    return "\n".join(lines)


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
