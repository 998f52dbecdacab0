"""Files of other MCP clients: servers taken over, and onemcp written in and taken out."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path

import pytest

from onemcp.cli import main
from onemcp.cli.clients import CLIENTS

SETTINGS = """\
{
  // what I like
  "theme": "dark",
  "%s": {
    "time": {"command": "uvx", "args": ["mcp-server-time"]},
  },
}
"""
CODEX = 'model = "m"\n\n[mcp_servers.time]\ncommand = "uvx"\nargs = ["mcp-server-time"]\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def written(home: Path, name: str, text: str) -> Path:
    path = CLIENTS[name].path({"HOME": str(home)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def text_of(name: str) -> str:
    client = CLIENTS[name]
    return CODEX if client.is_toml else SETTINGS % client.keys[0]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*.bak"))


@pytest.mark.parametrize("name", CLIENTS)
def test_it_is_written_into_every_client_and_taken_out_again(home: Path, name: str, capsys):
    path = written(home, name, text_of(name))
    path.chmod(0o640)
    config = home / "mine.json"
    assert main(["install", name, "--config", str(config), "--attach", "--view", "some"]) == 0
    assert "+" in capsys.readouterr().out
    entry = CLIENTS[name].servers(path.read_text())["onemcp"]
    program = [entry["command"], *entry["args"]]
    assert program[-6:] == ["stdio", "--attach", "--config", str(config), "--view", "some"]
    assert entry.get("type") == ("stdio" if name in {"claude-code", "vscode"} else None)
    assert "time" in CLIENTS[name].servers(path.read_text())
    [kept] = backups(path)
    assert kept.read_text() == text_of(name)
    assert path.stat().st_mode & 0o777 == kept.stat().st_mode & 0o777 == 0o640
    assert main(["install", name, "--config", str(config)]) == 1
    assert "another server called 'onemcp'" in capsys.readouterr().err
    assert main(["install", name, "--undo"]) == 0
    assert path.read_text() == text_of(name)
    assert main(["install", name, "--undo"]) == 0
    assert "as it should be" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_a_file_that_is_not_there_is_made(home: Path, name: str):
    path = CLIENTS[name].path({"HOME": str(home)})
    assert main(["install", name, "--dry-run"]) == 0
    assert not path.exists()
    assert main(["install", name]) == 0
    assert list(CLIENTS[name].servers(path.read_text())) == ["onemcp"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert main(["install", name]) == 0
    assert backups(path) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cursor", "[]"),
        ("cursor", '{"mcpServers": []}'),
        ("cursor", '{"mcpServers": {"a": 1}}'),
        ("cursor", '{"mcpServers": {'),
        ("codex", "mcp_servers = 3"),
        ("codex", "[["),
    ],
)
def test_a_file_of_an_unknown_shape_is_left_alone(home: Path, name: str, text: str, capsys):
    path = written(home, name, text)
    assert main(["install", name]) == 1
    assert "left alone" in capsys.readouterr().err
    assert main(["import", name, "--yes"]) == 1
    assert "Nothing was changed" in capsys.readouterr().err
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
    assert not Path("onemcp.json").exists()


def test_a_table_of_another_shape_in_toml_is_not_changed_by_guesswork(home: Path, capsys):
    text = 'mcp_servers = {onemcp = {command = "x"}}\n'
    path = written(home, "codex", text)
    assert main(["install", "codex", "--undo"]) == 1
    assert "Change it by hand" in capsys.readouterr().err
    assert path.read_text() == text


def test_servers_of_all_clients_are_taken_over_with_a_copy_of_what_was(home: Path, capsys):
    written(
        home,
        "vscode",
        json.dumps(
            {
                "inputs": [],
                "servers": {
                    "web": {
                        "type": "http",
                        "url": "https://mcp.example.com/mcp",
                        "headers": {"X-Key": "${input:my-key}"},
                    },
                    "old": {"type": "sse", "url": "https://old.example.com/sse"},
                },
            }
        ),
    )
    written(
        home,
        "windsurf",
        json.dumps(
            {
                "mcpServers": {
                    "a b!": {"serverUrl": "https://w.example.com/mcp", "disabled": True},
                    "time": {"command": "other"},
                    "onemcp": {"command": "/bin/onemcp", "args": ["stdio"]},
                }
            }
        ),
    )
    written(
        home,
        "zed",
        '{"context_servers": {"z": {"command": {"path": "zz", "args": ["1"]}, "source": "custom"}}'
        "}",
    )
    written(
        home,
        "codex",
        '[mcp_servers.c]\nurl = "https://c.example.com"\nbearer_token_env_var = "C_TOKEN"\n'
        "startup_timeout_sec = 3\n",
    )
    mine = '{\n  // mine\n  "mcpServers": {"time": {"command": "uvx"}}\n}\n'
    Path("onemcp.json").write_text(mine)
    assert main(["import", "--yes"]) == 0
    told = capsys.readouterr()
    text = Path("onemcp.json").read_text()
    assert text.startswith('{\n  // mine\n  "mcpServers": {"time": {"command": "uvx"},\n')
    servers = json.loads(text.replace("// mine", ""))["mcpServers"]
    assert servers == {
        "time": {"command": "uvx"},
        "web": {"url": "https://mcp.example.com/mcp", "headers": {"X-Key": "${my_key}"}},
        "old": {"url": "https://old.example.com/sse", "type": "sse"},
        "a-b": {"url": "https://w.example.com/mcp", "enabled": False},
        "z": {"command": "zz", "args": ["1"]},
        "c": {"url": "https://c.example.com", "headers": {"Authorization": "Bearer ${C_TOKEN}"}},
    }
    assert "time is left out" in told.err
    assert "startup_timeout_sec means nothing here" in told.err
    assert "set them where onemcp is started" in told.err
    assert '+    "web"' in told.out
    assert [each.read_text() for each in backups(Path("onemcp.json"))] == [mine]
    assert main(["import", "--yes"]) == 0
    assert "nothing to add" in capsys.readouterr().err


def test_a_file_can_be_named_and_nothing_is_written_without_consent(
    home: Path, capsys, monkeypatch
):
    other = home / "other.toml"
    other.write_text(CODEX)
    assert main(["import", str(other), "--dry-run"]) == 0
    assert not Path("onemcp.json").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["import", str(other)]) == 1
    assert "nothing was changed. --yes does it without asking" in capsys.readouterr().err
    assert not Path("onemcp.json").exists()
    assert main(["import", str(other), "--yes"]) == 0
    assert json.loads(Path("onemcp.json").read_text()) == {
        "mcpServers": {"time": tomllib.loads(CODEX)["mcp_servers"]["time"]}
    }
    assert main(["import", "nowhere.json"]) == 1
    capsys.readouterr()
    assert main(["import", "curser"]) == 1
    assert "There is no file curser. Did you mean 'cursor'?" in capsys.readouterr().err
    assert main(["import", "cursor"]) == 1
    missing = capsys.readouterr().err
    assert "There is no file" in missing
    assert "Did you mean" not in missing
    (home / "empty.json").write_text("{}")
    assert main(["import", str(home / "empty.json")]) == 1


def test_what_would_not_be_usable_is_not_written(home: Path, capsys):
    written(home, "cursor", '{"mcpServers": {"x": {"command": 5}}}')
    assert main(["import", "cursor", "--yes"]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert not Path("onemcp.json").exists()


def test_what_cannot_be_written_is_as_it_was(home: Path, monkeypatch, capsys):
    path = written(home, "cursor", SETTINGS % "mcpServers")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    assert main(["install", "cursor"]) == 74
    assert "it is as it was" in capsys.readouterr().err
    assert path.read_text() == SETTINGS % "mcpServers"
    assert [each for each in path.parent.iterdir() if each.suffix != ".bak"] == [path]


def test_a_link_stays_a_link(home: Path):
    path = written(home, "cursor", "{}")
    real = home / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    assert main(["install", "cursor"]) == 0
    assert path.is_symlink()
    assert "onemcp" in CLIENTS["cursor"].servers(real.read_text())
