"""What `run` prints once it listens: the address, and how to add it to a client."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TextIO

import click

from onemcp.app import Started

NAME: Final = "onemcp"
PLACEHOLDER: Final = "TOKEN"
"""Stands where a token belongs, if there is none to show."""


class Snippet(NamedTuple):
    """Something to paste.

    Attributes:
        title: Where it goes.
        text: What to paste.
    """

    title: str
    text: str


def show(started: Started, stream: TextIO) -> None:
    """Print what a person needs to know; on a terminal, or for the demo, all of it.

    What goes elsewhere usually ends up in a service's log, where no token belongs. That nobody
    reads it is no reason to stop serving.
    """
    try:
        lines = (
            _drawn(started, _unstyled if os.environ.get("NO_COLOR") else click.style)
            if stream.isatty()
            else _plain(started)
        )
        stream.write("\n".join(lines) + "\n")
        stream.flush()
    except (OSError, ValueError):
        return


def snippets(started: Started) -> list[Snippet]:
    """Return what to paste where, with the token in it if there is one."""
    url = started.url
    headers = {}
    if started.auth_mode != "none":
        headers = {"Authorization": f"Bearer {started.token or PLACEHOLDER}"}
    flags = "".join(f" --header {shlex.quote(f'{key}: {value}')}" for key, value in headers.items())
    remote: dict[str, Any] = {"url": url} | ({"headers": headers} if headers else {})
    for_code = {"type": "http", **remote}
    added = json.dumps({"name": NAME, **for_code})
    return [
        Snippet("Claude Code", f"claude mcp add --transport http {NAME} {url}{flags}"),
        Snippet("Cursor: ~/.cursor/mcp.json", _indented({"mcpServers": {NAME: remote}})),
        Snippet("VS Code: .vscode/mcp.json", _indented({"servers": {NAME: for_code}})),
        Snippet("VS Code, from a shell", f"code --add-mcp {shlex.quote(added)}"),
        Snippet(
            "MCP Inspector",
            "npx @modelcontextprotocol/inspector --cli --transport http "
            f"--server-url {url}{flags} --method tools/list",
        ),
    ]


def _indented(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)


def _facts(started: Started) -> Iterator[tuple[str, str]]:
    """Yield what there is to know besides the address."""
    if started.demo:
        yield "serves", "a demo; write onemcp.json to serve your own MCP servers"
    else:
        yield "serves", ", ".join(started.backends) or "nothing: no backend is enabled"
    if started.config is not None:
        yield "config", ascii(str(started.config))[1:-1]
    if started.auth_mode == "none":
        yield "token", "none is needed: whoever reaches the address may call"
    elif started.token is None:
        yield "token", "run `onemcp token`"
    else:
        yield "token", f"{started.token}"
        yield "", "It is valid for a day; `onemcp token` issues others."


def _address(started: Started) -> str:
    return f"onemcp listens on {started.url}"


def _plain(started: Started) -> Iterator[str]:
    if not started.demo:
        hint = "" if started.auth_mode == "none" else " (for a token, run `onemcp token`)"
        yield _address(started) + hint
        return
    yield _address(started)
    for name, value in _facts(started):
        yield f"  {name:<7} {value}"
    for title, text in snippets(started):
        yield ""
        yield title
        yield from (f"  {line}" for line in text.splitlines())


def _drawn(started: Started, style: Callable[..., str]) -> Iterator[str]:
    yield style(_address(started), fg="green", bold=True)
    for name, value in _facts(started):
        yield f"  {style(f'{name:<7}', dim=True)} {value}"
    for title, text in snippets(started):
        yield ""
        yield style(title, bold=True)
        # Not indented: what is selected with the mouse is pasted as it is.
        yield style(text, fg="cyan")
    yield ""


def _unstyled(text: str, **_styles: object) -> str:
    return text
