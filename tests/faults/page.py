"""Write the page with the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.faults.figures import Figure

TEXT = """\
<!-- Written by `nox -s faults`. -->

# Resilience

What clients notice when things break around onemcp. `nox -s faults` breaks them and writes this
page; `python -m tests.faults --gateway 'COMMAND with {{config}} and {{port}}'` does the same to any
other gateway that reads `mcpServers` from a JSON file and serves streamable HTTP.

What parsers make of hostile bytes is looked into further by `nox -s fuzz`, and what a day leaves
behind by tests with a clock that jumps (`test_a_day*.py`, `test_days_of_tokens.py`).

Backends are small Python programs over stdio; calls come over HTTP, with authentication, in
sessions of 2025-11-25, and every answer is checked. Load, gateway and backends share the machine.
Where a backend has [replicas](how-to/replicas.md), they keep nothing between calls
(`"sticky": false`), and it is always the same one that is killed, as soon as it takes calls again.

This run: {machine}{share}.

| measure | found | target | | |
|---|---|---|---|---|
{rows}
"""

SIGNS: Final[Mapping[bool | None, str]] = {True: "✓", False: "**not met**", None: ""}


def write_page(path: Path, figures: Iterable[Figure], machine: str, share: float) -> None:
    """Write the page."""
    rows = "\n".join(
        f"| {each.measure} | {each.value} | {each.target} | {SIGNS[each.is_met]}"
        f" | {each.remark.replace('|', '/')} |"
        for each in figures
    )
    part = "" if share == 1 else f"; {share:.0%} of the full numbers"
    path.write_text(TEXT.format(machine=machine, share=part, rows=rows), encoding="utf-8")
