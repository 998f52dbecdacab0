"""Places for what lasts, such as sessions and streams: nobody waits for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from onemcp.protocol.errors import Overloaded

from ._refusals import refusal
from ._shedding import Shedding

WAIT: Final = 5.0
"""After how long those who find no place are told to try again, in seconds."""


@attrs.frozen
class PlaceLimits:
    """How many places there are.

    Attributes:
        total: All together.
        per_principal: How many of them one principal may have.
    """

    total: int
    per_principal: int


class Places:
    """Counts what there is of something, altogether and of each principal.

    Attributes:
        limits: How many there may be; may be replaced at any time, nothing that is there ends.
        taken: How many there are.
        refused: How many have been refused since the start.
    """

    def __init__(
        self, what: str, option: str, limits: PlaceLimits, shedding: Shedding | None = None
    ) -> None:
        """Begin with all places free.

        Args:
            what: What is counted, in the plural.
            option: Where the limit is configured; that of a principal has `PerPrincipal` added.
            limits: How many there may be.
            shedding: What is turned away just now; by default nothing ever is.
        """
        self.limits = limits
        self.taken = 0
        self.refused = 0
        self._what = what
        self._option = option
        self._of_principal: Counter[str] = Counter()
        self._shedding = shedding or Shedding()

    def __repr__(self) -> str:
        return f"<Places {self._what} taken={self.taken}>"

    def of(self, principal: str) -> int:
        """How many a principal has."""
        return self._of_principal[principal]

    def has_room(self, principal: str) -> bool:
        """Tell whether a principal may have another one."""
        limits = self.limits
        return self.taken < limits.total and self._of_principal[principal] < limits.per_principal

    def is_full_for(self, principal: str) -> bool:
        """Tell whether a principal has as many as one may have."""
        return self._of_principal[principal] >= self.limits.per_principal

    def check_open(self) -> None:
        """Make sure that there can be new ones just now, be there room or not.

        Raises:
            Overloaded: The machine is short of something.
        """
        if self._shedding.level:
            self.refused += 1
            raise self._shedding.refusal(f"there can be no new {self._what} now")

    def refuse(self, principal: str) -> Overloaded:
        """Count a refusal, and return what a principal is told for whom there is no room."""
        self.refused += 1
        if self.taken >= self.limits.total:
            return refusal(f"there are {self.taken} {self._what}", self._option, wait=WAIT)
        said, option = f"you have {self.of(principal)} {self._what}", f"{self._option}PerPrincipal"
        return refusal(said, option, wait=WAIT, is_own=True)

    def enter(self, principal: str) -> None:
        """Take a place, be there one or not."""
        self.taken += 1
        self._of_principal[principal] += 1

    def leave(self, principal: str) -> None:
        """Give a place back."""
        self.taken -= 1
        self._of_principal[principal] -= 1
        if not self._of_principal[principal]:
            del self._of_principal[principal]

    @contextmanager
    def held(self, principal: str) -> Iterator[None]:
        """Hold a place within the block.

        Raises:
            Overloaded: There is none.
        """
        if not self.has_room(principal):
            raise self.refuse(principal)
        self.enter(principal)
        try:
            yield
        finally:
            self.leave(principal)
