"""Cancel scopes that are used again and again.

Theory of operation: nearly no request is ever cancelled, but to enter and leave a scope of Trio's
costs a good part of what serving one does. So the task of a connection enters one, and lends it to
what is done in turn: a *use*, which behaves like a scope of its own. Only a scope that has been
cancelled is really left, by the use that it was cancelled for, and another one is entered instead.

Nearly no deadline ever passes either. So Trio is only told of those that are near: at once, where
they are so from the beginning, otherwise by whoever looks at all of them now and then, and *arms*
them.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Final, Self, TypeAlias

import trio

SOON: Final = 2.5
"""Deadlines that are as near as this, in seconds, are armed."""


class ReusableScope:
    """A cancel scope for one use after another, of the task that has entered this.

    Uses nest. There must be no other scope and no nursery between this and a use, nor between a
    use and one within it; within the innermost there may be.

    Attributes:
        now: Tells the time; Trio's clock without a detour.
        scope: The scope that is lent.
        innermost: The use that has begun last, of those that have not ended.
        deadline: When that is to be cancelled, by Trio's clock.
        is_armed: Whether Trio knows of that.
    """

    __slots__ = ("deadline", "innermost", "is_armed", "now", "scope")

    def __init__(self) -> None:
        """Begin; used as a context manager."""
        self.now = trio.lowlevel.current_clock().current_time
        self.scope = trio.CancelScope()
        self.innermost: Use | None = None
        self.deadline = math.inf
        self.is_armed = False

    def __enter__(self) -> Self:
        self.scope = trio.CancelScope()
        self.scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return self.scope.__exit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<ReusableScope {'at rest' if self.innermost is None else 'in use'}>"

    def use(self) -> Use:
        """Return a use, to be entered once."""
        return Use(self)

    def arm(self) -> None:
        """Let Trio cancel the innermost use at its deadline."""
        self.is_armed = True
        self.scope.deadline = self.deadline


class Use:
    """What a scope is used for once; like a :class:`trio.CancelScope`, without a shield.

    Attributes:
        cancel_called: Whether it has been cancelled, other than by its deadline.
        cancelled_caught: Whether it has ended because it was cancelled.
        outer: The use that it is within, if it is in one.
    """

    __slots__ = ("_has_deadline", "_is_in", "_lender", "cancel_called", "cancelled_caught", "outer")

    def __init__(self, lender: ReusableScope) -> None:
        """Describe a use; `ReusableScope.use` does it."""
        self.cancel_called = False
        self.cancelled_caught = False
        self._lender = lender
        self.outer: Use | None = None
        self._has_deadline = False
        self._is_in = False

    def __enter__(self) -> Self:
        lender = self._lender
        self.outer, lender.innermost = lender.innermost, self
        self._is_in = True
        if self.cancel_called:
            lender.scope.cancel()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._lender.innermost = self.outer
        self._is_in = False
        may_be_cancelled = self.cancel_called
        if self._has_deadline:
            lender = self._lender
            lender.deadline = math.inf
            if lender.is_armed:
                lender.is_armed, lender.scope.deadline = False, math.inf
                may_be_cancelled = True
        return may_be_cancelled and self._leave(kind, error, traceback)

    def expire_in(self, seconds: float) -> float:
        """Let it be cancelled after some seconds, while it is the innermost use.

        Returns:
            When that is, by Trio's clock.
        """
        self._has_deadline = True
        deadline = self._lender.deadline = self._lender.now() + seconds
        if seconds <= SOON:
            self._lender.arm()
        return deadline

    def cancel(self) -> None:
        """Cancel what happens in it; without effect once it has ended."""
        self.cancel_called = True
        if self._is_in:
            self._lender.scope.cancel()

    def __repr__(self) -> str:
        state = "cancelled" if self.cancel_called else "in use" if self._is_in else "not in use"
        return f"<Use of a scope, {state}>"

    def _leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        lender, outer = self._lender, self.outer
        while outer is not None:
            if outer.cancel_called:
                return False  # which takes care of it
            outer = outer.outer
        scope = lender.scope
        if not scope.cancel_called:
            return False
        try:
            return scope.__exit__(kind, error, traceback)
        finally:
            self.cancelled_caught = scope.cancelled_caught
            lender.__enter__()


Scope: TypeAlias = trio.CancelScope | Use


def expire_in(scope: Scope, seconds: float) -> float:
    """Let a scope that has been entered be cancelled after some seconds.

    Returns:
        When that is, by Trio's clock.
    """
    if isinstance(scope, Use):
        return scope.expire_in(seconds)
    scope.deadline = trio.current_time() + seconds
    return scope.deadline
