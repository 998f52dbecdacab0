"""``onemcp schema``."""

from __future__ import annotations

from importlib.resources import files

import click


@click.command()
def command() -> None:
    """Print the JSON Schema of the configuration."""
    # Read as a file: to import `onemcp.config` for it would take several times as long.
    schema = files("onemcp").joinpath("config", "schema.json").read_text(encoding="utf-8")
    click.echo(schema, nl=False)
