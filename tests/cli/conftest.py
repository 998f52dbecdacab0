from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A place of one's own, to be the working directory and the home directory."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """An environment that leads nowhere else."""
    strange = {"STATE_DIRECTORY", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "NO_COLOR"}
    kept = {key: value for key, value in os.environ.items() if key not in strange}
    return {**kept, "HOME": str(home)}


@pytest.fixture
def onemcp(home: Path, environment: dict[str, str]) -> Run:
    """Run onemcp to its end."""

    def run(*arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 30}
        options |= {"cwd": home, "env": environment, "stdin": subprocess.DEVNULL}
        command = [sys.executable, "-m", "onemcp", *arguments]
        return subprocess.run(command, check=False, **options | changes)

    return run
