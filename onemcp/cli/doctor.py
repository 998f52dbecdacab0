"""``onemcp doctor``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import click
import trio

from onemcp import app, config
from onemcp.app.doctor import Diagnosis, Note, examine
from onemcp.cli import completion
from onemcp.cli.failures import ConfigurationUnusable, ExitCode, StateUnusable, leaves
from onemcp.cli.options import as_json_option
from onemcp.config import Configuration, ConfigurationError
from onemcp.state import StateError

LONGEST_LINE: Final = 1000
"""How much of one message is shown to people."""

_ARROWS: Final = {"onemcp": "->", "server": "<-", "stderr": " !"}


@click.command()
@click.argument("backends", nargs=-1, metavar="[BACKEND]...", shell_complete=completion.configured)
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file. By default the one that `onemcp run` finds.",
)
@as_json_option
@click.option("-q", "--quiet", is_flag=True, help="Leave out what was said.")
@click.pass_context
def command(
    ctx: click.Context,
    backends: tuple[str, ...],
    config_path: Path | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find out why a server does not start.

    Starts each BACKEND, or all that are enabled, alone and once, and shows the program that was
    found, the names of its environment, all that was said until it was ready or has failed, the
    era that it speaks, and how long it took. Secrets are left out. No onemcp needs to run; one that
    does is not disturbed. Ends with exit code 1 if a server doesn't come up.
    """
    try:
        _, configuration = app.find_configuration(config_path, os.environ)
    except ConfigurationError as error:
        raise ConfigurationUnusable(f"the configuration cannot be used\n{error}") from error
    found = []
    for settings in _wanted(configuration, backends):
        diagnosis = _examine(settings, configuration)
        found.append(diagnosis)
        if not as_json:
            click.echo("\n".join(_lines(diagnosis, quiet=quiet)))
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in found], indent=2))
    if not all(each.ok for each in found):
        ctx.exit(ExitCode.FAILED)


def _wanted(configuration: Configuration, names: tuple[str, ...]) -> Iterator[config.Backend]:
    known = [each.name for each in configuration.backends]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There is {', '.join(known)}."
            raise click.UsageError(f"There is no server {name!r}. {hint}")
    for settings in configuration.backends:
        if settings.name in names or (not names and settings.enabled):
            yield from _places(settings)


def _places(settings: config.Backend) -> Iterable[config.Backend]:
    """Return a backend at each address that it has; programs are all alike."""
    if not settings.is_replicated:
        return [settings]
    places = list(settings.of_replicas().values())
    return places if isinstance(settings.transport, config.HttpTransport) else places[:1]


def _examine(settings: config.Backend, configuration: Configuration) -> Diagnosis:
    try:
        return trio.run(partial(examine, settings, configuration))
    except (Exception, BaseExceptionGroup) as error:
        for leaf in leaves(error):
            if isinstance(leaf, StateError):
                raise StateUnusable(str(leaf)) from error
        raise


def _lines(found: Diagnosis, *, quiet: bool) -> Iterator[str]:
    name = click.style(found.backend, bold=True)
    if found.ok:
        yield f"{name}  {click.style('ok', fg='green')}  up in {found.seconds:.2f} s"
    else:
        failed = click.style("failed", fg="red")
        yield f"{name}  {failed}  after {found.seconds:.2f} s: {found.reason or 'it is silent'}"
    facts = dict(found.facts)
    if found.protocol is not None:
        facts["protocol"] = found.protocol
    if found.server is not None:
        facts["server"] = found.server
    if found.items:
        facts["lists"] = ", ".join(f"{count} {kind}" for kind, count in found.items.items())
    if found.remedy is not None:
        facts["remedy"] = found.remedy
    for fact, value in facts.items():
        yield f"  {fact:<12} {value}"
    if not quiet:
        yield from map(_note, found.notes)


def _note(note: Note) -> str:
    text = note.text if len(note.text) <= LONGEST_LINE else f"{note.text[:LONGEST_LINE]}..."
    return click.style(f"  {note.at:8.3f} {_ARROWS[note.who]} ", dim=True) + text
