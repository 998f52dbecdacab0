"""`onemcp run`, as a real process, and what it does when it cannot."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from onemcp import app
from onemcp.cli import main
from onemcp.cli.failures import Failure, leaves, unreachable_address
from onemcp.supervision import SupervisionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Any]

PATIENCE = 60
"""Seconds that anything may take."""
JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
URL = re.compile(r"http://127\.0\.0\.1:\d+/mcp")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class Running:
    """An `onemcp run` whose output is collected."""

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self.process = process
        self.output = output
        self.text = ""

    def read_until(self, pattern: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            self._read(0.1)
        return self.text

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.05)
        code = self.process.wait(PATIENCE)
        while self._read(0):
            pass
        return code

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self.output], [], [], patience)
        try:
            data = os.read(self.output, 65_536) if ready else b""
        except OSError as error:  # what a terminal says at its end
            assert error.errno == errno.EIO  # noqa: PT017  (anything else is to be seen)
            return False
        self.text += data.decode()
        return bool(data)


@pytest.fixture
def start(home, environment) -> Start:
    @contextmanager
    def started(*arguments: str, terminal: bool = False) -> Iterator[Running]:
        reader, writer = pty.openpty() if terminal else os.pipe()
        with (home / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "onemcp", "run", "--port", "0", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=errors,
                cwd=home,
                env={**environment, "TERM": "xterm-256color"},
            )
        os.close(writer)
        try:
            yield Running(process, reader)
        finally:
            process.kill()
            process.wait()
            os.close(reader)

    return started


def _discover(url: str, token: str | None) -> httpx.Response:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "server/discover",
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}
    return httpx.post(url, headers=headers, json=body, timeout=PATIENCE)


def _wait_for(path: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _configure(home: Any, **sections: Any) -> str:
    servers = {"github": {"command": "no-such-program", "enabled": False}}
    configuration: dict[str, Any] = {"mcpServers": servers, **sections}
    (home / "onemcp.json").write_text(json.dumps(configuration))
    return "onemcp.json"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo_is_announced_with_all_that_is_needed(number, start, home):
    with start() as running:
        text = running.read_until("MCP Inspector\n.*\n")
        [url] = set(URL.findall(text))
        [token] = set(JWT.findall(text))
        assert text.startswith(f"onemcp listens on {url}\n")
        assert "\x1b" not in text
        assert _discover(url, token).json()["result"]["supportedVersions"]
        assert _discover(url, None).status_code == 401
        _wait_for(home / "stderr", "backend_ready")
        assert running.stop(number) == 0
    logged = [json.loads(line) for line in (home / "stderr").read_text().splitlines()]
    assert [line["backend"] for line in logged if line["event"] == "backend_ready"] == ["demo"]
    [stopping] = [line for line in logged if line["event"] == "stopping"]
    assert (stopping["signal"], stopping["in_flight"]) == (number.name, 0)
    assert "eyJ" not in str(logged)


def test_service_prints_one_line_and_no_token(start, home):
    _configure(home)
    with start() as running:
        text = running.read_until("\n")
        assert running.stop(signal.SIGTERM) == 0
        assert running.text == text
    assert re.fullmatch(
        rf"onemcp listens on {URL.pattern} \(for a token, run `onemcp token`\)\n", text
    )


def test_service_that_needs_no_token_speaks_of_none(start, home):
    _configure(home, auth={"mode": "none"})
    with start() as running:
        text = running.read_until("\n")
        assert re.fullmatch(rf"onemcp listens on {URL.pattern}\n", text)
        assert _discover(text.split()[-1], None).status_code == 200
        assert running.stop(signal.SIGTERM) == 0


def test_terminal_gets_all_of_it_in_colour(start, home):
    path = _configure(home)
    with start("--config", path, terminal=True) as running:
        text = running.read_until("tools/list")
        assert running.stop(signal.SIGINT) == 0
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")
    assert "  serves  nothing: no backend is enabled\n  config  onemcp.json\n  token   eyJ" in plain
    # What is to be pasted is whole: no line is broken at the width of the terminal.
    assert re.search(
        r"^claude mcp add --transport http onemcp .* 'Authorization: Bearer eyJ\S+'$",
        plain,
        re.MULTILINE,
    )


def test_terminal_does_not_hear_of_tokens_where_none_is_needed(start, home):
    _configure(home, auth={"mode": "none"})
    with start(terminal=True) as running:
        text = running.read_until("tools/list")
    assert "whoever reaches the address may call" in text
    assert "Bearer" not in text


def test_changes_of_the_log_level_take_effect_with_the_configuration(start, home):
    _configure(home, log={"level": "debug", "format": "human"})
    with start() as running:
        running.read_until("\n")
        assert running.stop(signal.SIGTERM) == 0
    assert "supervisor_started" in (home / "stderr").read_text()


def test_output_that_cannot_be_written_does_not_stop_it(start, home, environment):
    port = _free_port()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "onemcp", "run", "--port", str(port)]
    with subprocess.Popen(
        command, stdout=writer, stderr=subprocess.DEVNULL, cwd=home, env=environment
    ) as process:
        os.close(writer)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                assert _discover(f"http://127.0.0.1:{port}/mcp", None).status_code == 401
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


# What it cannot do


def _assert_failed(ended: Any, code: int, *told: str) -> None:
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for text in told:
        assert text in ended.stderr


def test_port_in_use_is_named(onemcp):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = onemcp("run", "--port", str(port))
    _assert_failed(ended, 69, f"Port {port} of 127.0.0.1 is in use", "--port")


def test_configured_port_in_use_is_named(onemcp, home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        _configure(home, server={"port": port})
        _assert_failed(onemcp("run"), 69, f"Port {port} of 127.0.0.1 is in use", "--port")


def test_a_second_one_is_refused_and_what_a_killed_one_left_behind_is_replaced(start, onemcp, home):
    _configure(home)
    with start() as running:
        running.read_until("\n")
        pid = running.process.pid
        before = sorted(path for path in home.rglob("*") if path.suffix == ".json")
        _assert_failed(onemcp("run"), 69, f"process {pid} listens on", "--socket")
        assert sorted(path for path in home.rglob("*") if path.suffix == ".json") == before
        running.process.kill()
        running.process.wait(PATIENCE)
    with start() as running:
        running.read_until("\n")
        assert running.stop(signal.SIGTERM) == 0


def test_foreign_host_is_named(onemcp):
    _assert_failed(onemcp("run", "--host", "192.0.2.1"), 69, "192.0.2.1", "--host")


def test_all_problems_of_the_configuration_are_told(onemcp, home):
    _configure(home, server={"port": 99_999}, log={"level": "loud"})
    ended = onemcp("run")
    _assert_failed(ended, 78, "server.port", "log.level")
    _assert_failed(onemcp("run", "--config", "missing.json"), 78, "missing.json: cannot be read")


def test_unusable_state_directory_is_told(onemcp, home, environment):
    (home / "file").write_text("")
    ended = onemcp("run", "--port", "0", env={**environment, "STATE_DIRECTORY": str(home / "file")})
    _assert_failed(ended, 73, "file")


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130, ""),
        (ExceptionGroup("", [ExceptionGroup("", [SupervisionError("too often")])]), 1, "too often"),
        (FileNotFoundError(2, "No such file or directory"), 1, "No such file"),
    ],
)
def test_whatever_is_raised_becomes_an_exit_code(raised, code, told, monkeypatch, capsys):
    def run(_serve: object) -> None:
        raise raised

    monkeypatch.setattr(trio, "run", run)
    assert main(["run"]) == code
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "raised",
    [
        ZeroDivisionError(),
        ExceptionGroup("", [ZeroDivisionError()]),
        BaseExceptionGroup("", [KeyboardInterrupt(), ZeroDivisionError()]),
    ],
)
def test_bugs_are_not_hidden(raised, monkeypatch):
    def run(_serve: object) -> None:
        raise raised

    monkeypatch.setattr(trio, "run", run)
    with pytest.raises(type(raised)):
        main(["run"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(-2, "unknown"), "There is no host 'h'. Choose another with --host."),
        (OSError(errno.EADDRINUSE, ""), "Port 1 of h is in use. Choose another with --port, or 0"),
        (OSError(errno.EADDRNOTAVAIL, ""), "h is no address of this machine."),
        (OSError(errno.EACCES, ""), "Port 1 is not yours to use."),
        (OSError(errno.EIO, "Input/output error"), "Cannot listen on h, port 1: Input/output"),
        (OSError("unknown"), "Cannot listen on h, port 1: unknown"),
    ],
)
def test_addresses_are_explained(error, told):
    failure = unreachable_address(error, "h", 1)
    assert isinstance(failure, Failure)
    assert failure.exit_code == 69
    assert failure.message.startswith(told)


def test_groups_are_looked_through():
    first, second = ValueError(), KeyError()
    assert list(leaves(ExceptionGroup("", [first, ExceptionGroup("", [second])]))) == [
        first,
        second,
    ]


def test_options_reach_the_application(monkeypatch, tmp_path):
    seen: list[app.RunOptions] = []

    async def serve(options: app.RunOptions, **_hooks: object) -> None:
        seen.append(options)

    monkeypatch.setattr(app, "serve", serve)
    assert main(["run", "--config", str(tmp_path / "x"), "--host", "::1", "--port", "0"]) == 0
    assert main(["run"]) == 0
    assert seen == [app.RunOptions(tmp_path / "x", "::1", 0), app.RunOptions(None, None, None)]
