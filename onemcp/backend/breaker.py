"""The circuit breaker of one instance of a backend: who fails again and again isn't asked for now.

Theory of operation: the *transitions* are the table below. A *closed* breaker counts. It opens when
enough calls have failed of late, and they are a large part of those that were made meanwhile. An
*open* one refuses every call at once. When its time is over it is *half-open*: the next call of a
client goes through as a probe, and all others are refused until it is known what becomes of it. An
answer closes the breaker, a failure opens it anew, for twice as long, and a probe that its client
has cancelled leaves the place to another one. So what was away for a moment is used again a moment
later, however many clients have noticed, and what stays away is left alone.

What counts is that a call got no answer: its connection was lost, the backend answered with
something other than MCP, or it had its time and let it pass. Errors of the backend's own are
answers. What is lost at one blow counts once, however many calls were in flight: a call that was
sent before the last loss tells nothing new.

Time passes by itself: whether an open breaker is half-open by now is worked out when somebody
looks, so that there is no task to supervise.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from onemcp import config
from onemcp.protocol.errors import (
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    CircuitOpen,
)

from .events import BreakerClosed, BreakerEvent, BreakerOpened
from .exchange import Exchange

SHORTEST: Final = 1 / 32
"""Which part of the cool-down it stays open the first time."""

PROBED: Final = 1.0
"""When to come back while it is being found out whether an instance is well, in seconds."""

NO_ANSWER: Final = "calls were not answered in time"
LOSSES: Final = (BackendLost, BackendUnavailable, BackendProtocolError)
"""What onemcp ends calls with whose transport has failed."""


class BreakerState(enum.StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class _Happening(enum.Enum):
    TRIPPED = enum.auto()
    COOLED_DOWN = enum.auto()
    PROBE_FAILED = enum.auto()
    PROBE_ANSWERED = enum.auto()
    RESET = enum.auto()


TRANSITIONS: Final[Mapping[tuple[BreakerState, _Happening], BreakerState]] = {
    (BreakerState.CLOSED, _Happening.TRIPPED): BreakerState.OPEN,
    (BreakerState.OPEN, _Happening.COOLED_DOWN): BreakerState.HALF_OPEN,
    (BreakerState.HALF_OPEN, _Happening.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, _Happening.PROBE_ANSWERED): BreakerState.CLOSED,
    (BreakerState.OPEN, _Happening.RESET): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, _Happening.RESET): BreakerState.CLOSED,
    (BreakerState.CLOSED, _Happening.RESET): BreakerState.CLOSED,
}
"""The state after each thing that can happen in one."""


@attrs.frozen
class _Failure:
    """A failure, and how many answers there had been by then."""

    at: float
    answered: int


class Breaker:
    """The breaker of one instance.

    Attributes:
        is_closed: Whether calls go through; otherwise `check` tells.
        reason: What has failed last, or None.
    """

    def __init__(
        self,
        name: str,
        settings: config.Breaker,
        on_event: Callable[[BreakerEvent], object],
        *,
        patience: float,
    ) -> None:
        """Begin closed.

        Args:
            name: What the backend is called.
            settings: When it opens, and for how long.
            on_event: Takes what happens.
            patience: How long a call may take, in seconds. A call that had less than half of it at
                the backend, because it has waited elsewhere, is not the backend's failure.
        """
        self.is_closed = True
        self.reason: str | None = None
        self._name = name
        self._settings = settings
        self._on_event = on_event
        self._patience = patience
        self._state = BreakerState.CLOSED
        self._failures: deque[_Failure] = deque(maxlen=max(1, settings.failures))
        self._answered = 0
        self._lost_at = -math.inf
        self._until = -math.inf
        self._cooldown = 0.0
        self._probe: Exchange | None = None

    @property
    def state(self) -> BreakerState:
        """Whether calls go through by now."""
        if self._state is BreakerState.OPEN and trio.current_time() >= self._until:
            self._move(_Happening.COOLED_DOWN)
        return self._state

    @property
    def retry_in(self) -> float | None:
        """In how many seconds the next call may go through; None where it may now."""
        if self.state is BreakerState.OPEN:
            return self._until - trio.current_time()
        return PROBED if self._probe is not None else None

    def check(self) -> None:
        """Make sure that a call may be made now.

        Raises:
            CircuitOpen: It may not.
        """
        wait = None if self.is_closed else self.retry_in
        if wait is not None:
            raise CircuitOpen.until(self._name, self.reason or "", wait)

    def began(self, exchange: Exchange) -> None:
        """Take note that a call was made; it is the probe where there is to be one."""
        if not self.is_closed:
            self._probe = exchange

    def ended(self, exchange: Exchange) -> None:
        """Take note that a call is over."""
        if exchange.is_answered:
            self._answered += 1
        if self.is_closed:
            if not exchange.is_answered:
                self._count(exchange)
        elif exchange is self._probe:
            self._judge(exchange)

    def reset(self) -> None:
        """Close it, because an operator says so, or the instance is started anew."""
        was_closed = self.is_closed
        self._failures.clear()
        self._move(_Happening.RESET)
        if not was_closed:
            self._on_event(BreakerClosed(self._name, by_operator=True))

    def __repr__(self) -> str:
        return f"<Breaker of {self._name!r} {self._state} failures={len(self._failures)}>"

    def _count(self, exchange: Exchange) -> None:
        """Count a call that got no answer, and open if that is one too many."""
        failure = self._failure_of(exchange)
        if failure is None or not self._settings.failures:
            return
        now = trio.current_time()
        self.reason = failure
        self._failures.append(_Failure(now, self._answered))
        first, wanted = self._failures[0], self._settings.failures
        if len(self._failures) < wanted or now - first.at > self._settings.window:
            return
        answered = self._answered - first.answered
        if wanted >= self._settings.rate * (wanted + answered):
            self._open(_Happening.TRIPPED)

    def _judge(self, probe: Exchange) -> None:
        """Take note of what has become of the probe."""
        self._probe = None
        failure = self._failure_of(probe)
        if probe.is_answered:
            self._failures.clear()
            self._move(_Happening.PROBE_ANSWERED)
            self._on_event(BreakerClosed(self._name, by_operator=False))
        elif failure is not None:
            self.reason = failure
            self._open(_Happening.PROBE_FAILED)

    def _failure_of(self, exchange: Exchange) -> str | None:
        """Return why a call counts as failed; None where it doesn't."""
        now = trio.current_time()
        if exchange.is_expired:
            has_had_its_time = now - exchange.since >= self._patience / 2
            return NO_ANSWER if has_had_its_time else None
        if not isinstance(exchange.failure, LOSSES) or exchange.since <= self._lost_at:
            return None
        self._lost_at = now
        return exchange.failure.message

    def _open(self, happening: _Happening) -> None:
        self._move(happening)
        longest, again = self._settings.cooldown, happening is _Happening.PROBE_FAILED
        self._cooldown = min(2 * self._cooldown, longest) if again else longest * SHORTEST
        self._until = trio.current_time() + self._cooldown
        self._on_event(BreakerOpened(self._name, self.reason or "", self._cooldown))

    def _move(self, happening: _Happening) -> None:
        self._state = TRANSITIONS[self._state, happening]
        self.is_closed = self._state is BreakerState.CLOSED
        self._probe = None
