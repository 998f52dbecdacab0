"""``onemcp tools``, ``call``, ``read`` and ``prompt``: use what is behind a running onemcp."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from onemcp.cli import completion, instance
from onemcp.cli.asking import Asker, Refused
from onemcp.cli.failures import ExitCode, Failure
from onemcp.cli.options import as_json_option

STDIN: Final = "-"
LARGEST_INPUT: Final = 8 * 1024 * 1024
"""How much is read from stdin, in bytes."""

INDENT: Final = 4

_view_option = click.option(
    "--view", metavar="NAME", help="Ask this view, or this one server, with its own names."
)


@click.command()
@click.argument("name", required=False, shell_complete=completion.tools)
@_view_option
@as_json_option
@instance.options
def tools(
    name: str | None,
    *,
    view: str | None,
    config_path: Path | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """List the tools of a running onemcp; with a NAME, show one with its parameters."""
    with _asking(socket, config_path, view) as asker:
        listed = asker.list("tools/list", "tools")
    if name is not None:
        tool = _find(listed, name)
        if tool is None:
            raise _unknown(listed, name, "tool")
        click.echo(json.dumps(tool, indent=2) if as_json else _described(tool))
    else:
        _show_list(listed, "name", as_json=as_json)


@click.command()
@click.argument("name", shell_complete=completion.tools)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE...|JSON|-]")
@_view_option
@as_json_option
@instance.options
@click.pass_context
def call(
    ctx: click.Context,
    name: str,
    arguments: tuple[str, ...],
    *,
    view: str | None,
    config_path: Path | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Call the tool NAME of a running onemcp, and print what it returns.

    Arguments are KEY=VALUE, where the tool's schema tells text from other values; or one JSON
    object; or `-` for a JSON object on stdin. Text is printed as it is; --json prints the whole
    result. What the server asks meanwhile is asked at the terminal, on stderr; where there is none,
    it is declined. Ends with exit code 1 if the tool says that it has failed.
    """
    with (
        _asking(socket, config_path, view) as asker,
        _named(asker.list("tools/list", "tools"), name, "tool") as tool,
    ):
        result = asker.call(tool, _arguments(arguments, tool.get("inputSchema")))
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        for item in result.get("content", []):
            click.echo(_content(item))
    if result.get("isError"):
        ctx.exit(ExitCode.FAILED)


@click.command()
@click.argument("uri", required=False, shell_complete=completion.resources)
@_view_option
@as_json_option
@instance.options
def read(
    uri: str | None,
    *,
    view: str | None,
    config_path: Path | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Read the resource URI from a running onemcp; without one, list what there is.

    Text and data are printed as they are; --json prints the whole result.
    """
    with _asking(socket, config_path, view) as asker:
        if uri is None:
            _show_list(asker.list("resources/list", "resources"), "uri", as_json=as_json)
            return
        result = asker.ask("resources/read", {"uri": uri})
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for item in result.get("contents", []):
        if "text" in item:
            click.echo(item["text"], nl=not item["text"].endswith("\n"))
        else:
            _write_data(item)


@click.command()
@click.argument("name", required=False, shell_complete=completion.prompts)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE...|JSON|-]")
@_view_option
@as_json_option
@instance.options
def prompt(
    name: str | None,
    arguments: tuple[str, ...],
    *,
    view: str | None,
    config_path: Path | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Get the prompt NAME from a running onemcp; without one, list what there is.

    Arguments are given as to `onemcp call`; their values are text.
    """
    with _asking(socket, config_path, view) as asker:
        listed = asker.list("prompts/list", "prompts")
        if name is None:
            _show_list(listed, "name", as_json=as_json)
            return
        with _named(listed, name, "prompt"):
            given = _arguments(arguments, {})
            result = asker.ask("prompts/get", {"name": name, "arguments": given})
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for message in result.get("messages", []):
        click.echo(f"{click.style(message.get('role', '?'), bold=True)}: ", nl=False)
        click.echo(_content(message.get("content", {})))


@contextmanager
def _asking(socket: Path | None, config_path: Path | None, view: str | None) -> Iterator[Asker]:
    with instance.reached(socket, config_path) as running:
        try:
            yield Asker(running, view)
        except Refused as refused:
            # The endpoint of a view that there is not is refused with what there is.
            if view is not None and "no such endpoint" in str(refused.error.get("message")):
                raise click.UsageError(f"There is no view or server {view!r}.") from refused
            raise


# --- what goes in -------------------------------------------------------------------------------


def _arguments(words: Sequence[str], schema: Any) -> dict[str, Any]:
    """Read arguments as a person gives them.

    Raises:
        click.UsageError: They are none.
    """
    if words == (STDIN,):
        data = sys.stdin.buffer.read(LARGEST_INPUT + 1)
        if len(data) > LARGEST_INPUT:
            raise click.UsageError(f"stdin has more than {LARGEST_INPUT} bytes.")
        return _object(data, "stdin")
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return _object(words[0], "the argument")
    read: dict[str, Any] = {}
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{word!r} is no argument: write KEY=VALUE, or a JSON object.")
        read[key] = _value(value, properties.get(key))
    return read


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise click.UsageError(f"{what} must be a JSON object.")
    return value


def _value(text: str, schema: Any) -> Any:
    """Read a value: what the schema wants to be anything but text is JSON."""
    kinds = schema.get("type") if isinstance(schema, dict) else "string"
    if kinds is None or kinds == "string" or (isinstance(kinds, list) and "string" in kinds):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the server says best what it wants instead


# --- what comes out -----------------------------------------------------------------------------


@contextmanager
def _named(listed: Sequence[dict[str, Any]], name: str, what: str) -> Iterator[dict[str, Any]]:
    """Find the item of a name, to ask for it; where there is none, name the nearest.

    What isn't listed is asked for all the same: onemcp tells what is withheld, or of a server that
    is not up, from what has never been.

    Raises:
        click.UsageError: There is none.
    """
    found = _find(listed, name)
    try:
        yield found or {"name": name}
    except Refused as refused:
        if found is not None or not str(refused.error.get("message")).startswith("Unknown"):
            raise
        raise _unknown(listed, name, what) from refused


def _find(listed: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((item for item in listed if item["name"] == name), None)


def _unknown(listed: Sequence[dict[str, Any]], name: str, what: str) -> click.UsageError:
    near = get_close_matches(name, [item["name"] for item in listed], 1)
    lister = "onemcp tools" if what == "tool" else "onemcp prompt"
    hint = f"Did you mean {near[0]!r}?" if near else f"`{lister}` lists them."
    return click.UsageError(f"There is no {what} {name!r}. {hint}")


def _show_list(items: Sequence[Mapping[str, Any]], key: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(items, indent=2))
        return
    for item in items:
        text = str(item.get("description") or item.get("title") or "").strip()
        first = text.splitlines()[0] if text else ""
        click.echo(f"{click.style(item[key], bold=True)}  {first}".rstrip())


def _described(tool: Mapping[str, Any]) -> str:
    lines = [click.style(tool["name"], bold=True)]
    if tool.get("description"):
        lines += ["", str(tool["description"]).strip()]
    lines += ["", json.dumps(tool.get("inputSchema", {}), indent=INDENT)]
    return "\n".join(lines)


def _content(item: Mapping[str, Any]) -> str:
    if item.get("type") == "text":
        return str(item.get("text", ""))
    resource = item.get("resource")
    if isinstance(resource, dict) and "text" in resource:
        return str(resource["text"])
    kind = item.get("mimeType") or item.get("uri") or ""
    return f"[{item.get('type', 'unknown')} {kind}; --json shows it]".replace(" ;", ";")


def _write_data(item: Mapping[str, Any]) -> None:
    try:
        data = base64.b64decode(str(item.get("blob", "")), validate=True)
    except ValueError as error:
        raise Failure("the server sent what is no base64") from error
    if sys.stdout.isatty():
        click.echo(f"[{len(data)} bytes of {item.get('mimeType', 'data')}; not for a terminal]")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
