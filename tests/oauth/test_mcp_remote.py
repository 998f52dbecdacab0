"""`mcp-remote`, through which programs that speak stdio only come: a real browser lets it in."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.oauth.conftest import PATIENCE, Browser
from tests.support import npm

pytestmark = pytest.mark.interop
HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Remote:
    """A program that speaks stdio, behind which `mcp-remote` speaks HTTP.

    Attributes:
        said: What it has said on stderr.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.said: list[str] = []
        self._process = process
        self._id = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request, and return its result."""
        self._id += 1
        self._send({"id": self._id, "method": method, "params": params})
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("id") == self._id:
                assert "result" in message, (message, self.said)
                return message["result"]
        raise AssertionError(f"it ended: {''.join(self.said)}")

    def initialize(self) -> None:
        self.ask("initialize", **HANDSHAKE)
        self._send({"method": "notifications/initialized"})

    def let_in(self, browser: Browser) -> None:
        """Read what it says until it ends, and let it in where it asks for that.

        Where that fails it is ended, so that nobody waits for its answer.
        """
        assert self._process.stderr is not None
        address, listening = "", False
        try:
            for line in self._process.stderr:
                self.said.append(line)
                # Which comes first depends on whether it had tokens; a browser may be quicker.
                listening = listening or "callback server running" in line
                if "/oauth/authorize?" in line:
                    address = line[line.index("http") :].strip()
                if address and listening:
                    [callback] = parse_qs(urlsplit(address).query)["redirect_uri"]
                    browser.let_in(address, callback)
                    address = ""
        finally:
            self._process.kill()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()


@contextmanager
def mcp_remote(url: str, port: int, browser: Browser, folder: Path) -> Iterator[Remote]:
    """Run it, and let it in where it asks for that.

    Args:
        url: The endpoint.
        port: Where it listens for the browser: it registers anew, and asks again, for another one.
        browser: Who lets it in.
        folder: Where it keeps its tokens.
    """
    node = npm.installed()
    with subprocess.Popen(
        node.command("mcp-remote", url, str(port), "--transport", "http-only"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The browser that it would open does nothing: the address is on stderr, too.
        env={**node.environment(), "MCP_REMOTE_CONFIG_DIR": str(folder), "BROWSER": "true"},
    ) as process:
        remote = Remote(process)
        reader = threading.Thread(target=remote.let_in, args=(browser,))
        reader.start()
        try:
            yield remote
        finally:
            process.terminate()
            process.wait(PATIENCE)
            reader.join(PATIENCE)


@pytest.fixture
def port() -> int:
    """A free port that no other program is given by chance in the meantime."""
    while True:
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", 20_000 + secrets.randbelow(10_000)))
            except OSError:
                continue
            return candidate.getsockname()[1]


def test_mcp_remote_logs_in_calls_and_refreshes(
    url: str, port: int, browser: Browser, tmp_path: Path
) -> None:
    browser.name = "bob"
    with mcp_remote(url, port, browser, tmp_path) as remote:
        remote.initialize()
        names = [tool["name"] for tool in remote.ask("tools/list")["tools"]]
        assert "demo__add" in names
        added = remote.ask("tools/call", name="demo__add", arguments={"a": 1, "b": 2})
        assert added["structuredContent"] == {"sum": 3}
    [kept] = tmp_path.rglob("*_tokens.json")
    before = json.loads(kept.read_text())
    assert before["scope"] == "backend:demo"
    kept.write_text(json.dumps({**before, "access_token": "expired"}))
    with mcp_remote(url, port, browser, tmp_path) as remote:
        remote.initialize()
        assert [tool["name"] for tool in remote.ask("tools/list")["tools"]] == names
    assert json.loads(kept.read_text())["refresh_token"] != before["refresh_token"]
    assert len(browser.asked) == 1, f"nobody is asked for a refresh: {''.join(remote.said)}"
