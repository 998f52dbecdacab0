"""Why a server does not start: told without a running onemcp, and without secrets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from onemcp.cli import main

SECRET = "hidden-value-4711"
DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}
LEAKY = {"command": "sh", "args": ["-c", "env >&2; exit 3"], "env": {"MINE": SECRET}}
GONE = {"command": "no-such-program", "inherit": ["NOT_SET_ANYWHERE"]}
AWAY = {"url": f"http://127.0.0.1:9/mcp?key={SECRET}", "headers": {"X-Key": SECRET}}
OFF = {**DEMO, "enabled": False}
SERVERS = {"demo": DEMO, "leaky": LEAKY, "gone": GONE, "away": AWAY, "off": OFF}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "onemcp.json"
    path.write_text(json.dumps({"mcpServers": SERVERS}))
    return path


def doctor(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["doctor", "--config", str(config), *arguments])
    return code, capsys.readouterr().out


def test_everything_that_is_enabled_is_examined(config: Path, capsys):
    code, out = doctor(config, capsys, "--json")
    assert code == 1
    assert SECRET not in out
    found: dict[str, Any] = {each["backend"]: each for each in json.loads(out)}
    assert list(found) == ["demo", "leaky", "gone", "away"]

    demo = found["demo"]
    assert demo["ok"]
    assert demo["protocol"] == "2026-07-28 (modern)"
    assert demo["items"]["tools"] == 5
    said = [(note["who"], note["text"]) for note in demo["notes"]]
    assert said[0][0] == "onemcp"
    assert '"server/discover"' in said[0][1]
    assert any(who == "server" and '"supportedVersions"' in text for who, text in said)

    leaky = found["leaky"]
    assert leaky["reason"] == "it exited with status 3"
    assert "MINE" in leaky["facts"]["environment"]
    assert ("stderr", "MINE=***") in [(note["who"], note["text"]) for note in leaky["notes"]]

    gone = found["gone"]
    assert gone["facts"]["program"] == "not found"
    assert "NOT_SET_ANYWHERE" in gone["facts"]["not inherited"]
    assert gone["remedy"].startswith("Install no-such-program")

    away = found["away"]
    assert away["facts"] == {"address": "http://127.0.0.1:9", "headers": "X-Key"}
    assert "POST http://127.0.0.1:9/mcp " in away["notes"][0]["text"]


def test_one_can_be_named_and_is_drawn_for_people(config: Path, capsys):
    code, out = doctor(config, capsys, "off")
    assert code == 0
    assert out.startswith("off  ok  up in ")
    assert "\n  program      " in out
    assert " -> {" in out
    code, out = doctor(config, capsys, "-q", "gone")
    assert code == 1
    assert "->" not in out


def test_a_wrong_name_and_a_wrong_file_are_told_apart(config: Path, capsys):
    assert main(["doctor", "--config", str(config), "demmo"]) == 2
    assert "Did you mean 'demo'?" in capsys.readouterr().err
    config.write_text("{")
    assert main(["doctor", "--config", str(config)]) == 78


def test_each_address_of_a_server_is_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = tmp_path / "onemcp.json"
    away = {"url": ["http://127.0.0.1:9/mcp", "http://127.0.0.1:10/mcp"]}
    gone = {"command": "no-such-program", "replicas": 2}
    config.write_text(json.dumps({"mcpServers": {"away": away, "gone": gone}}))
    assert main(["check", str(config)]) == 0
    said = capsys.readouterr().out
    assert "backend away: HTTP, 2 replicas" in said
    assert "backend gone: stdio, 2 replicas" in said
    code, out = doctor(config, capsys, "--json")
    assert code == 1
    found = [(each["backend"], each["facts"].get("address")) for each in json.loads(out)]
    addresses = ("http://127.0.0.1:9", "http://127.0.0.1:10")
    assert found == [*(("away", each) for each in addresses), ("gone", None)]
