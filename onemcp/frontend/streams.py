"""Streams of server-sent events that a client can come back to.

Theory of operation: what is to be sent goes into an :class:`EventLog`; the connection that
happens to be open reads from it. So a stream outlives its connections: a client that reconnects
with ``Last-Event-ID`` gets what it has missed (2025-11-25, Transports, Resumability and
Redelivery). The log is bounded: what has been read makes room for what follows. While somebody
reads, the writer waits for that; while nobody does, the oldest notifications make room as well,
but never an answer or a question.
"""

from __future__ import annotations

import re
from typing import Final

import attrs
import trio

from onemcp.protocol import jsonrpc
from onemcp.protocol.jsonrpc import Failure, Response

REPLAY_LIMIT: Final = 1000
"""How many events are kept for a client to come back to."""

REPLAY_BYTES: Final = 4 * 1024 * 1024
"""How large they may be together; one is taken whatever its size."""

UNREAD_LIMIT: Final = 64
"""How many events a reader may lag behind before the writer waits."""


_EVENT_ID = re.compile(r"([0-9A-Za-z._-]{1,300})-([0-9]{1,15})")


@attrs.frozen
class LoggedEvent:
    """One event of a stream.

    Attributes:
        number: Its place in the stream, from 1.
        data: The message, on one line.
        is_droppable: Whether it may be lost while nobody reads.
    """

    number: int
    data: bytes
    is_droppable: bool


class EventLog:
    """The events of one stream.

    Attributes:
        name: What tells the stream from others of the session.
        last: The number of the last event.
        size: How large the kept events are together, in bytes.
        dropped: How many notifications were lost because nobody read them.
    """

    def __init__(self, name: str, answers: int = 1) -> None:
        """Begin a stream without events, which ends when so many answers are written."""
        self.name = name
        self.last = 0
        self.size = 0
        self.dropped = 0
        self._answers = answers
        self._events: list[LoggedEvent] = []  # most are empty, and a deque never is small
        self._read = 0
        self._finished = False
        self._changed = trio.Event()
        self._reader: Reader | None = None

    @property
    def finished(self) -> bool:
        """Whether the last event has been written."""
        return self._finished

    @property
    def is_read(self) -> bool:
        """Whether some connection reads from the stream now."""
        return self._reader is not None

    async def write(self, data: bytes, *, is_droppable: bool) -> None:
        """Add an event, waiting for room where there is none."""
        while self._lags() or not self._make_room():
            await self._changed.wait()
        self.last += 1
        self.size += len(data)
        self._events.append(LoggedEvent(self.last, data, is_droppable))
        self.notify()

    async def write_answer(self, answer: Response | Failure) -> None:
        """Add the answer of one request; the last one ends the stream."""
        try:
            await self.write(jsonrpc.encode(answer), is_droppable=False)
        finally:
            self._count_answer()

    def finish(self) -> None:
        """Take note that no event follows."""
        self._finished = True
        self.notify()

    def read(self, after: int | None = None) -> Reader:
        """Begin to read, after an event or where reading ended; who read before reads no more."""
        if self._reader is not None:
            self._reader.replaced = True
        self._reader = Reader(self, self._read if after is None else after)
        self.notify()
        return self._reader

    def leave(self, reader: Reader) -> None:
        """Take note that a reader reads no more."""
        if self._reader is reader:
            self._reader = None
            self.notify()

    def advance(self, position: int) -> None:
        """Take note that the events up to `position` have been read."""
        self._read = max(self._read, position)
        self.notify()

    def next_after(self, position: int) -> LoggedEvent | None:
        """Return the oldest event that is younger than `position`, or None."""
        found = None
        for event in reversed(self._events):
            if event.number <= position:
                break
            found = event
        return found

    async def changed(self) -> None:
        """Wait until an event was written or read, or the stream ended."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = trio.Event()

    def event_id(self, number: int) -> str:
        """Return the id under which a client can come back to an event."""
        return f"{self.name}-{number}"

    def _count_answer(self) -> None:
        self._answers -= 1
        if self._answers <= 0:
            self.finish()

    def _lags(self) -> bool:
        return self._reader is not None and self.last - self._reader.position >= UNREAD_LIMIT

    def _make_room(self) -> bool:
        while len(self._events) >= REPLAY_LIMIT or self.size >= REPLAY_BYTES:
            if not self._drop_one():
                return False
        return True

    def _drop_one(self) -> bool:
        for index, event in enumerate(self._events):
            was_read = event.number <= self._read
            if was_read or (event.is_droppable and self._reader is None):
                self.dropped += not was_read
                self.size -= len(event.data)
                del self._events[index]
                return True
        return False


class Reader:
    """One connection's place in a stream.

    Attributes:
        position: The number of the last event read.
        replaced: Whether another connection reads from the stream instead.
    """

    def __init__(self, log: EventLog, after: int) -> None:
        """Read what follows event number `after`."""
        self._log = log
        self.position = after
        self.replaced = False

    async def receive(self) -> LoggedEvent | None:
        """Wait for the next event; None after the last one, or when replaced. Safe to cancel."""
        log = self._log
        await trio.lowlevel.checkpoint()
        while not self.replaced:
            event = log.next_after(self.position)
            if event is not None:
                self.position = event.number
                log.advance(event.number)
                return event
            if log.finished:
                return None
            await log.changed()
        return None

    def close(self) -> None:
        """Read no more."""
        self._log.leave(self)


def split_event_id(event_id: str) -> tuple[str, int] | None:
    """Split an event id into the stream's name and the event's number; None if it is none."""
    match = _EVENT_ID.fullmatch(event_id)
    return None if match is None else (match[1], int(match[2]))
