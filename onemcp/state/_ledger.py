"""What is noted about things that clients hold sealed, until these expire.

Theory of operation: what is sealed says everything but what has happened since. That stands here:
a small note for each, in an SQLite database, which takes care that a note is there as a whole or
not at all, whenever the process is killed, and that several processes can share the file.

The ledger is bounded. When it is full, the notes on what was made first are forgotten, and with
them *everything* that was made by then: nothing that has ended can come back because there was no
room to remember its end. A ledger that is damaged begins anew in the same way, with everything
forgotten that was made before.

These functions block on the disk, and wait for each other where several threads call them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from onemcp.state._errors import StateUnwritable
from onemcp.state._files import locked, prepare_directory

FILE_NAME: Final = "sessions.db"
DAMAGED: Final = ".damaged"
MEMORY: Final = ":memory:"

MAX_NOTES: Final = 32_768
"""How many notes are kept."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How large they may be together."""

PRUNE_EVERY: Final = 256
"""After so many new notes the bounds are looked after."""

_BUSY_SECONDS: Final = 5.0
_VERSION: Final = 1
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS notes (
    key BLOB PRIMARY KEY, made REAL NOT NULL, expires REAL NOT NULL, size INTEGER NOT NULL,
    data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_age ON notes (made, size);
CREATE TABLE IF NOT EXISTS forgotten (made REAL NOT NULL);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class Forgotten(Exception):
    """What has become of something is not known any more, so it counts as ended."""


@attrs.frozen
class Note:
    """What is to be known of something.

    Attributes:
        key: What it is told by.
        made: When it was made, as a Unix time.
        expires: When it ends by itself, and nobody needs the note any more.
        data: What is known.
    """

    key: bytes = attrs.field(repr=False)
    made: float
    expires: float
    data: bytes = attrs.field(repr=False)


class Ledger:
    """Notes, in a file or in memory.

    Attributes:
        is_durable: Whether they are in a file.
        was_damaged: Whether the file was damaged, and is a new one now.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        is_durable: bool,
        was_damaged: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep notes in a database; see `open_ledger` and `ledger_in_memory`."""
        self.is_durable = is_durable
        self.was_damaged = was_damaged
        self._connection = connection
        self._now = wall_clock
        self._new = 0
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<Ledger {'on disk' if self.is_durable else 'in memory'}>"

    def read(self, key: bytes, made: float) -> bytes | None:
        """Return what is known of something that was made at a time; None where nothing is.

        Raises:
            Forgotten: It is too old for that to be known.
            StateError: The ledger cannot be read.
        """
        with self._lock, _translated("read"):
            data = self._data(key)
            if data is None and made <= self._forgotten():
                raise Forgotten
        return data

    def write(self, notes: Sequence[Note]) -> None:
        """Take notes, in the place of older ones; when this returns they are on the disk.

        Raises:
            StateError: None of them could be written.
        """
        with self._lock, _translated("write"), self._transaction():
            self._put(notes)

    def change(self, key: bytes, change: Callable[[bytes | None], Note]) -> None:
        """Replace a note by what follows from it, whoever else changes it at the same time.

        Args:
            key: What the note is told by.
            change: Gives the new note, from what is known until now, or from None.

        Raises:
            StateError: It could not be written.
        """
        with self._lock, _translated("write"), self._transaction():
            self._put([change(self._data(key))])

    def prune(self) -> None:
        """Forget what has expired; and where there is too much, what was made first."""
        self._new = 0
        execute = self._connection.execute
        execute("DELETE FROM notes WHERE expires <= ?", (self._now(),))
        kept = size = 0
        for made, length in execute("SELECT made, size FROM notes ORDER BY made DESC"):
            kept, size = kept + 1, size + length
            if kept > MAX_NOTES or size > MAX_BYTES:
                self.forget(made)
                return

    def forget(self, made: float) -> None:
        """Forget everything that was made up to a time."""
        if made <= self._forgotten():
            return
        self._connection.execute("DELETE FROM notes WHERE made <= ?", (made,))
        self._connection.execute("DELETE FROM forgotten")
        self._connection.execute("INSERT INTO forgotten VALUES (?)", (made,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _data(self, key: bytes) -> bytes | None:
        found = self._connection.execute("SELECT data FROM notes WHERE key = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])

    def _put(self, notes: Sequence[Note]) -> None:
        rows = [(each.key, each.made, each.expires, len(each.data), each.data) for each in notes]
        self._connection.executemany("REPLACE INTO notes VALUES (?, ?, ?, ?, ?)", rows)
        self._new += len(rows)
        if self._new >= PRUNE_EVERY:
            self.prune()

    def _forgotten(self) -> float:
        found = self._connection.execute("SELECT max(made) FROM forgotten").fetchone()[0]
        return 0.0 if found is None else float(found)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled it back itself
                self._connection.execute("ROLLBACK")
            raise


def ledger_in_memory(forgotten: float = 0.0, wall_clock: Callable[[], float] = time.time) -> Ledger:
    """Return a ledger that ends with the process.

    Args:
        forgotten: Until when nothing is known, as a Unix time.
        wall_clock: Tells the Unix time.
    """
    ledger = Ledger(_connect(MEMORY), is_durable=False, wall_clock=wall_clock)
    ledger.forget(forgotten)
    return ledger


def open_ledger(state_directory: Path, wall_clock: Callable[[], float] = time.time) -> Ledger:
    """Open the ledger in the state directory, and make it where there is none.

    One that is damaged is put aside as ``sessions.db.damaged``, and a new one takes its place
    that knows nothing of what was made before.

    Raises:
        StateError: It cannot be opened.
    """
    prepare_directory(state_directory)
    path = state_directory / FILE_NAME
    with locked(path.with_suffix(".lock")), _translated("open", path):
        connection = _open(path)
        was_damaged = connection is None
        if connection is None:
            _put_aside(path, wall_clock())
            connection = _connect(str(path))
        ledger = Ledger(connection, is_durable=True, was_damaged=was_damaged, wall_clock=wall_clock)
        with ledger._transaction():  # noqa: SLF001 - its own module
            ledger.forget(_put_aside_at(path))
            ledger.prune()
        return ledger


def _open(path: Path) -> sqlite3.Connection | None:
    """Open a database, and make it where there is none; None where it is damaged."""
    # Made with its mode, which SQLite gives to the files beside it as well.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    connection = None
    try:
        connection = _connect(str(path))
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            return None
        raise
    if verdict == "ok" and version == _VERSION:
        return connection
    connection.close()
    return None


def _connect(where: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        where, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path, now: float) -> None:
    # The file put aside says until when nothing is known, should this be cut short here.
    os.utime(path, (now, now))
    path.replace(path.with_name(path.name + DAMAGED))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _put_aside_at(path: Path) -> float:
    try:
        return path.with_name(path.name + DAMAGED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _translated(what: str, path: Path | None = None) -> Iterator[None]:
    about = FILE_NAME if path is None else path
    try:
        yield
    except sqlite3.Error as error:
        raise StateUnwritable(f"Cannot {what} {about}: {error}.") from error
    except OSError as error:
        raise StateUnwritable(f"Cannot {what} {about}: {error.strerror}.") from error
