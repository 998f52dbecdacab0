"""``onemcp logs``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from onemcp.cli import completion, instance
from onemcp.cli.options import as_json_option

_TOLD_APART = frozenset({"time", "event", "backend", "supervisor", "child", "generation"})


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@click.option("-f", "--follow", is_flag=True, help="Go on, until interrupted.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 1000),
    default=100,
    show_default=True,
    help="How many of the last lines.",
)
@as_json_option
@instance.options
def command(
    backend: str,
    lines: int,
    config_path: Path | None,
    socket: Path | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what the server BACKEND has written to stderr, and what became of it.

    The last thousand lines, or 256 KiB, are kept by the running onemcp.
    """
    show = json.dumps if as_json else _shown
    path = f"/backends/{backend}/logs"
    with instance.reached(socket, config_path) as running:
        if follow:
            for entry in running.follow(path, lines=lines, follow=1):
                click.echo(show(entry))
            return
        for entry in running.ask(path, lines=lines):
            click.echo(show(entry))


def _shown(entry: Mapping[str, Any]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(entry["time"])) if "time" in entry else ""
    if entry["event"] == "backend_stderr":
        return f"{when}  {entry['line']}"
    facts = [f"{name}={entry[name]}" for name in entry.keys() - _TOLD_APART]
    return click.style(" ".join([f"{when} ", f"[{entry['event']}]", *sorted(facts)]), dim=True)
