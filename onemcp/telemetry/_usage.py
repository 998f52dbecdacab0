"""What processes use of the machine, read from /proc (proc(5)).

Elsewhere than on Linux there is no /proc, and nothing is known.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import attrs

PROC: Final = Path("/proc")

# The fields of /proc/PID/stat, counted from the state, which follows the name in parentheses.
_SESSION: Final = 3
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
_START_TICKS: Final = 19
_RESIDENT_PAGES: Final = 21


@attrs.frozen
class Usage:
    """What one or more processes use.

    Attributes:
        cpu_seconds: The time they have spent on processors.
        resident_bytes: How much memory they hold.
        processes: How many they are.
    """

    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    processes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cpu_seconds + other.cpu_seconds,
            self.resident_bytes + other.resident_bytes,
            self.processes + other.processes,
        )


@attrs.frozen
class OwnUsage:
    """What this process uses.

    Attributes:
        usage: Processor and memory.
        open_files: How many file descriptors are open.
        most_files: How many may be.
        started: When it was started, in seconds since the epoch.
    """

    usage: Usage
    open_files: int
    most_files: int
    started: float


def usage_of_sessions(sessions: Iterable[int], proc: Path = PROC) -> Mapping[int, Usage]:
    """Return what sessions of processes use; those that are gone are left out.

    Args:
        sessions: The ids of the processes that have begun them.
        proc: Where /proc is.
    """
    wanted = frozenset(sessions)
    found: dict[int, Usage] = {}
    for pid in _pids(proc) if wanted else ():
        fields = _stat(proc, pid)
        if fields is not None and int(fields[_SESSION]) in wanted:
            session = int(fields[_SESSION])
            found[session] = found.get(session, Usage()) + _usage(fields)
    return found


def own_usage(proc: Path = PROC) -> OwnUsage | None:
    """Return what this process uses; None where that is not known."""
    fields = _stat(proc, str(os.getpid()))
    boot = _boot_time(proc)
    if fields is None or boot is None:
        return None
    started = boot + int(fields[_START_TICKS]) / os.sysconf("SC_CLK_TCK")
    open_files = sum(1 for _ in (proc / "self/fd").iterdir())
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return OwnUsage(_usage(fields), open_files, most_files, started)


def _pids(proc: Path) -> Iterable[str]:
    try:
        return [path.name for path in proc.iterdir() if path.name.isdigit()]
    except OSError:
        return ()


def _stat(proc: Path, pid: str) -> list[bytes] | None:
    try:
        content = (proc / pid / "stat").read_bytes()
    except OSError:  # it has ended, or there is no /proc
        return None
    return content.rpartition(b")")[2].split()  # the name may hold anything


def _usage(fields: list[bytes]) -> Usage:
    ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
    resident = int(fields[_RESIDENT_PAGES]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), resident, 1)


def _boot_time(proc: Path) -> int | None:
    try:
        lines = (proc / "stat").read_bytes().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(b"btime ")), None)
