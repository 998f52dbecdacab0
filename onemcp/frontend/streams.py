"""Streams of server-sent events that a client can come back to.

Theory of operation: what is to be sent goes into an :class:`EventLog`; the connection that
happens to be open reads from it. So a stream outlives its connections: a client that reconnects
with ``Last-Event-ID`` gets what it has missed (2025-11-25, Transports, Resumability and
Redelivery). The log is bounded. While somebody reads, the writer waits for room; while nobody
does, the oldest notifications make place, but never an answer or a question.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

import attrs
import trio

REPLAY_LIMIT: Final = 1000
"""How many events are kept for a client to come back to."""

UNREAD_LIMIT: Final = 64
"""How many events a reader may lag behind before the writer waits."""


_EVENT_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


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
        dropped: How many notifications were lost because nobody read them.
    """

    def __init__(self, name: str, answers: int = 1) -> None:
        """Begin a stream without events, which ends when so many answers are written."""
        self.name = name
        self._answers = answers
        self.dropped = 0
        self._events: deque[LoggedEvent] = deque()
        self._last = 0
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
        """Add an event, waiting for room where a reader lags behind."""
        while self._reader is not None and self._last - self._reader.position >= UNREAD_LIMIT:
            await self._changed.wait()
        self._last += 1
        self._events.append(LoggedEvent(self._last, data, is_droppable))
        if len(self._events) > REPLAY_LIMIT:
            self._shrink()
        self.notify()

    def count_answer(self) -> None:
        """Take note that a request of this stream is over."""
        self._answers -= 1
        if self._answers <= 0:
            self.finish()

    def finish(self) -> None:
        """Take note that no event follows."""
        self._finished = True
        self.notify()

    def read(self, after: int = 0) -> Reader:
        """Begin to read after an event; who read before reads no more."""
        if self._reader is not None:
            self._reader.replaced = True
        self._reader = Reader(self, after)
        self.notify()
        return self._reader

    def leave(self, reader: Reader) -> None:
        """Take note that a reader reads no more."""
        if self._reader is reader:
            self._reader = None
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

    def _shrink(self) -> None:
        position = 0 if self._reader is None else self._reader.position
        for index, event in enumerate(self._events):
            if event.number <= position or event.is_droppable:
                if event.number > position:
                    self.dropped += 1
                del self._events[index]
                return


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
        while not self.replaced:
            event = log.next_after(self.position)
            if event is not None:
                await trio.lowlevel.checkpoint()
                self.position = event.number
                log.notify()
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
