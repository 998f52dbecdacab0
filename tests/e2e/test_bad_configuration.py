"""What cannot be started is refused as a whole: where, why, what to do, and nothing runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.process_tree import marked
from tests.support.running import MARKER, command, program

CONFIGURATION, STATE, UNAVAILABLE = 78, 73, 69
PATIENCE = 60
"""Seconds after which a gateway that has not refused to start is taken to be running."""
GOOD = {"mcpServers": {"good": program()}}


@dataclass
class Refusal:
    """How a gateway ended that was not to start.

    Attributes:
        code: Its exit code.
        stdout: What it printed.
        stderr: Why it ended.
    """

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def start(tmp_path) -> Any:
    """Start a gateway that is expected to refuse; nothing of it may be left."""
    marker = uuid.uuid4().hex

    def run(text: str | bytes | None, *options: str, **environ: str) -> Refusal:
        config = tmp_path / "onemcp.json"
        if text is not None:
            config.write_bytes(text.encode() if isinstance(text, str) else text)
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "STATE_DIRECTORY": ""}
        environment = {**os.environ, **state, **environ, MARKER: marker}
        done = subprocess.run(
            command(config, *options),
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Refusal(done.returncode, done.stdout, done.stderr)

    yield run
    assert marked(marker) == set()


MANY = """{
  "mcpServers": {
    "a": {"comand": "x"},
    "b": {"command": "x", "url": "http://127.0.0.1/"},
    "c": {"command": "${ONEMCP_TEST_UNSET}"},
    "d": {"command": 1},
    "e": {"command": "x"},
    "e": {"command": "y"},
  },
  "server": {"port": 70000},
  "sever": {},
}"""
TOLD = [
    (3, "mcpServers.a.comand", '"command"'),
    (4, "mcpServers.b", '"command"', '"url"'),
    (5, "mcpServers.c.command", "ONEMCP_TEST_UNSET"),
    (6, "mcpServers.d.command", "a string"),
    (8, "mcpServers.e", "twice"),
    (10, "server.port", "65535"),
    (11, "sever", '"server"'),
]
"""The lines at fault, and what is said of each."""


def test_every_mistake_is_told_at_once_with_its_line_and_a_remedy(start, tmp_path):
    refusal = start(MANY)
    assert refusal.code == CONFIGURATION
    assert refusal.stdout == ""
    assert "Traceback" not in refusal.stderr
    for line, *words in TOLD:
        place = f"{tmp_path / 'onemcp.json'}:{line}:"
        told = [each for each in refusal.stderr.splitlines() if each.startswith(place)]
        assert any(all(each in line for each in words) for line in told), (words, told)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "onemcp.json: is empty", "Start with"),
        ('{\n  "mcpServers": {\n    "a" {}\n  }\n}', "onemcp.json:3:9:", "expected"),
        (b'{\n  "mcpServers": {"\xff": {"command": "x"}}\n}', "onemcp.json:2:19:", "UTF-8"),
    ],
    ids=["empty", "no JSON", "no UTF-8"],
)
def test_file_that_is_no_configuration_is_told(start, text, place, words):
    refusal = start(text)
    assert refusal.code == CONFIGURATION
    assert refusal.stdout == ""
    assert place in refusal.stderr
    assert words in refusal.stderr
    assert "Traceback" not in refusal.stderr


def test_file_that_is_not_there_is_told(start, tmp_path):
    refusal = start(None)
    assert refusal.code == CONFIGURATION
    assert str(tmp_path / "onemcp.json") in refusal.stderr
    assert "no such file" in refusal.stderr
    assert "Traceback" not in refusal.stderr


def test_file_that_cannot_be_read_is_told(start, tmp_path):
    # Root may read what is nobody's to read; nobody can read a directory as a file, or a link to
    # itself.
    config = tmp_path / "onemcp.json"
    config.symlink_to(config)
    refusal = start(None)
    assert refusal.code == CONFIGURATION
    assert str(config) in refusal.stderr
    assert "cannot be read" in refusal.stderr
    assert "readable file" in refusal.stderr


def test_values_of_a_refused_file_are_not_repeated(start):
    secret = "x" * 8 + "secret" + "y" * 8
    document = {
        "mcpServers": {"a": {"command": "x", "env": {"TOKEN": [secret]}, "headers": secret}}
    }
    refusal = start(json.dumps(document))
    assert refusal.code == CONFIGURATION
    assert secret not in refusal.stderr


def test_port_in_use_is_told(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refusal = start(json.dumps(GOOD), "--port", str(port))
    assert refusal.code == UNAVAILABLE
    assert f"Port {port} of 127.0.0.1 is in use" in refusal.stderr
    assert "--port" in refusal.stderr
    assert "Traceback" not in refusal.stderr
    assert refusal.stdout == ""


def test_address_of_another_machine_is_told(start):
    refusal = start(json.dumps(GOOD), "--host", "192.0.2.1")
    assert refusal.code == UNAVAILABLE
    assert "192.0.2.1 is no address of this machine" in refusal.stderr
    assert "Traceback" not in refusal.stderr


def test_state_directory_that_others_may_write_to_is_refused(start, tmp_path):
    state = tmp_path / "open"
    state.mkdir()
    state.chmod(0o777)
    refusal = start(json.dumps(GOOD), STATE_DIRECTORY=str(state))
    _is_refused(refusal, state)
    assert f"chmod 700 {state}" in refusal.stderr


def test_keys_that_others_may_read_are_refused(start, tmp_path):
    state = tmp_path / "state" / "onemcp"
    state.mkdir(parents=True, mode=0o700)
    (state / "keys.json").write_text("{}")
    (state / "keys.json").chmod(0o644)
    refusal = start(json.dumps(GOOD))
    _is_refused(refusal, state / "keys.json")
    assert f"chmod 600 {state / 'keys.json'}" in refusal.stderr


@pytest.mark.parametrize("obstacle", ["file", "/proc"])
def test_state_directory_that_cannot_be_written_is_refused(start, tmp_path, obstacle):
    state = Path("/proc/onemcp") if obstacle == "/proc" else tmp_path / "file" / "onemcp"
    (tmp_path / "file").write_text("in the way")
    refusal = start(json.dumps(GOOD), STATE_DIRECTORY=str(state))
    _is_refused(refusal, state)
    assert "Choose a directory that this user may write to" in refusal.stderr


def _is_refused(refusal: Refusal, path: Path) -> None:
    assert refusal.code == STATE
    assert refusal.stdout == ""
    assert str(path) in refusal.stderr
    assert "Traceback" not in refusal.stderr
