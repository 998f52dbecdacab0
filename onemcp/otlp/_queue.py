"""Spans that wait to be sent: bounded, counted, and taken from requests without any wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from onemcp.telemetry import Span

BATCH: Final = 512
"""How many spans are sent at once, at most."""


class SpanQueue:
    """Spans that wait to be sent.

    Attributes:
        most: How many may wait.
        dropped: How many were not taken, because so many wait.
    """

    def __init__(self, most: int) -> None:
        """Begin with none."""
        self.most = most
        self.dropped = 0
        self._spans: deque[Span] = deque()
        self._full_batch = trio.Event()

    def __len__(self) -> int:
        return len(self._spans)

    def put(self, span: Span) -> None:
        """Take a span; on the hot path."""
        if len(self._spans) >= self.most:
            self.dropped += 1
            return
        self._spans.append(span)
        if len(self._spans) >= self._batch:
            self._full_batch.set()

    async def wait_full(self) -> None:
        """Wait until as many wait as are sent at once."""
        if len(self._spans) < self._batch:
            self._full_batch = trio.Event()
            await self._full_batch.wait()

    @property
    def _batch(self) -> int:
        return min(BATCH, self.most)

    def take(self) -> Sequence[Span]:
        """Take out what is sent next."""
        return [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]

    def put_back(self, spans: Sequence[Span]) -> None:
        """Take back what could not be sent; what is too much is dropped."""
        fitting = max(0, self.most - len(self._spans))
        self.dropped += max(0, len(spans) - fitting)
        self._spans.extendleft(reversed(spans[:fitting]))

    def clear(self) -> int:
        """Drop all that wait, and return how many they were."""
        count = len(self._spans)
        self.dropped += count
        self._spans.clear()
        return count
