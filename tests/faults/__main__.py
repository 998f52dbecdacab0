"""Break things around a gateway, and measure what its clients notice.

``nox -s faults`` runs this and writes ``docs/resilience.md``. Any gateway that reads ``mcpServers``
from a JSON file and serves streamable HTTP can be put in onemcp's place::

    python -m tests.faults --gateway 'other --config {config} --port {port}' --page other.md
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio

from tests.faults import capacity, hostile, recovery, reloads, replicas, sessions, siblings
from tests.faults.figures import Figure
from tests.faults.gateways import Kind
from tests.faults.page import write_page

SIGNS: Mapping[bool | None, str] = {True: "ok ", False: "NOT", None: "   "}
ONEMCP = Kind(
    f"{shlex.quote(sys.executable)} -m onemcp run --config {{config}} --port {{port}}",
    is_onemcp=True,
)
PAGE = Path(__file__).parents[2] / "docs" / "resilience.md"

Measure = Callable[[Kind, float], Awaitable[Figure | list[Figure]]]
MEASURES: Mapping[str, Measure] = {
    "recovery": recovery.after_a_kill,
    "kills": recovery.under_random_kills,
    "orphans": recovery.left_behind,
    "replicas": replicas.under_kills,
    "failover": replicas.beside_kills,
    "siblings": siblings.beside_a_fire,
    "abandoned": sessions.abandoned,
    "streams": sessions.held,
    "start": capacity.among_the_dead,
    "overload": capacity.overloaded,
    "reloads": reloads.under_load,
    "fuzz": hostile.fuzzed,
}


async def measure(kind: Kind, names: list[str], share: float) -> list[Figure]:
    """Measure one thing after the other; one that fails is a row that says so."""
    figures: list[Figure] = []
    for name in names:
        try:
            found = await MEASURES[name](kind, share)
        except Exception as error:  # noqa: BLE001 - the other measures are worth having
            found = Figure(name, "failed", "", is_met=False, remark=repr(error))
        rows = found if isinstance(found, list) else [found]
        for row in rows:
            print(SIGNS[row.is_met], row.measure, row.value, row.remark, flush=True)
        figures += rows
    return figures


def main() -> None:
    """Measure, print each figure as it is found, and write the page."""
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--gateway", help="what starts it, with {config} and {port}")
    parser.add_argument("--path", default="/mcp", help="where it serves streamable HTTP")
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("--only", action="append", choices=[*MEASURES], help="may be repeated")
    parser.add_argument("--share", type=float, default=1.0, help="of the full numbers")
    parser.add_argument("--page", type=Path, default=PAGE, help="what to write")
    asked = parser.parse_args()
    kind = ONEMCP
    if asked.gateway:
        pairs = (each.partition(":") for each in asked.header)
        headers = {name: value.strip() for name, _, value in pairs}
        kind = Kind(asked.gateway, asked.path, headers)
    figures = trio.run(measure, kind, asked.only or [*MEASURES], asked.share)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    write_page(asked.page, figures, machine, asked.share)


if __name__ == "__main__":
    main()
