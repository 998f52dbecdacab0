"""Which replica of a backend takes a call: the one with the least to do, or that of a session."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final, Protocol, TypeVar

MAX_SESSIONS: Final = 16_384
"""Of how many sessions it is remembered which replica is theirs; the oldest are forgotten first."""


class Worker(Protocol):
    """What takes calls.

    Attributes:
        key: What tells it from the others.
    """

    key: str

    @property
    def in_flight(self) -> int:
        """How many calls wait for an answer."""

    @property
    def waiting(self) -> int:
        """How many calls wait to be sent."""


W = TypeVar("W", bound=Worker)


class Balancer:
    """Shares calls out; among those with as much to do, in turn."""

    def __init__(self) -> None:
        """Begin with no session known."""
        self._turns = itertools.count()
        self._sessions: OrderedDict[Hashable, str] = OrderedDict()

    def choose(self, able: Sequence[W], session: Hashable | None) -> W:
        """Return the one that takes a call.

        Args:
            able: Those that can, at least one.
            session: The session that the call is part of, which keeps to one for as long as that is
                able; None where that is of no matter.
        """
        if session is None:
            return self._least_busy(able)
        key = self._sessions.get(session)
        chosen = next((each for each in able if each.key == key), None) or self._least_busy(able)
        self.keep(session, chosen.key)
        return chosen

    def keep(self, session: Hashable, key: str) -> None:
        """Remember which one a session keeps to."""
        self._sessions[session] = key
        self._sessions.move_to_end(session)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)

    def knows(self, session: Hashable) -> bool:
        """Tell whether a session is remembered."""
        return session in self._sessions

    def _least_busy(self, able: Sequence[W]) -> W:
        first = next(self._turns) % len(able)
        in_turn = (*able[first:], *able[:first])
        return min(in_turn, key=lambda each: each.in_flight + each.waiting)

    def __repr__(self) -> str:
        return f"<Balancer of {len(self._sessions)} sessions>"
