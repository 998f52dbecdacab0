"""``onemcp status``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

import click

from onemcp.cli import instance

INTERVAL: Final = 1.0
"""How often the state is asked for while it is watched, in seconds."""


@click.command()
@click.option("--watch", is_flag=True, help="Go on showing it, until interrupted.")
@instance.as_json_option
@instance.options
def command(config_path: Path | None, socket: Path | None, *, watch: bool, as_json: bool) -> None:
    """Show the state of a running onemcp: its servers and its supervision tree.

    Without --config or --socket it is the one that runs with the configuration that `run` would use
    here, or else the only one that runs.
    """
    with instance.reached(socket, config_path) as running:
        if as_json:
            _print_json(running, watch=watch)
        else:
            _draw(running, watch=watch)


def _print_json(running: instance.Instance, *, watch: bool) -> None:
    click.echo(json.dumps(running.ask("/status"), indent=None if watch else 2))
    while watch:
        time.sleep(INTERVAL)
        click.echo(json.dumps(running.ask("/status")))


def _draw(running: instance.Instance, *, watch: bool) -> None:
    from rich.live import Live  # noqa: PLC0415 - only where something is drawn

    from onemcp.cli.picture import new_console, picture  # noqa: PLC0415 - likewise

    console = new_console()
    if not watch or not console.is_terminal:
        console.print(picture(running.ask("/status")))
    if watch and not console.is_terminal:
        while True:
            time.sleep(INTERVAL)
            console.print()
            console.print(picture(running.ask("/status")))
    if watch:
        with Live(picture(running.ask("/status")), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(INTERVAL)
                live.update(picture(running.ask("/status")), refresh=True)
