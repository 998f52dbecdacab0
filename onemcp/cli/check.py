"""``onemcp check``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from onemcp import config
from onemcp.cli.failures import ExitCode
from onemcp.pinning import PinStore
from onemcp.state import StateError


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, *, as_json: bool) -> None:
    """Check a configuration FILE: the one that `run` would use, if none is given.

    Tells everything that is wrong with it, by line and column, and ends with exit code 1; so it
    does where pins are enforced and what was approved can't be read.
    """
    path = config.find(file, Path.cwd(), os.environ)
    if path is None:
        raise click.UsageError("There is no onemcp.json here; name a FILE.")
    try:
        configuration = config.load(path)
        _check_accounts(configuration)
    except config.ConfigurationError as error:
        click.echo(_problems_json(path, error) if as_json else _problems(error))
        ctx.exit(ExitCode.FAILED)
    unreadable = _unreadable_pins(configuration)
    summary = _summary_json if as_json else _summary
    click.echo(summary(path, configuration, unreadable))
    if any(each.pin == "enforce" for each in configuration.backends if each.name in unreadable):
        ctx.exit(ExitCode.FAILED)


def _check_accounts(configuration: config.Configuration) -> None:
    """Check what only the authorization server understands, as `run` does.

    Raises:
        ConfigurationError: Something can't be right.
    """
    if configuration.auth.users or configuration.auth.clients:
        from onemcp.app import check_policy  # noqa: PLC0415 - slow, and for few

        check_policy(configuration)


def _unreadable_pins(configuration: config.Configuration) -> dict[str, str]:
    """Return whose approved tools can't be read, and why."""
    store = PinStore(config.state_directory(os.environ))
    found: dict[str, str] = {}
    for backend in configuration.backends:
        try:
            if backend.pin != "off":
                store.load(backend.name)
        except StateError as error:
            found[backend.name] = str(error)
    return found


def _problems(error: config.ConfigurationError) -> str:
    count = len(error.problems)
    return f"{error}\n{count} problem{'s' * (count != 1)}"


def _problems_json(path: Path, error: config.ConfigurationError) -> str:
    problems = [attrs.asdict(problem) for problem in error.problems]
    return _dump({"ok": False, "file": str(path), "problems": problems})


def _summary(path: Path, configuration: config.Configuration, unreadable: Mapping[str, str]) -> str:
    server = configuration.server
    lines = [
        f"ok: {path}",
        f"  listens on {server.host}, port {server.port}, auth {configuration.auth.mode}",
    ]
    for backend in configuration.backends:
        kind = "HTTP" if isinstance(backend.transport, config.HttpTransport) else "stdio"
        pin = "" if backend.pin == "report" else f", pin {backend.pin}"
        disabled = "" if backend.enabled else ", disabled"
        count = len(backend.of_replicas())
        replicas = f", {count} replicas" if backend.is_replicated else ""
        lines.append(f"  backend {backend.name}: {kind}{replicas}{pin}{disabled}")
        if backend.name in unreadable:
            lines.append(f"    what was approved is not known: {unreadable[backend.name]}")
    return "\n".join(lines)


def _summary_json(
    path: Path, configuration: config.Configuration, unreadable: Mapping[str, str]
) -> str:
    server = configuration.server
    summary = {
        "ok": True,
        "file": str(path),
        "host": server.host,
        "port": server.port,
        "auth": configuration.auth.mode,
        "backends": [
            {"name": backend.name, "enabled": backend.enabled, "pin": backend.pin}
            | ({"pinsProblem": unreadable[backend.name]} if backend.name in unreadable else {})
            for backend in configuration.backends
        ],
    }
    return _dump(summary)


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)
