"""Watching how much memory programs of backends use.

Theory of operation: looking at /proc costs some milliseconds, however many programs are looked
for. So all watches share what was read last, and only one of them reads at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

import trio

from onemcp.telemetry import Usage, usage_of_sessions

from .connection import ConnectionLost

INTERVAL: Final = 2.0
"""How often each program is looked at, in seconds."""

FRESH: Final = 1.0
"""How long what was read is good enough, in seconds."""

MEBIBYTE: Final = 1024 * 1024


class Usages:
    """What programs use, read when somebody wants to know."""

    def __init__(self, processes: Mapping[int, str]) -> None:
        """Look at `processes`, which may change at any time, by their ids."""
        self._processes = processes
        self._known: Mapping[int, Usage] = {}
        self._read_at = -FRESH
        self._reading = trio.Lock()

    async def of(self, pid: int) -> Usage:
        """Return what a program uses, with all that it has started in its session."""
        async with self._reading:
            if trio.current_time() - self._read_at >= FRESH:
                wanted = tuple(self._processes)
                self._known = await trio.to_thread.run_sync(usage_of_sessions, wanted)
                self._read_at = trio.current_time()
        return self._known.get(pid, Usage())


class MemoryWatch:
    """Watches one program at a time.

    Attributes:
        pid: The program; None while there is none.
    """

    def __init__(self, usages: Usages, limit: int) -> None:
        """Let a program have `limit` bytes."""
        self.pid: int | None = None
        self._usages = usages
        self._limit = limit

    async def run(self) -> NoReturn:
        """Watch until cancelled.

        Raises:
            ConnectionLost: The program uses more than it may.
        """
        while True:
            await trio.sleep(INTERVAL)
            used = 0 if self.pid is None else (await self._usages.of(self.pid)).resident_bytes
            if used > self._limit:
                raise ConnectionLost(
                    f"it used {used / MEBIBYTE:.0f} MiB of memory, more than the "
                    f"{self._limit / MEBIBYTE:.0f} MiB that limits.memory allows"
                )
