"""How long to wait before a restart. Pure: chance is an argument."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from attrs import field, frozen, validators

if TYPE_CHECKING:
    from collections.abc import Callable


def _finite(_instance: object, attribute: object, value: float) -> None:
    if not 0 <= value < math.inf:
        name = getattr(attribute, "name", "value")
        raise ValueError(f"{name} must be a finite number of seconds >= 0, not {value!r}")


@frozen
class Backoff:
    """Wait longer from failure to failure: exponential, with full jitter, capped.

    The n-th delay in a row is ``jitter() * min(maximum, initial * factor ** n)``.

    Attributes:
        initial: The upper bound of the first delay, in seconds. 0 restarts at once, as OTP does.
        factor: What the bound is multiplied by after each failure, 1 or more.
        maximum: The highest bound, in seconds.
        stable_after: After running this many seconds a child starts from ``initial`` again.
        jitter: Returns a number in [0, 1]. ``lambda: 1.0`` turns jitter off.
    """

    initial: float = field(default=0.1, validator=_finite)
    factor: float = field(default=2.0, validator=validators.ge(1.0))
    maximum: float = field(default=30.0, validator=_finite)
    stable_after: float = field(default=60.0, validator=_finite)
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def bound(self, attempt: int) -> float:
        """Return the upper bound of a delay in seconds.

        Args:
            attempt: How many failures in a row came before this one, 0 or more.
        """
        try:
            grown = self.initial * self.factor**attempt
        except OverflowError:
            return self.maximum
        return min(self.maximum, grown)

    def delay(self, attempt: int) -> float:
        """Return how many seconds to wait.

        Args:
            attempt: How many failures in a row came before this one, 0 or more.
        """
        return self.jitter() * self.bound(attempt)
