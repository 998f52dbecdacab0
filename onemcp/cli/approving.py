"""``onemcp approve``."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from onemcp.cli import completion, instance
from onemcp.cli.changing import confirmed
from onemcp.cli.failures import ExitCode, Failure
from onemcp.cli.options import as_json_option

_KINDS: Final = ("tools", "prompts")
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("backend", shell_complete=completion.backends)
@click.argument("names", metavar="[TOOL]...", nargs=-1, shell_complete=completion.unapproved)
@click.option("--yes", is_flag=True, help="Approve without asking.")
@as_json_option
@instance.options
def command(
    backend: str,
    names: tuple[str, ...],
    config_path: Path | None,
    socket: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Approve tools and prompts of the server BACKEND that are not as they were approved.

    Shows how they differ and asks; what is approved is what was shown. Without a TOOL all of them
    are meant; a TOOL is called what its server calls it. With --json nobody is asked: what is to
    be approved is printed, or with --yes what has been. Ends with exit code 1 where something
    was not approved.
    """
    with instance.reached(socket, config_path) as running:
        told = running.ask(f"/backends/{backend}/pins")
        changes = _chosen(told, names)
        if as_json and not yes:
            click.echo(json.dumps({**told, "changes": changes}, indent=2))
            raise click.exceptions.Exit(ExitCode.FAILED if changes else ExitCode.OK)
        if not as_json:
            _show(told, changes)
        if changes and not yes and not confirmed(_question(changes)):
            raise click.exceptions.Exit(ExitCode.FAILED)
        items = [{name: each[name] for name in ("kind", "name", "sha256")} for each in changes]
        done: dict[str, Any] = {"backend": backend, "approved": []}
        if items:
            done = running.tell(f"/backends/{backend}/approve", {"items": items})
    if as_json:
        click.echo(json.dumps(done, indent=2))
    elif changes:
        click.echo(f"approved: {', '.join(_plain(each['name']) for each in done['approved'])}")


def _chosen(told: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the changes that are meant.

    Raises:
        Failure: What is approved can't be read.
        click.UsageError: Nothing of a name waits for approval.
    """
    if told["problem"] is not None:
        raise Failure(f"{told['problem']}")
    changes: list[dict[str, Any]] = told["changes"]
    if not names:
        return changes
    known = {each["name"] for each in changes}
    for name in names:
        if name not in known:
            waiting = ", ".join(sorted(map(_plain, known))) or "nothing"
            raise click.UsageError(
                f"{_plain(name)} of {told['backend']} does not wait for approval; {waiting} does."
            )
    return [each for each in changes if each["name"] in names]


def _show(told: dict[str, Any], changes: Sequence[dict[str, Any]]) -> None:
    if not changes:
        click.echo(f"{told['backend']}: nothing to approve: {_why_not(told)}")
    for change in changes:
        kind = change["kind"].removesuffix("s")
        withheld = ", withheld" if change["withheld"] else ""
        head = f"{kind} {_plain(change['name'])}: {change['change']}{withheld}"
        click.echo(click.style(head, bold=True))
        for line in _difference(change):
            click.echo(f"  {click.style(line, fg=_COLOURS.get(line[:1]))}")


def _why_not(told: dict[str, Any]) -> str:
    if told["pin"] == "off":
        return "its tools and prompts are not compared with earlier ones (pin is off)"
    pinned = told["pinned"]
    counts = [
        f"{pinned[kinds]} {kinds if pinned[kinds] > 1 else kinds.removesuffix('s')}"
        for kinds in _KINDS
        if pinned[kinds]
    ]
    if not counts:
        return "no tool or prompt of it has been seen; `onemcp status` tells how it is"
    return f"{' and '.join(counts)} as first seen or last approved"


def _difference(change: dict[str, Any]) -> Iterator[str]:
    before, after = _lines(change["pinned"]), _lines(change["now"])
    for line in difflib.unified_diff(before, after, lineterm="", n=2):
        if not line.startswith(("---", "+++")):
            yield line


def _lines(shown: dict[str, Any] | None) -> list[str]:
    """Write a definition; nothing in it can do anything to a terminal, or hide from a person."""
    return [] if shown is None else json.dumps(shown, indent=2, sort_keys=True).splitlines()


def _plain(name: str) -> str:
    return json.dumps(name)[1:-1]


def _question(changes: Sequence[object]) -> str:
    return "Approve this?" if len(changes) == 1 else f"Approve these {len(changes)}?"
