"""What is noted about sessions besides what their ids say: how they ended, and what they have set.

Theory of operation: a client takes for granted that its log level and its subscriptions hold, and
that a session which has ended stays so. What it has changed is in the ledger before it is told so.
Changes that come while the disk is busy are written together. Where the ledger cannot be written,
they hold as long as the process does, and the operator is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio

from onemcp.frontend.events import SessionNotNoted
from onemcp.state import Forgotten, Ledger, Note, StateError

from .passport import Passport, SessionRefused

MAX_NOTES_BYTES: Final = 64 * 1024
"""How much is noted of one session; one with more to note does not outlive the process."""

MAX_UNWRITTEN: Final = 10_000
"""How many sessions are remembered whose notes could not be written."""


class Notes(msgspec.Struct, frozen=True, array_like=True):
    """What a session's id does not say.

    Attributes:
        ended: Whether it is over.
        level: The log level that the client has set, or None.
        uris: The resources that it has subscribed to.
    """

    ended: bool = False
    level: str | None = None
    uris: tuple[str, ...] = ()


ENDED: Final = Notes(ended=True)
_DECODER: Final = msgspec.msgpack.Decoder(Notes)


class SessionMemory:
    """Takes notes of sessions, and finds them again."""

    def __init__(self, ledger: Ledger, on_event: Callable[[SessionNotNoted], object]) -> None:
        """Write to `ledger`, and say so to `on_event` where that fails."""
        self._ledger = ledger
        self._on_event = on_event
        self._lock = trio.Lock()
        self._unwritten: dict[bytes, Note] = {}

    async def recall(self, passport: Passport) -> Notes:
        """Return what is noted of a session that is not held here.

        Raises:
            SessionRefused: It is over, or it is not known whether it is.
        """
        note = self._unwritten.get(passport.key)
        if note is not None:
            data: bytes | None = note.data
        else:
            try:
                async with self._lock:
                    data = await self._run(self._ledger.read, passport.key, passport.opened)
            except Forgotten:
                raise SessionRefused("it is too old to know whether it has ended") from None
            except StateError as error:
                self._on_event(SessionNotNoted(str(error)))
                raise SessionRefused("the ledger can't be read") from error
        notes = Notes() if data is None else _DECODER.decode(data)
        if notes.ended:
            raise SessionRefused("it has ended")
        return notes

    async def note(self, passport: Passport, notes: Notes) -> None:
        """Note something of a session; when this returns it is written, if that is possible."""
        data = msgspec.msgpack.encode(notes)
        if len(data) > MAX_NOTES_BYTES:
            data = msgspec.msgpack.encode(ENDED)
        note = Note(passport.key, passport.opened, passport.expires, data)
        self._unwritten.pop(passport.key, None)
        self._unwritten[passport.key] = note
        async with self._lock:
            if passport.key in self._unwritten:  # else it was written along with others
                await self._write(list(self._unwritten.values()))

    async def _write(self, batch: list[Note]) -> None:
        try:
            await self._run(self._ledger.write, batch)
        except StateError as error:
            self._on_event(SessionNotNoted(str(error)))
            while len(self._unwritten) > MAX_UNWRITTEN:
                del self._unwritten[next(iter(self._unwritten))]
            return
        for note in batch:
            if self._unwritten.get(note.key) is note:
                del self._unwritten[note.key]

    @property
    def _run(self) -> Callable[..., Awaitable[bytes | None]]:
        return trio.to_thread.run_sync if self._ledger.is_durable else _at_once


class Record:
    """What is noted of one session, from its opening to its end.

    Attributes:
        notes: What holds now.
        is_recalled: Whether the session was taken over, with the notes of its former incarnation.
    """

    def __init__(
        self,
        memory: SessionMemory | None = None,
        passport: Passport | None = None,
        notes: Notes | None = None,
    ) -> None:
        """Begin with what is noted already.

        Args:
            memory: Where to note what changes; by default nothing outlives this object.
            passport: What the session's id says.
            notes: What was noted of the session that is taken over.
        """
        self.notes = notes or Notes()
        self.is_recalled = notes is not None
        self._memory = memory
        self._passport = passport

    async def change(self, **changes: Any) -> None:
        """Note what the client has set, unless the session is over."""
        before = self.notes
        if not before.ended:
            self.notes = msgspec.structs.replace(before, **changes)
        await self._write(is_new=self.notes != before)

    async def end(self) -> None:
        """Note that the session is over, and nothing else of it any more."""
        self.notes = ENDED
        await self._write(is_new=True)

    async def _write(self, *, is_new: bool) -> None:
        if is_new and self._memory is not None and self._passport is not None:
            await self._memory.note(self._passport, self.notes)
        else:
            await trio.lowlevel.checkpoint()


async def _at_once(function: Callable[..., bytes | None], *args: object) -> bytes | None:
    await trio.lowlevel.checkpoint()
    return function(*args)
