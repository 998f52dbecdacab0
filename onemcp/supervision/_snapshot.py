"""The state of a tree at one moment, frozen, and how it prints."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onemcp.supervision._lifecycle import ChildState
    from onemcp.supervision._spec import Kind, Restart
    from onemcp.supervision._strategy import Strategy


class Role(Enum):
    """Name which of two coexisting incarnations a reload is dealing with."""

    CURRENT = "current"
    INCOMING = "incoming"
    OUTGOING = "outgoing"


@frozen(kw_only=True)
class Counts:
    """Count children, as OTP's ``count_children`` does.

    Attributes:
        specs: All children, running or not.
        active: Those with a live task.
        workers: Those that are workers, running or not.
        supervisors: Those that are supervisors, running or not.
    """

    specs: int
    active: int
    workers: int
    supervisors: int


@frozen(kw_only=True)
class ChildSnapshot:
    """Describe one child at one moment.

    Attributes:
        id: Its id.
        state: What it is doing.
        kind: Worker or supervisor.
        restart: Its restart type.
        generation: The number of its present or last incarnation.
        restarts: How often it was restarted automatically.
        value: What it acknowledged with, while it is running.
        reason: The last failure, if there was one.
        since: When it came into this state, in seconds of ``trio.current_time()``.
        next_attempt: When it is started again, in the same seconds, if that is known.
        role: Current, or one of a pair during a reload.
        halted: It was told to stay down.
        subtree: The nested supervisor's state, if it is one.
    """

    id: str
    state: ChildState
    kind: Kind
    restart: Restart
    generation: int
    restarts: int
    value: Any
    reason: BaseException | None
    since: float
    next_attempt: float | None
    role: Role = Role.CURRENT
    halted: bool = False
    subtree: TreeSnapshot | None = None

    def child(self, child: str) -> ChildSnapshot | None:
        """Return a current child of it by its id; None where it has none of that id."""
        try:
            return None if self.subtree is None else self.subtree[child]
        except KeyError:
            return None

    def workers(self, child: str) -> Iterator[ChildSnapshot]:
        """Yield all workers of an id that are below it."""
        for each in () if self.subtree is None else self.subtree.children:
            if each.subtree is not None:
                yield from each.workers(child)
            elif each.id == child:
                yield each

    def retry_in(self, at: float) -> float | None:
        """Return in how many seconds it is started again, if that is known.

        Args:
            at: The moment to count from, in seconds of ``trio.current_time()``.
        """
        return None if self.next_attempt is None else max(0.0, self.next_attempt - at)

    def line(self, at: float) -> str:
        """Return a description of one line.

        Args:
            at: The moment to count from, in seconds of ``trio.current_time()``.
        """
        parts = [self.id, self.state.value, f"restarts={self.restarts}"]
        if self.role is not Role.CURRENT:
            parts.insert(1, f"({self.role.value})")
        if (wait := self.retry_in(at)) is not None:
            parts.append(f"next attempt in {wait:.1f} s")
        if self.reason is not None:
            parts.append(f"reason: {self.reason!r}")
        return "  ".join(parts)


def next_attempt(children: Iterable[ChildSnapshot], at: float) -> float | None:
    """Return in how many seconds the first of several children is started again, if one is.

    Args:
        children: The children.
        at: The moment to count from, in seconds of ``trio.current_time()``.
    """
    waits = (each.retry_in(at) for each in children)
    return min((wait for wait in waits if wait is not None), default=None)


@frozen(kw_only=True)
class TreeSnapshot:
    """Describe a supervisor and all below it at one moment; ``str()`` is an indented tree.

    Attributes:
        name: The supervisor's name.
        path: Its path from the root, ids joined by "/".
        running: Whether it is running.
        strategy: Its strategy.
        at: The moment, in seconds of ``trio.current_time()``.
        restarts: The restarts in its window now.
        allowed: The restarts that are allowed in its window.
        period: The length of the window in seconds.
        children: Its children in start order.
    """

    name: str
    path: str
    running: bool
    strategy: Strategy
    at: float
    restarts: int
    allowed: int
    period: float
    children: tuple[ChildSnapshot, ...]

    def __getitem__(self, child: str) -> ChildSnapshot:
        for candidate in self.children:
            if candidate.id == child and candidate.role is Role.CURRENT:
                return candidate
        raise KeyError(child)

    def __str__(self) -> str:
        return "\n".join([self._heading(self.name), *self._lines()])

    def _heading(self, label: str) -> str:
        state = "running" if self.running else "not running"
        window = f"{self.restarts}/{self.allowed} restarts in {self.period:g} s"
        return f"{label}  {state}  {self.strategy.value}  {window}"

    def _lines(self) -> Iterator[str]:
        for child in self.children:
            last = child is self.children[-1]
            yield ("└── " if last else "├── ") + child.line(self.at)
            if child.subtree is not None:
                margin = "    " if last else "│   "
                yield margin + child.subtree._heading("·")  # noqa: SLF001 - the same class
                for line in child.subtree._lines():  # noqa: SLF001 - likewise
                    yield margin + line
