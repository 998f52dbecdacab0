"""The last events of every backend, and all events as they happen."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import msgspec
import trio

from onemcp.supervision import Event, What
from onemcp.telemetry import describe_event

Entry: TypeAlias = dict[str, Any]
"""One event as JSON has it: ``time`` in seconds since the epoch, ``event``, and its fields."""

KEPT_ENTRIES: Final = 1000
KEPT_BYTES: Final = 256 * 1024
"""How much is kept of one backend."""

KEPT_BACKENDS: Final = 1024
BEHIND: Final = 256
"""How many events a listener may be behind, before it misses some."""

TELLING: Final = frozenset({What.RESTARTING, What.PAUSED, What.OVERDUE, What.CLEANUP_FAILED})
"""What supervisors do that belongs among a backend's own words."""


class _Ring:
    """The last entries of one backend."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Entry]] = deque()
        self._size = 0

    def add(self, entry: Entry) -> None:
        size = len(msgspec.json.encode(entry))
        self._entries.append((size, entry))
        self._size += size
        while len(self._entries) > KEPT_ENTRIES or self._size > KEPT_BYTES:
            self._size -= self._entries.popleft()[0]

    def last(self, count: int) -> list[Entry]:
        entries = [entry for _, entry in self._entries]
        return entries[max(0, len(entries) - count) :]


class Listener:
    """Somebody who hears events as they happen; iterate over it."""

    def __init__(self, backend: str | None) -> None:
        """Hear of one backend, or of everything."""
        self._backend = backend
        self._waiting: deque[Entry] = deque()
        self._missed = 0
        self._news = trio.Event()

    def hear(self, entry: Entry) -> None:
        """Take an event, if it is of interest, and if there is room for it."""
        if self._backend is not None and entry.get("backend") != self._backend:
            return
        if len(self._waiting) < BEHIND:
            self._waiting.append(entry)
        else:
            self._missed += 1
        self._news.set()

    def pass_over(self) -> None:
        """Forget what has not been taken yet."""
        self._waiting.clear()
        self._missed = 0

    async def next(self) -> list[Entry]:
        """Wait for events; the last one may tell how many were missed."""
        while not self._waiting:
            self._news = trio.Event()
            await self._news.wait()
        entries, self._waiting = list(self._waiting), deque()
        if self._missed:
            entries.append({"event": "missed", "count": self._missed})
            self._missed = 0
        return entries


class Journal:
    """Hears every event. Owned by one task."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin empty.

        Args:
            clock: Tells the time, in seconds since the epoch.
        """
        self._clock = clock
        self._rings: dict[str, _Ring] = {}
        self._listeners: set[Listener] = set()

    def __call__(self, event: object) -> None:
        """Take an event."""
        keeps = not isinstance(event, Event) or event.what in TELLING
        if not keeps and not self._listeners:
            return
        entry = {"time": round(self._clock(), 3), **describe_event(event)}
        backend = entry.get("backend")
        if keeps and isinstance(backend, str):
            self._ring(backend).add(entry)
        for listener in self._listeners:
            listener.hear(entry)

    def last(self, backend: str, count: int) -> list[Entry]:
        """Return the last events of a backend, the latest at the end."""
        ring = self._rings.get(backend)
        return [] if ring is None else ring.last(count)

    def keep_only(self, backends: Container[str]) -> None:
        """Forget what there is not any more."""
        self._rings = {name: ring for name, ring in self._rings.items() if name in backends}

    @contextmanager
    def listening(self, backend: str | None = None) -> Iterator[Listener]:
        """Hear events, of one backend or of everything, for as long as the block runs."""
        listener = Listener(backend)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _ring(self, backend: str) -> _Ring:
        if backend not in self._rings and len(self._rings) >= KEPT_BACKENDS:
            del self._rings[next(iter(self._rings))]
        return self._rings.setdefault(backend, _Ring())
