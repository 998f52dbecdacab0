"""Look at real processes from outside, without the code that is under test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

PYTHON = (sys.executable, "-I", "-S", "-c")
"""A Python that starts quickly; append a program."""


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def exists(pid: int) -> bool:
    """Whether a process exists, be it a zombie."""
    return Path(f"/proc/{pid}").exists()


def marked(marker: str) -> set[int]:
    """Find the living processes with a marker in their environment."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if marker.encode() in environment and alive(int(folder.name)):
            found.add(int(folder.name))
    return found


def open_descriptors(pid: int | str = "self") -> dict[int, str]:
    """List the file descriptors of a process and what they lead to."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(link.name)] = str(link.readlink())
        except FileNotFoundError:
            continue  # the one that reads the folder
    return found


async def wait_gone(pid: int) -> None:
    """Wait until a process, child or not, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)
