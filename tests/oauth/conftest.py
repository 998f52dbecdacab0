from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import npm
from tests.support.passwords import hashed
from tests.support.processes import serving

PASSWORD = "correct horse battery"
PERSON = Path(__file__).parent / "programs" / "person.mjs"
PATIENCE = 120
DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}


class Chromium(NamedTuple):
    """A headless browser, and the address at which a client of its machine would listen."""

    process: subprocess.Popen[str]
    callback: str


class Browser:
    """A person with a headless Chromium.

    Attributes:
        callback: Where the browser may be sent in the end.
        name: Who logs in.
        without: Scopes that the person doesn't agree to.
        asked: What the pages asked the person to agree to.
    """

    def __init__(self, process: subprocess.Popen[str], callback: str) -> None:
        self.callback = callback
        self.name = "ada"
        self.without: list[str] = []
        self.asked: list[str] = []
        self._process = process

    def let_in(self, url: str, callback: str | None = None) -> str:
        """Do what the pages ask for; return where the browser was sent.

        Args:
            url: Where the client sends the browser.
            callback: Where it will be sent in the end, if not where the person's server listens.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = {
            "url": url,
            "name": self.name,
            "password": PASSWORD,
            "without": self.without,
            "callback": callback or self.callback,
        }
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        outcome = json.loads(self._process.stdout.readline())
        assert "error" not in outcome, outcome
        assert outcome["refused"] == [], "the browser has refused something"
        self.asked.append(outcome["asked"])
        return outcome["location"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    node = npm.installed()
    with (
        tempfile.TemporaryDirectory() as folder,  # for the browser, which is unpacked there
        subprocess.Popen(
            [str(node.node), str(PERSON), str(node.modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**node.environment(), "TMPDIR": folder},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        yield Chromium(process, json.loads(process.stdout.readline())["callback"])
        process.stdin.close()
        process.wait(PATIENCE)


@pytest.fixture
def browser(chromium: Chromium) -> Browser:
    return Browser(chromium.process, chromium.callback)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a gateway in which people may do different things.

    `ada` may do everything, `bob` use what one backend offers, and `cyd` two tools of it.
    """
    tmp_path = tmp_path_factory.mktemp("gateway")
    password = hashed(PASSWORD)
    users: dict[str, Any] = {
        "ada": {"password": password},
        "bob": {"password": password, "scopes": ["backend:demo"]},
        "cyd": {"password": password, "scopes": ["tool:demo/echo", "tool:demo/add"]},
    }
    clients = {"suite": {"redirectUris": ["http://127.0.0.1/callback"]}}
    file = tmp_path / "onemcp.json"
    auth = {"users": users, "clients": clients, "documents": True}
    file.write_text(json.dumps({"mcpServers": {"demo": DEMO}, "auth": auth}))
    command = [sys.executable, "-m", "onemcp", "run", "--config", str(file), "--port", "0"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    with serving(command, environment=environment) as server:
        deadline = time.monotonic() + PATIENCE
        while "backend_ready" not in server.said():
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.05)
        yield server.url
