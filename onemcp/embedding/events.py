"""What happens in a gateway, for a program to follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import trio

KEPT: Final = 1000
"""How many events wait for a program that is slow to take them."""


class EventStream:
    """An asynchronous iterator over what happens from now on.

    A program that takes them too slowly loses the oldest: nothing waits for it.

    Attributes:
        dropped: How many were lost.
    """

    def __init__(self) -> None:
        """Begin without events."""
        self.dropped = 0
        self._waiting: deque[Any] = deque()
        self._news = trio.Event()

    def put(self, event: object) -> None:
        """Add an event."""
        if len(self._waiting) == KEPT:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._waiting:
            self._news = trio.Event()
            await self._news.wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._waiting.popleft()


class Broadcast:
    """Hands every event on to whoever listens."""

    def __init__(self) -> None:
        """Begin without listeners."""
        self._streams: list[EventStream] = []

    def __call__(self, event: object) -> None:
        """Hand on an event."""
        for stream in self._streams:
            stream.put(event)

    @contextmanager
    def listening(self) -> Iterator[EventStream]:
        """Listen for as long as the block runs."""
        stream = EventStream()
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)
