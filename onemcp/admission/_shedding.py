"""How much is turned away while the machine, not a limit, is what there is too little of."""

from __future__ import annotations

import enum
from typing import Final

import attrs

from onemcp.protocol.errors import Overloaded

RETRY: Final = 10
"""After how long those who are turned away are told to try again, in seconds."""

SMALLEST_SHARE: Final = 4
"""How many calls each principal may have under way however little there is."""


class Level(enum.IntEnum):
    """What is turned away; each level turns away what those before it do."""

    NORMAL = 0
    """Nothing but what is beyond a limit."""

    NO_NEWCOMERS = 1
    """New sessions, and new streams that are no answers."""

    FAIR_SHARES = 2
    """Calls of principals that have more than their share under way."""


@attrs.define
class Shedding:
    """What is turned away now. One task changes it; everybody else only looks.

    Attributes:
        level: How far it has come.
        reason: Why, in words that anybody may read; empty at the lowest level.
        budget: How many calls all principals share at the highest level.
    """

    level: Level = Level.NORMAL
    reason: str = ""
    budget: int = 0

    def share(self, principals: int) -> int:
        """Return how many calls each of so many principals may have under way."""
        return max(SMALLEST_SHARE, self.budget // principals)

    def refusal(self, said: str) -> Overloaded:
        """Return what somebody is told who is turned away.

        Args:
            said: What they don't get.
        """
        return Overloaded(
            f"{said}: {self.reason}; try again in {RETRY} s",
            {"retryAfter": RETRY},
            retry_after=RETRY,
        )
