"""``onemcp import``: take over the servers of other MCP clients."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from onemcp import config
from onemcp.cli.changing import change, confirmed, diff, read_text
from onemcp.cli.clients import CLIENTS, UnknownShape, servers_anywhere
from onemcp.cli.failures import Failure
from onemcp.config import ConfigurationError, insert_member, parse, plain_json

KEPT: Final = ("command", "args", "env", "cwd", "url", "headers")
"""What means the same to onemcp."""

TYPES: Final = frozenset({"stdio", "http", "streamable-http", "sse"})
PASSED_OVER: Final = frozenset({"type", "disabled", "enabled", "source", "envFile"})
_EDITOR_VARIABLE: Final = re.compile(r"\$\{(?:env|input):([A-Za-z_][A-Za-z0-9_-]*)\}")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST_NAME: Final = 64


@click.command()
@click.argument("sources", nargs=-1, metavar="[CLIENT|FILE]...")
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file to add them to. By default the one that `onemcp run` finds, or "
    "else onemcp.json here.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def command(
    sources: tuple[str, ...], *, config_path: Path | None, yes: bool, dry_run: bool
) -> None:
    """Add the servers of other MCP clients to the configuration.

    CLIENT is one of claude-desktop, claude-code, cursor, vscode, windsurf, zed and codex; a FILE
    may be of any of them. Without either, all clients are looked at that are there. Shows the
    difference and asks; keeps what the file was beside it. Servers of a name that is taken are left
    out, and so is onemcp itself. A file that isn't understood ends with exit code 1, and nothing
    changed.
    """
    path = config.find(config_path, Path.cwd(), os.environ) or Path("onemcp.json")
    old = read_text(path)
    new = _merged(path, old, list(_found(sources)))
    if new == old:
        click.echo("There is nothing to add.", err=True)
        return
    for line in diff(path, old, new):
        click.echo(line)
    if dry_run or not (yes or confirmed(f"Write {path}?")):
        return
    kept = change(path, old, new)
    click.echo(f"Written: {path}.", err=True)
    if kept is not None:
        click.echo(f"What it was is kept in {kept}.", err=True)


def _meant(client: str) -> str:
    return f" Did you mean {client!r}?"


def _found(sources: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the servers of each source, by what to call the source."""
    for source in sources or tuple(CLIENTS):
        client = CLIENTS.get(source)
        path = Path(source) if client is None else client.path(os.environ)
        if not path.exists():
            if sources:
                near = [] if client else get_close_matches(source, CLIENTS, 1)
                raise Failure("".join([f"There is no file {path}.", *map(_meant, near)]))
            continue
        text = read_text(path)
        try:
            if client is None:
                yield str(path), servers_anywhere(text, toml=path.suffix == ".toml")
            else:
                yield client.title, client.servers(text)
        except UnknownShape as error:
            raise Failure(f"{path} is not understood: {error}. Nothing was changed.") from error


def _merged(path: Path, old: str, found: list[tuple[str, dict[str, Any]]]) -> str:
    new = old if old.strip() else '{\n  "mcpServers": {}\n}\n'
    known = _known(path, new)
    added = 0
    for source, servers in found:
        for name, entry in servers.items():
            fit = _UNFIT.sub("-", name).strip("-.")[:LONGEST_NAME] or "server"
            if _is_onemcp(name, entry):
                continue
            if fit in known:
                _note(f"{source}: {name} is left out, for there is a server called {fit}.")
                continue
            known.add(fit)
            new = insert_member(new, ["mcpServers"], fit, _converted(source, name, entry))
            added += 1
    if not added:
        return old
    _check(path, new)
    return new


def _known(path: Path, text: str) -> set[str]:
    try:
        document = plain_json(text)
    except ValueError as error:
        raise Failure(f"{path} is no JSON: {error}. Nothing was changed.") from error
    servers = document.get("mcpServers", {}) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise Failure(f"{path} is no configuration of onemcp. Nothing was changed.")
    return set(servers)


def _converted(source: str, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as onemcp has it, and tell what of it is left out."""
    entry = _flattened(entry)
    kept: dict[str, Any] = {key: entry.pop(key) for key in KEPT if key in entry}
    if entry.get("type") in TYPES and not ("command" in kept and entry["type"] != "stdio"):
        kept |= {"type": entry["type"]} if entry["type"] == "sse" else {}
    if entry.get("disabled") is True or entry.get("enabled") is False:
        kept["enabled"] = False
    left_out = sorted(entry.keys() - PASSED_OVER)
    if "envFile" in entry:
        left_out.append("envFile")
    if left_out:
        _note(f"{source}: of {name}, {', '.join(left_out)} means nothing here and is left out.")
    expanded = _with_variables(kept)
    if expanded != kept:
        _note(f"{source}: {name} uses variables; set them where onemcp is started.")
    return dict(expanded)


def _flattened(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Bring the names that clients have for the same into one form."""
    flat = dict(entry)
    for other in ("serverUrl", "httpUrl"):
        if other in flat:
            flat["url"] = flat.pop(other)
    if "http_headers" in flat:
        flat["headers"] = flat.pop("http_headers")
    variable = flat.pop("bearer_token_env_var", None)
    if isinstance(variable, str):
        bearer = {"Authorization": f"Bearer ${{env:{variable}}}"}
        flat["headers"] = {**flat.get("headers", {}), **bearer}
    if isinstance(flat.get("command"), dict):  # Zed's older form
        program = flat.pop("command")
        flat |= {"command": program.get("path", "")}
        flat |= {key: program[key] for key in ("args", "env") if program.get(key)}
    return flat


def _with_variables(value: Any) -> Any:
    if isinstance(value, str):
        return _EDITOR_VARIABLE.sub(lambda m: f"${{{m[1].replace('-', '_')}}}", value)
    if isinstance(value, dict):
        return {key: _with_variables(each) for key, each in value.items()}
    return [_with_variables(each) for each in value] if isinstance(value, list) else value


def _is_onemcp(name: str, entry: Mapping[str, Any]) -> bool:
    command = entry.get("command")
    words = [command, *entry.get("args", [])] if isinstance(command, str) else []
    return name == "onemcp" or (
        bool(words) and (Path(str(words[0])).name == "onemcp" or words[1:3] == ["-m", "onemcp"])
    )


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set: which are is to be seen when it runs."""

    def get(self, key: str, default: Any = None) -> Any:
        del default
        return os.environ.get(key, "value")


def _check(path: Path, text: str) -> None:
    try:
        parse(text, source=str(path), environ=_AnyVariable())
    except ConfigurationError as error:
        raise Failure(f"It would not be usable, and nothing was changed.\n{error}") from error


def _note(text: str) -> None:
    click.echo(text, err=True)
