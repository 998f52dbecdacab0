"""``onemcp status``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from onemcp.cli import instance
from onemcp.cli.options import as_json_option


@click.command()
@click.option("--watch", is_flag=True, help="Show it again after each event, until interrupted.")
@as_json_option
@instance.options
def command(config_path: Path | None, socket: Path | None, *, watch: bool, as_json: bool) -> None:
    """Show the state of a running onemcp: its servers and its supervision tree.

    Without --config or --socket it is the one that runs with the configuration that `run` would use
    here, or else the only one that runs.
    """
    with instance.reached(socket, config_path) as running:
        states = running.follow("/status", follow=1) if watch else [running.ask("/status")]
        if as_json:
            for state in states:
                click.echo(json.dumps(state, indent=None if watch else 2))
        else:
            _draw(states, watch=watch)


def _draw(states: Iterable[dict[str, Any]], *, watch: bool) -> None:
    from rich.live import Live  # noqa: PLC0415 - only where something is drawn

    from onemcp.cli.picture import new_console, picture  # noqa: PLC0415 - likewise

    console = new_console()
    if not watch or not console.is_terminal:
        for state in states:
            console.print(picture(state))
        return
    with Live(console=console, auto_refresh=False) as live:
        for state in states:
            live.update(picture(state), refresh=True)
