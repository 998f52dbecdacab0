"""``onemcp install``: write onemcp into the configuration of an MCP client, or take it out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click

from onemcp import config
from onemcp.cli.changing import change, diff, read_text
from onemcp.cli.clients import CLIENTS, Client, UnknownShape
from onemcp.cli.failures import Failure
from onemcp.runtime import own_command

NAME = "onemcp"


@click.command()
@click.argument("client", type=click.Choice(list(CLIENTS)))
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file that the client is to be served with. By default the one that "
    "`onemcp run` finds; without any, the demo.",
)
@click.option("--attach", is_flag=True, help="Lead to an onemcp that runs, instead of to one more.")
@click.option("--view", metavar="NAME", help="Show the client only this view, or this one server.")
@click.option("--name", default=NAME, show_default=True, help="What the client is to call it.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The client's file, if it isn't the usual one: that of a project, say.",
)
@click.option("--undo", is_flag=True, help="Take it out again.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def command(
    client: str,
    *,
    config_path: Path | None,
    attach: bool,
    view: str | None,
    name: str,
    file: Path | None,
    undo: bool,
    dry_run: bool,
) -> None:
    """Write onemcp into the configuration of an MCP CLIENT.

    The client launches `onemcp stdio` from then on. All else in its file stays as it is, comments
    included; what the file was is kept beside it. --undo takes out what has the name, and nothing
    else. A file that isn't understood is left alone, with exit code 1.
    """
    target = CLIENTS[client]
    path = file or target.path(os.environ)
    old = read_text(path)
    new = (
        _without(target, path, old, name)
        if undo
        else _with(target, path, old, name, _entry(target, config_path, view, attach=attach))
    )
    if new == old:
        click.echo(f"{path} is as it should be.")
        return
    for line in diff(path, old, new):
        click.echo(line)
    if dry_run:
        return
    kept = change(path, old, new)
    click.echo(f"\n{'Removed from' if undo else 'Written into'} {path}.", err=True)
    if kept is not None:
        click.echo(f"What it was is kept in {kept}.", err=True)
    click.echo(f"Start {target.title} again to let it take effect.", err=True)


def _with(target: Client, path: Path, old: str, name: str, entry: dict[str, Any]) -> str:
    servers = _servers(target, path, old)
    if servers.get(name) == entry:
        return old
    if name in servers:
        raise Failure(
            f"{path} has another server called {name!r}: take it out with --undo, "
            "or choose another name with --name."
        )
    new = target.with_server(old, name, entry)
    return _checked(target, path, new, {**servers, name: entry})


def _without(target: Client, path: Path, old: str, name: str) -> str:
    servers = _servers(target, path, old)
    if name not in servers:
        return old
    new = target.without_server(old, name)
    return _checked(target, path, new, {key: servers[key] for key in servers if key != name})


def _servers(target: Client, path: Path, text: str) -> dict[str, Any]:
    try:
        return target.servers(text)
    except UnknownShape as error:
        raise Failure(
            f"{path} is not as {target.title} writes it, and is left alone: {error}."
        ) from (error)


def _checked(target: Client, path: Path, new: str, wanted: dict[str, Any]) -> str:
    """Make sure that a text says what is wanted, before it is written."""
    if _servers(target, path, new) != wanted:
        raise Failure(f"{path} can't be changed safely, and is left alone. Change it by hand.")
    return new


def _program() -> tuple[str, ...]:
    """Return what clients are to launch: what people launch, as far as that is this onemcp."""
    own, found = own_command(), shutil.which(NAME)
    return (found,) if found and own[1:] == ("-m", "onemcp") else own


def _entry(
    target: Client, config_path: Path | None, view: str | None, *, attach: bool
) -> dict[str, Any]:
    command, *before = _program()
    arguments = [*before, "stdio"]
    file = config.find(config_path, Path.cwd(), os.environ)
    if attach:
        arguments.append("--attach")
    if file is not None:
        arguments += ["--config", str(file.absolute())]
    if view is not None:
        arguments += ["--view", view]
    return {**target.extra, "command": command, "args": arguments}
