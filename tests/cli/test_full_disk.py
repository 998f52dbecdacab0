"""No room on the disk: each command says so, and leaves everything as it was.

The kernel lets the process write no byte to any file (`RLIMIT_FSIZE`), which fails as a full disk
does, at the same places; what goes to pipes is not affected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import json, resource, sys
from onemcp.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for command in json.loads(sys.argv[1]):
    print("\\0", main(command), flush=True)
    print("\\0", file=sys.stderr, flush=True)
"""
CURSOR = '{"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}'
COMMANDS: dict[str, tuple[list[str], int]] = {
    "run": (["run", "--port", "0"], 73),
    "token": (["token"], 73),
    "rotate": (["auth", "rotate"], 73),
    "install": (["install", "cursor"], 74),
    "import": (["import", "cursor", "--yes"], 74),
    "install-service": (["install-service", "--user"], 73),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, str]]]:
    """Run all commands in one process; return where, and how each has ended."""
    home = tmp_path_factory.mktemp("home")
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text(CURSOR)
    environ = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    script = [sys.executable, "-c", SCRIPT, json.dumps([each for each, _ in COMMANDS.values()])]
    done = subprocess.run(
        script,
        cwd=home,
        env={**environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    codes = [int(part.split()[0]) for part in done.stdout.split("\0")[1:]]
    told: list[Any] = done.stderr.split("\0\n")
    return home, dict(zip(COMMANDS, zip(codes, told, strict=False), strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_with_its_exit_code(ended, name: str):
    code, told = ended[1][name]
    assert code == COMMANDS[name][1], told
    assert "Traceback" not in told
    assert "File too large" in told


def test_nothing_is_half_written_on_a_full_disk(ended):
    home, _ = ended
    assert (home / ".cursor" / "mcp.json").read_text() == CURSOR
    files = [path for path in home.rglob("*") if path.is_file()]
    kept = {path.relative_to(home).as_posix() for path in files if path.suffix != ".lock"}
    assert kept == {".cursor/mcp.json"}
