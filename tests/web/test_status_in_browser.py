"""The status page in a real browser: live, by keyboard alone, accessible, in all its dresses.

Pictures of it stay in ``build/screenshots``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.gateway import ONEMCP, gateway
from tests.support.passwords import hashed

OPERATOR = Path(__file__).parent / "programs" / "operator.mjs"
PICTURES = npm.CHECKOUT / "build" / "screenshots"
PASSWORD = "correct horse battery"
PATIENCE = 180
BURNING = "import sys; sys.stderr.write('no database: <script>alert(1)</script>\\n'); sys.exit(3)"
SERVERS: dict[str, Any] = {
    "demo": {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]},
    "flaky": {
        "command": sys.executable,
        "args": ["-c", BURNING],
        "restart": {"intensity": 1, "cooldown": 3600, "backoff": {"initial": 0.1, "maximum": 0.1}},
    },
    "gone": {"url": "http://127.0.0.1:9/mcp", "restart": {"intensity": 0, "cooldown": 3600}},
    "off": {"command": "true", "enabled": False},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let an operator go over the page once, and return what was found there."""
    node = npm.installed()
    PICTURES.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("status")
    users = {"ada": {"password": hashed(PASSWORD), "scopes": ["mcp", "admin"]}}
    with gateway(folder, SERVERS, auth={"users": users}) as running:
        running.server.wait_said("backend_ready")
        running.configure({**SERVERS, "demo": {"command": 5}})
        running.server.wait_said("configuration_rejected")
        printed = subprocess.run(
            [*ONEMCP, "page", "--config", str(running.config)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        asked = {
            "link": printed.stdout.strip(),
            "login": {"name": "ada", "password": PASSWORD},
            "pictures": os.fspath(PICTURES),
        }
        outcome = subprocess.run(
            [str(node.node), str(OPERATOR), str(node.modules)],
            input=json.dumps(asked) + "\n",
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
            env={**node.environment(), "TMPDIR": os.fspath(folder)},
        )
    told = json.loads(outcome.stdout)
    assert "error" not in told, json.dumps(told, indent=1)
    return told


def test_the_browser_has_nothing_to_complain_of(found):
    """No violation of the Content-Security-Policy, no script that fails, no dialog."""
    assert found["complaints"] == []


def test_nobody_is_shut_out(found):
    assert found["inaccessible"] == []
    assert found["tooWide"] == []
    assert found["landmarks"][:4] == ["HEADER", "NAV", "MAIN", "H1"]


def test_the_link_leaves_no_secret_behind(found):
    assert "code" not in found["address"]
    assert found["afterwards"].endswith("/status")


def test_it_is_live_and_works_by_keyboard_alone(found):
    assert found["first"] == "Skip to the content"
    assert found["loadedOnce"], "the page was loaded anew"
    assert found["focusAfter"] == "Restart demo"


def test_what_a_backend_says_is_text(found):
    assert "<script>alert(1)</script>" in found["log"]


def test_tools_are_found_and_called(found):
    assert found["tools"] == ["demo__add"]
    assert found["answer"] == "3.5"


def test_it_works_without_the_script(found):
    assert "restart, asked for by ada" in found["plain"]


def test_pictures_are_kept(found):
    kept = {path.stem for path in PICTURES.glob("*.png")}
    for page in ("overview", "backend", "tools", "tool", "enter"):
        assert {f"{page}-desktop-light", f"{page}-phone-dark"} <= kept
