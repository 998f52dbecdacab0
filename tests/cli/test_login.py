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
        ("b", {"command": "true"}, "is a program"),
        ("b", {"url": URL, "headers": {"Authorization": "x"}}, "no need to"),
        ("b", {"url": URL, "auth": {"type": "bearer", "tokenVariable": "T"}}, "no need to"),
        ("b", {"url": [URL, f"{URL}2"]}, "Say which one with `--replica`: 1, 2."),
        ("b", {"url": URL}, "There was no login: 127.0.0.1 can't be reached"),
    ],
)
def test_it_says_why_there_is_no_login(config, capsys, backend, server, message):
    config.write_text(json.dumps({"mcpServers": {"b": server}}), encoding="utf-8")
    assert main(["login", backend, "--config", str(config), "--no-browser"]) == 1
    assert message in capsys.readouterr().err


def test_a_server_that_there_is_not_is_a_wrong_command_line(config, capsys):
    config.write_text(json.dumps({"mcpServers": {"github": {"url": URL}}}), encoding="utf-8")
    for name, hint in (("githb", "Did you mean 'github'?"), ("x", "There is github.")):
        assert main(["login", name, "--config", str(config), "--no-browser"]) == 2
        assert (
            f"There is no server {name!r} in the configuration. {hint}" in capsys.readouterr().err
        )
