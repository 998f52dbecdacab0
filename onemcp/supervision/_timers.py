"""Deadlines by key: set, clear, due. Pure: time is an argument."""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import Generic, TypeVar

from attrs import define, field

K = TypeVar("K")


@define
class Timers(Generic[K]):
    """Keep at most one deadline per key; every operation is O(log n), amortised.

    Cleared and replaced deadlines stay in the heap until they surface or outnumber the live ones.
    """

    _live: dict[K, int] = field(factory=dict, init=False)
    _heap: list[tuple[float, int, K]] = field(factory=list, init=False)
    _serial: count[int] = field(factory=count, init=False)

    def set(self, key: K, deadline: float) -> None:
        """Set the deadline of a key, in place of an earlier one; infinity clears it.

        Args:
            key: Whose deadline.
            deadline: When, in seconds.
        """
        self.clear(key)
        if deadline == math.inf:
            return
        serial = next(self._serial)
        self._live[key] = serial
        heapq.heappush(self._heap, (deadline, serial, key))

    def clear(self, key: K) -> None:
        """Forget the deadline of a key, if it has one."""
        if self._live.pop(key, None) is not None and len(self._heap) > 2 * len(self._live) + 16:
            self._heap = [item for item in self._heap if self._live.get(item[2]) == item[1]]
            heapq.heapify(self._heap)

    def next(self) -> float:
        """Return the earliest deadline in seconds, or infinity."""
        while self._heap:
            deadline, serial, key = self._heap[0]
            if self._live.get(key) == serial:
                return deadline
            heapq.heappop(self._heap)
        return math.inf

    def pop_due(self, now: float) -> K | None:
        """Remove and return one key whose deadline has come, earliest first, if there is one."""
        if self.next() > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._live[key]
        return key
