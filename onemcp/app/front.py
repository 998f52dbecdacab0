"""What lets clients in: one child of the tree, whatever clients come by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from onemcp.config import Configuration
from onemcp.frontend import Application, Deadlines, Operate, Sessions
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSpec

EventHook: TypeAlias = Callable[[Any], None]
"""Takes every typed event of every room; must not block or raise."""

Replace: TypeAlias = Callable[[Sequence[ChildSpec]], Awaitable[object]]
"""Lets other children take the place of the frontend's."""


class Front(Protocol):
    """Where clients come in.

    Attributes:
        sessions: The sessions of legacy clients.
        stopping: Whether the whole gateway is being stopped.
    """

    sessions: Sessions
    stopping: bool

    @property
    def url(self) -> str:
        """Where clients find it."""

    @property
    def streams(self) -> int:
        """How many streams of events are open."""

    @property
    def shed(self) -> Mapping[str, int]:
        """How much was refused for its limits since the start, by what it was."""

    def child(self) -> ChildSpec:
        """Return what runs it."""

    async def prepare(self, new: Configuration) -> None:
        """Make sure that a new configuration can be put in force.

        Raises:
            ConfigurationError: It can't.
        """

    def recheck(self) -> None:
        """Let clients see no more than they may by now, where that may have changed."""

    def reconfigure(self, new: Configuration) -> None:
        """Take over what can be changed at once."""

    async def move(self, new: Configuration, replace: Replace) -> bool:
        """Go where the new configuration says, if that is elsewhere.

        Returns:
            Whether it is there.
        """

    def operate(self, operate: Operate) -> Application | None:
        """Let operators in by whatever serves them.

        Returns:
            What serves everything there is to a control socket, if it can have one.
        """

    def close(self) -> None:
        """Give back what is held; nothing runs any more."""


OpenFront: TypeAlias = Callable[[Multiplexer, Configuration, EventHook], Front]
"""Makes what lets clients in to a multiplexer."""


def deadlines_of(configuration: Configuration) -> Deadlines:
    """Return when sessions end by themselves."""
    limits = configuration.limits
    return Deadlines(limits.session_idle, limits.session_lifetime)


def tell_all(listeners: Iterable[EventHook], event: object) -> None:
    """Let several take an event, in order."""
    for listener in listeners:
        listener(event)
