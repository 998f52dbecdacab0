from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from typing import Any

import attrs
import pytest

from onemcp.app import Started
from onemcp.cli.banner import show, snippets
from onemcp.cli.events import new_log
from onemcp.config import Log
from onemcp.multiplexer import Conflict, ConflictsChanged
from onemcp.telemetry import configure_logging

URL = "http://127.0.0.1:8722/mcp"
SERVICE = Started(
    url=URL,
    token="t0k.e_n",
    demo=False,
    backends=("github", "files"),
    auth_mode="local",
    config=Path("/etc/one\x1bmcp.json"),
)
DEMO = attrs.evolve(SERVICE, demo=True, config=None, backends=("demo",))
OPEN = attrs.evolve(DEMO, token=None, auth_mode="none")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(started: Started, stream: io.StringIO) -> str:
    show(started, stream)
    return stream.getvalue()


def test_snippets_are_what_the_programs_read():
    claude, cursor, file, shell, inspector = (text for _, text in snippets(DEMO))
    header = "Authorization: Bearer t0k.e_n"
    assert shlex.split(claude) == [
        "claude", "mcp", "add", "--transport", "http", "onemcp", URL, "--header", header,
    ]  # fmt: skip
    headers = {"Authorization": "Bearer t0k.e_n"}
    assert json.loads(cursor) == {"mcpServers": {"onemcp": {"url": URL, "headers": headers}}}
    entry = {"type": "http", "url": URL, "headers": headers}
    assert json.loads(file) == {"servers": {"onemcp": entry}}
    *command, added = shlex.split(shell)
    assert command == ["code", "--add-mcp"]
    assert json.loads(added) == {"name": "onemcp", **entry}
    assert shlex.split(inspector)[:2] == ["npx", "@modelcontextprotocol/inspector"]
    assert header in shlex.split(inspector)


def test_snippets_have_no_token_where_none_is_needed():
    assert "Authorization" not in str(snippets(OPEN))
    assert "Bearer TOKEN" in str(snippets(attrs.evolve(DEMO, token=None)))


@pytest.mark.parametrize("started", [SERVICE, DEMO, OPEN])
def test_first_line_has_the_address(started):
    first = _shown(started, io.StringIO()).splitlines()[0]
    assert first.startswith(f"onemcp listens on {URL}")


def test_only_the_demo_shows_its_token_in_a_log():
    assert "t0k.e_n" in _shown(DEMO, io.StringIO())
    assert "t0k.e_n" not in _shown(SERVICE, io.StringIO())


def test_terminal_shows_everything_whole_and_nothing_that_drives_it():
    shown = _shown(SERVICE, Terminal())
    assert "github, files" in shown
    assert r"/etc/one\x1bmcp.json" in shown
    assert "\x1bm" not in shown
    for _, text in snippets(SERVICE):
        assert all(line in shown for line in text.splitlines())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backends": ()}, "nothing: no backend is enabled"),
        ({"token": None}, "run `onemcp token`"),
        ({"auth_mode": "none"}, "none is needed"),
        ({"demo": True}, "a demo"),
    ],
)
def test_terminal_is_told_what_is_special(changes, told):
    assert told in _shown(attrs.evolve(SERVICE, **changes), Terminal())


class Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_output_that_fails_is_nothing_to_stop_for():
    show(DEMO, Gone())
    closed = io.StringIO()
    closed.close()
    show(DEMO, closed)


@pytest.mark.parametrize(("conflicts", "level"), [((), "info"), ((1,), "warning")])
def test_conflicts_are_logged_until_they_have_gone(conflicts, level, request):
    stream = io.StringIO()
    log = new_log(configure_logging(Log(), stream))
    event: Any = ConflictsChanged(tuple(map(_conflict, conflicts)))
    log(event)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("conflicts_changed", level)


def _conflict(_number: int) -> Conflict:
    return Conflict(*["x"] * len(attrs.fields(Conflict)))  # type: ignore[arg-type]  # never read
