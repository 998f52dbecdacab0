"""How much memory this process holds, and how much it may hold (proc(5), cgroups(7)).

Elsewhere than on Linux there is no /proc, and nothing is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ._usage import PROC

CGROUPS: Final = Path("/sys/fs/cgroup")
"""Where the control groups of version 2 are."""

_RESIDENT: Final = 1
"""The field of /proc/PID/statm with the resident pages."""

_UNIFIED: Final = "0::/"
"""How the line of /proc/PID/cgroup begins that is about version 2."""


def resident_bytes(proc: Path = PROC) -> int | None:
    """Return how much memory this process holds; None where that is not known."""
    try:
        fields = (proc / "self/statm").read_bytes().split()
        return int(fields[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def memory_limit(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how much memory the control groups of this process may hold; None for any.

    The lowest `memory.max` of its own group and of those that it is in counts.
    """
    return min(_limits(proc, cgroups), default=None)


def _limits(proc: Path, cgroups: Path) -> Iterator[int]:
    try:
        lines = (proc / "self/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return
    own = next((line.removeprefix(_UNIFIED) for line in lines if line.startswith(_UNIFIED)), None)
    if own is None or ".." in Path(own).parts:  # a group that can't be seen from here
        return
    for folder in (cgroups / own, *(cgroups / parent for parent in Path(own).parents)):
        try:
            limit = (folder / "memory.max").read_text(errors="replace").strip()
        except OSError:  # the topmost has none
            continue
        if limit.isdecimal():
            yield int(limit)
