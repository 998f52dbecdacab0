"""Look at real processes from outside, without the code that is under test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
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


def descendants(pid: int) -> set[int]:
    """Find the living processes that a process has started, and those that they have."""
    parents = {each: parent for each, state, parent in _table() if state not in "ZX"}
    found, added = {pid}, {pid}
    while added:
        added = {each for each, parent in parents.items() if parent in added} - found
        found |= added
    return found - {pid}


def zombies(parent: int) -> set[int]:
    """Find the children of a process which have ended and were not waited for."""
    return {pid for pid, state, its_parent in _table() if state == "Z" and its_parent == parent}


def _table() -> Iterator[tuple[int, str, int]]:
    """Yield the id, the state and the parent of every process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        yield int(folder.name), state, int(parent)


def memory(pid: int, figure: str = "VmRSS") -> int:
    """Return how much memory a process uses, or has used at most (`VmHWM`), in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == figure:
            return int(value.split()[0]) * 1024
    raise LookupError(figure)


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
