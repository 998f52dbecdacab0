"""Who may go on, who waits, and who is refused.

Theory of operation: a call that finds a place takes it by counting up three numbers (all, its
principal's, its backend's), and gives it back by counting them down; nothing else happens as long
as nobody waits. Whoever finds none waits in line, and is given a place by whoever gives one
back, synchronously: a place is never seen free by a newcomer while somebody waits who could have
it. So a newcomer that finds a place overtakes nobody.

A line that is full is kept fair by dropping: the newest call of whoever has the most in it makes
way for a principal with less. So whoever floods is refused, and the others keep their share.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import attrs
import trio

from onemcp.protocol.errors import Overloaded, ProtocolError

from ._limits import DEFAULT, BackendLimits, Limits
from ._queue import Waiter, WaitingLine
from ._refusals import refusal
from ._shedding import Level, Shedding


@attrs.frozen
class Statistics:
    """How it stands.

    Attributes:
        in_flight: How many calls have a place.
        queued: How many wait for one.
        refused: How many have been refused since the start.
        wait: How long the call waited that got its place last after waiting, in seconds.
    """

    in_flight: int
    queued: int
    refused: int
    wait: float


class Admission:
    """Gives calls their places.

    Attributes:
        shedding: What is turned away beside what is beyond a limit; see `shed`.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Begin with all places free."""
        self.shedding = Shedding()
        self._limits = limits or Limits()
        self._backends: Mapping[str, BackendLimits] = {}
        self._in_flight = 0
        self._of_principal: dict[str, int] = {}
        self._of_backend: dict[str, int] = {}
        self._line = WaitingLine()
        self._numbers = itertools.count()
        self._refused = 0
        self._wait = 0.0

    @property
    def in_flight(self) -> int:
        """How many calls have a place."""
        return self._in_flight

    @property
    def queued(self) -> int:
        """How many calls wait for a place."""
        return len(self._line)

    def statistics(self) -> Statistics:
        """Return how it stands."""
        return Statistics(self._in_flight, self.queued, self._refused, self._wait)

    def reconfigure(self, limits: Limits) -> None:
        """Let other limits hold from now on; nothing that is under way or waits is refused."""
        self._limits = limits
        self._serve()

    def show(self, backends: Mapping[str, BackendLimits]) -> None:
        """Say which backends there are from now on, and their limits; others have the default."""
        self._backends = backends
        self._serve()

    def shed(self, level: Level, reason: str) -> None:
        """Turn away more, or less, from now on; nothing that is under way or waits is refused.

        At the highest level all principals share half as many calls as were under way when it was
        reached. What waits goes on waiting for its principal's share.

        Args:
            level: What is turned away.
            reason: Why, in words that anybody may read.
        """
        shedding = self.shedding
        if level is Level.FAIR_SHARES and shedding.level is not level:
            shedding.budget = self._in_flight // 2
        shedding.level, shedding.reason = level, reason
        self._serve()

    def enter_nowait(self, backend: str, principal: str) -> bool:
        """Take a place if there is one."""
        limits = self._limits
        if self._in_flight >= limits.in_flight:
            return False
        of_principal = self._of_principal.get(principal, 0)
        of_backend = self._of_backend.get(backend, 0)
        if (
            of_principal >= limits.in_flight_per_principal
            or of_backend >= self._backends.get(backend, DEFAULT).in_flight
            or (self.shedding.level is Level.FAIR_SHARES and not self._has_share(principal))
        ):
            return False
        self._in_flight += 1
        self._of_principal[principal] = of_principal + 1
        self._of_backend[backend] = of_backend + 1
        return True

    async def enter(self, backend: str, principal: str) -> None:
        """Take a place, waiting for one where there is none. Callers bound the wait by a scope.

        Args:
            backend: Where the call goes.
            principal: Whose it is.

        Raises:
            Overloaded: Too many wait already, or so many are the principal's own that it has more
                than its share of what there is just now.
            ProtocolError: What `turn_away` says.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.enter_nowait(backend, principal):
            return
        if not self._has_share(principal):
            self._refused += 1
            own = self._of_principal[principal]
            raise self.shedding.refusal(f"with {own} calls under way you can have no more now")
        self._make_room(backend, principal)
        number, now = next(self._numbers), trio.current_time()
        waiter = Waiter(backend, principal, number, now)
        self._line.add(waiter)
        try:
            await waiter.decided.wait()
        except BaseException:
            if not waiter.decided.is_set():
                self._line.remove(waiter)
            elif waiter.error is None:
                self.leave(backend, principal)
            raise
        if waiter.error is not None:
            raise waiter.error

    def leave(self, backend: str, principal: str) -> None:
        """Give a place back."""
        was_full = self._in_flight >= self._limits.in_flight
        self._in_flight -= 1
        _count_down(self._of_principal, principal)
        _count_down(self._of_backend, backend)
        if self._line and (
            was_full or self._line.of_principal(principal) or self._line.of_backend(backend)
        ):
            self._serve()

    def turn_away(self, error: ProtocolError) -> None:
        """Let nobody wait any longer."""
        for waiter in list(self._line):
            self._refuse(waiter, error)

    def __repr__(self) -> str:
        return f"<Admission in_flight={self._in_flight} queued={self.queued}>"

    def _serve(self) -> None:
        """Give what is free to those whose turn it is."""
        while self._in_flight < self._limits.in_flight:
            waiter = self._line.take_next(self._has_room_for, self._has_room_at)
            if waiter is None:
                return
            self.enter_nowait(waiter.backend, waiter.principal)
            self._wait = trio.current_time() - waiter.since
            waiter.decided.set()

    def _has_room_for(self, principal: str) -> bool:
        of_principal = self._of_principal.get(principal, 0)
        return of_principal < self._limits.in_flight_per_principal and self._has_share(principal)

    def _has_share(self, principal: str) -> bool:
        """Tell whether a principal has less than its share of what there is just now."""
        if self.shedding.level is not Level.FAIR_SHARES:
            return True
        principals = len(self._of_principal) + (principal not in self._of_principal)
        return self._of_principal.get(principal, 0) < self.shedding.share(principals)

    def _has_room_at(self, backend: str) -> bool:
        limits = self._backends.get(backend, DEFAULT)
        return self._of_backend.get(backend, 0) < limits.in_flight

    def _make_room(self, backend: str, principal: str) -> None:
        """Make sure that one more call may wait.

        Raises:
            Overloaded: It may not.
        """
        limit = self._limits.queued_per_principal
        if self._line.of_principal(principal) >= limit:
            said = f"{limit} of your calls wait already"
            raise self._overloaded(said, "limits.queuedPerPrincipal", is_own=True)
        limit = self._backends.get(backend, DEFAULT).queued
        if self._line.of_backend(backend) >= limit:
            error = self._overloaded(
                f"{limit} calls wait for backend {backend!r} already", "limits.queued of the server"
            )
            self._displace(principal, backend, error)
        limit = self._limits.queued
        if len(self._line) >= limit:
            error = self._overloaded(f"{limit} calls wait already", "limits.queued")
            self._displace(principal, None, error)

    def _displace(self, principal: str, backend: str | None, error: Overloaded) -> None:
        """Refuse the newest call of the principal with the most, if that is not this one.

        Raises:
            Overloaded: It is.
        """
        if not (self._line.of_backend(backend) if backend else self._line):
            raise error
        newest = self._line.newest_of_the_greediest(backend)
        size = self._line.size_of(newest.principal, backend)
        if size <= self._line.size_of(principal, backend) + 1:
            raise error
        self._refuse(newest, error)

    def _refuse(self, waiter: Waiter, error: ProtocolError) -> None:
        self._line.remove(waiter)
        waiter.error = error
        waiter.decided.set()

    def _overloaded(self, said: str, option: str, *, is_own: bool = False) -> Overloaded:
        self._refused += 1
        return refusal(said, option, wait=self._wait, is_own=is_own)


def _count_down(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
