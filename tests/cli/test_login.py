"""``onemcp login`` where there is nothing to log in at; the rest is in `tests/conformance`."""

from __future__ import annotations

import json

import pytest

from onemcp.cli.program import main

URL = "http://127.0.0.1:1/mcp"


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path / "onemcp.json"


@pytest.mark.parametrize(
    ("backend", "server", "message"),
    [
        ("other", {"url": URL}, "There is no server 'other'"),
        ("b", {"command": "true"}, "is a program"),
        ("b", {"url": URL, "headers": {"Authorization": "x"}}, "no need to"),
        ("b", {"url": URL, "auth": {"type": "bearer", "tokenVariable": "T"}}, "no need to"),
        ("b", {"url": URL}, "There was no login: 127.0.0.1 can't be reached"),
    ],
)
def test_it_says_why_there_is_no_login(config, capsys, backend, server, message):
    config.write_text(json.dumps({"mcpServers": {"b": server}}), encoding="utf-8")
    assert main(["login", backend, "--config", str(config), "--no-browser"]) == 1
    assert message in capsys.readouterr().err
