"""How many restarts are too many. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque

from attrs import define, field, frozen, validators


@frozen
class Intensity:
    """Allow ``restarts`` restarts within any ``period`` seconds; one more is exhaustion.

    Attributes:
        restarts: The restarts that are allowed, 0 or more. A group restart counts once.
        period: The length of the sliding window in seconds.
    """

    restarts: int = field(default=3, validator=validators.ge(0))
    period: float = field(default=5.0, validator=[validators.gt(0), validators.lt(math.inf)])


@define
class RestartWindow:
    """Remember when restarts happened, for as long as they matter.

    It never holds more than ``restarts`` timestamps: a restart that is refused is not remembered.

    Attributes:
        intensity: The allowance.
    """

    intensity: Intensity
    _stamps: deque[float] = field(factory=deque, init=False)

    def admit(self, now: float) -> bool:
        """Count one more restart and return whether it is within the allowance.

        Args:
            now: The time in seconds; never less than in an earlier call.
        """
        self.used(now)
        if len(self._stamps) >= self.intensity.restarts:
            return False
        self._stamps.append(now)
        return True

    def used(self, now: float) -> int:
        """Return how many restarts lie in the window (``>= now - period``)."""
        while self._stamps and self._stamps[0] < now - self.intensity.period:
            self._stamps.popleft()
        return len(self._stamps)

    def clear(self) -> None:
        """Forget all restarts: a fresh allowance."""
        self._stamps.clear()
