"""``onemcp restart``, ``stop``, ``start``, ``reset`` and ``reload``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from onemcp.cli import completion, instance
from onemcp.cli.failures import ExitCode, Failure
from onemcp.cli.options import as_json_option


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@as_json_option
@instance.options
def restart(backend: str, config_path: Path | None, socket: Path | None, *, as_json: bool) -> None:
    """Restart the server BACKEND, and wait until it is up or has failed.

    Calls under way get `server.shutdownGrace` to end; new ones wait for it. Ends with exit code 1
    if it doesn't come up.
    """
    _act("restart", backend, (socket, config_path), as_json=as_json)


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@as_json_option
@instance.options
def start(backend: str, config_path: Path | None, socket: Path | None, *, as_json: bool) -> None:
    """Start the server BACKEND at once, and wait until it is up or has failed.

    It may have been stopped, or be waiting for its next attempt. Ends with exit code 1 if it
    doesn't come up.
    """
    _act("start", backend, (socket, config_path), as_json=as_json)


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@as_json_option
@instance.options
def stop(backend: str, config_path: Path | None, socket: Path | None, *, as_json: bool) -> None:
    """Stop the server BACKEND, which stays down until it is started.

    Calls under way get `server.shutdownGrace` to end; new ones fail. It stays down over a reload
    that doesn't change it.
    """
    _act("stop", backend, (socket, config_path), as_json=as_json, wanted="stopped")


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@as_json_option
@instance.options
def reset(backend: str, config_path: Path | None, socket: Path | None, *, as_json: bool) -> None:
    """Let calls to the server BACKEND through again, whose circuit breaker has opened.

    The failures that it has counted are forgotten. Ends with exit code 1 if the server isn't up.
    """
    _act("reset", backend, (socket, config_path), as_json=as_json)


@click.command()
@as_json_option
@instance.options
@click.pass_context
def reload(
    ctx: click.Context, config_path: Path | None, socket: Path | None, *, as_json: bool
) -> None:
    """Let a running onemcp read its configuration file now.

    Ends with exit code 1 if the file can't be used; then what was before stays in force.
    """
    with instance.reached(socket, config_path) as running:
        told = running.tell("/reload")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif told["outcome"] != "rejected":
        click.echo(told["outcome"])
    if told["outcome"] == "rejected":
        if as_json:
            ctx.exit(ExitCode.FAILED)
        problems = "\n".join(map(_problem, told["problems"]))
        raise Failure(f"the file can't be used; what was before stays in force\n{problems}")


def _act(
    action: str,
    backend: str,
    where: tuple[Path | None, Path | None],
    *,
    as_json: bool,
    wanted: str = "up",
) -> None:
    with instance.reached(*where) as running:
        told = running.tell(f"/backends/{backend}/{action}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _print(told)
    if told["state"] != wanted:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _print(told: dict[str, Any]) -> None:
    from onemcp.cli.picture import backend_line, new_console  # noqa: PLC0415 - only where needed

    new_console().print(backend_line(told))


def _problem(problem: dict[str, Any]) -> str:
    place = f"{problem['line']}:{problem['column']}: " if problem.get("line") else ""
    what = f"  {place}{problem['path']} {problem['message']}."
    return f"{what} {problem['remedy']}." if problem.get("remedy") else what
