"""The records in the state directory: read by all, changed by one at a time.

Theory of operation: the file is the truth, and what is in memory is what the file said last. A
change locks the file, reads it, is made, and is on the disk before anybody is told about it: so
several instances and commands may share it, and a process killed at any byte has either made the
change or not. Others see that the file has changed (`refresh`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from onemcp.auth.server._records import Change, Records, decode, encode
from onemcp.state import StateError, read_private, update

T = TypeVar("T")

FILE_NAME: Final = "oauth.json"
MAX_BYTES: Final = 32 * 1024 * 1024
UNUSED_SECONDS: Final = 24 * 3600.0
"""How long a client that has registered itself may take until somebody lets it in."""


def read_records(directory: Path) -> Records:
    """Read the records in a state directory. Blocks on the disk.

    Raises:
        StateError: They can't be read or trusted.
    """
    path = directory / FILE_NAME
    return _decoded(path, read_private(path, MAX_BYTES))


def change_records(
    directory: Path, change: Change[T], clock: Callable[[], float] = time.time
) -> tuple[Records, T]:
    """Change the records in a state directory. Blocks on the disk.

    Args:
        directory: The state directory.
        change: Gets the records, gives the new ones and a result; what it raises changes nothing.
        clock: Tells the time, in seconds since the epoch.

    Returns:
        The new records, which are on the disk, and the result.

    Raises:
        StateError: They can't be read, trusted or written.
    """
    path = directory / FILE_NAME

    def change_file(data: bytes | None) -> tuple[bytes | None, tuple[Records, T]]:
        old = _decoded(path, data)
        new, result = change(old.pruned(clock(), UNUSED_SECONDS))
        return (None if new == old else encode(new)), (new, result)

    return update(path, change_file, max_bytes=MAX_BYTES)


def _decoded(path: Path, data: bytes | None) -> Records:
    try:
        return decode(data)
    except ValueError as error:
        raise StateError(
            f"{path} is damaged: {error}. Restore it from a backup; or move it away, which ends "
            "every login."
        ) from None


class Ledger:
    """The records, as one instance sees them. Owned by one task.

    Attributes:
        records: What they said last.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        """Keep the records of a state directory; none are read yet.

        Args:
            directory: The state directory.
            clock: Tells the time, in seconds since the epoch.
            on_change: Called when they have changed.
        """
        self.records = Records()
        self.on_change = on_change
        self._directory = directory
        self._clock = clock
        self._lock = trio.Lock()

    @property
    def path(self) -> Path:
        """The file."""
        return self._directory / FILE_NAME

    async def change(self, change: Change[T]) -> T:
        """Change the records; once this returns, the change is on the disk.

        Raises:
            StateError: They can't be read, trusted or written, and nothing has changed.
        """
        async with self._lock:
            records, result = await trio.to_thread.run_sync(
                change_records, self._directory, change, self._clock
            )
            self._take(records)
        return result

    async def refresh(self) -> None:
        """Read what others may have changed.

        Raises:
            StateError: They can't be read or trusted.
        """
        async with self._lock:
            self._take(await trio.to_thread.run_sync(read_records, self._directory))

    def _take(self, records: Records) -> None:
        if records != self.records:
            self.records = records
            self.on_change()
