"""The official suite's scenarios for authorization servers, with a real browser."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.oauth.conftest import PATIENCE, Browser
from tests.support import npm

pytestmark = pytest.mark.conformance

CHECKS = {
    "authorization-server-metadata",
    "authorization-server-metadata-cimd",
    "authorization-code-grant",
}
"""Every check that the suite makes: there is no exception."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def checks_in(folder: Path) -> list[dict[str, Any]]:
    found = sorted(folder.rglob("checks.json"))
    return [check for path in found for check in json.loads(path.read_text())]


# With a secret, the suite would do the same: it sends none to servers that have public clients.
@pytest.mark.requirement(
    "basic/authorization/index#overview-1", "basic/authorization/index#overview-5"
)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_the_suite_is_content(url: str, browser: Browser, version: str, tmp_path: Path) -> None:
    node, port = npm.installed(), free_port()
    options = ["--url", url.removesuffix("/mcp"), "--resource", url, "--port", str(port)]
    options += ["--spec-version", version, "--client-id", "suite"]
    said = []
    with subprocess.Popen(
        node.command("conformance", "authorization", *options, "--output-dir", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=node.environment(),
    ) as suite:
        assert suite.stdout is not None
        for line in suite.stdout:
            said.append(line)
            if "/oauth/authorize?" in line:
                browser.let_in(line.strip(), f"http://127.0.0.1:{port}/callback")
        suite.wait(PATIENCE)
    outcome = {check["id"]: check["status"] for check in checks_in(tmp_path)}
    assert outcome == dict.fromkeys(CHECKS, "SUCCESS"), "".join(said)
