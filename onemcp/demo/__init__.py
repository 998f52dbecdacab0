"""The demo backend: a small MCP server of both eras, for a first look at onemcp and for tests.

It is a program of its own, started with `command` and spoken to over stdin and stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["command", "environment"]


def command() -> tuple[str, ...]:
    """Return the program and its arguments, whatever the directory it will be started in."""
    return (sys.executable, "-P", "-m", "onemcp.demo")


def environment() -> Mapping[str, str]:
    """Return what it needs in its environment to be found, where a zipapp was unpacked, say."""
    return {"PYTHONPATH": str(Path(__file__).parents[2])}
