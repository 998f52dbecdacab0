"""``onemcp page``: a link to the status page, for whoever may use the control socket."""

from __future__ import annotations

import json
from pathlib import Path

import click

from onemcp.cli import instance
from onemcp.cli.options import as_json_option


@click.command()
@as_json_option
@instance.options
def command(config_path: Path | None, socket: Path | None, *, as_json: bool) -> None:
    """Print a link to the status page of a running onemcp.

    It lets one browser in, once, within a minute; for eight hours. Whoever has it may do what you
    may: give it to nobody.
    """
    with instance.reached(socket, config_path) as running:
        link = running.tell("/page")
    if as_json:
        click.echo(json.dumps(link, indent=2))
    else:
        click.echo(link["url"])
        click.echo(f"It is good once, for {link['seconds']:.0f} seconds.", err=True)
