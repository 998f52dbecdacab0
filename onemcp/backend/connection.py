"""What every connection to a backend can do, whatever its transport."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import attrs
import trio
from msgspec import Raw

from onemcp.protocol.errors import MessageTooLarge
from onemcp.protocol.fields import Fields
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.revisions import V2025_11_25, Era, era_of
from onemcp.protocol.tasks import declares

from .call import Call
from .exchange import Exchange

if TYPE_CHECKING:
    from .inbound import Inbound


BESIDES: Final = 128
"""How many requests fit in beside the calls that are let in: onemcp's own, and parked ones."""


class ConnectionLost(Exception):
    """The connection can't be used any further; the supervisor makes a new one.

    Attributes:
        reason: Why, in a sentence that callers may see.
        detail: More for the operator alone, such as a program's last words, or None.
    """

    def __init__(self, reason: str, detail: str | None = None) -> None:
        """Say why the connection is gone."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail

    def redacted(self, redact: Callable[[str], str]) -> Self:
        """Return the same in words without secrets."""
        reason = redact(self.reason)
        detail = None if self.detail is None else redact(self.detail)
        if (reason, detail) == (self.reason, self.detail):
            return self
        return type(self)(reason, detail)


class HandshakeFailed(ConnectionLost):
    """The backend is reachable, but doesn't speak MCP as it should."""

    @classmethod
    def too_slow(cls, connection: Connection, seconds: float) -> HandshakeFailed:
        """Say that a backend was not ready in time, and what it has done instead."""
        said = connection.inbound.last_violation
        return cls(
            f"it was not ready within {seconds:g} s"
            + (f"; {said}" if said else "")
            + '; raise "timeouts.start" if it needs longer'
        )


def first_loss(group: BaseExceptionGroup[ConnectionLost]) -> ConnectionLost:
    """Return the first reason in a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionLost)  # noqa: S101 - what the group was split by
    return error


class LoginRequired(HandshakeFailed):
    """The backend refuses onemcp for want of a login: it is not down, and no restart helps."""


@attrs.frozen
class ServerDescription:
    """What a backend has said about itself in ``server/discover`` or ``initialize``.

    Attributes:
        revision: The revision that was agreed on.
        capabilities: Its capabilities, decoded.
        info: Its name and version, undecoded, or None.
        instructions: How to use it, or None.
        era: The era of the agreed revision.
    """

    revision: str
    capabilities: dict[str, Any]
    info: Raw | None = None
    instructions: str | None = None
    era: Era = attrs.field(init=False, eq=False, repr=False)

    @era.default
    def _era(self) -> Era:
        return era_of(self.revision) or Era.LEGACY

    @cached_property
    def makes_tasks(self) -> bool:
        """Whether calls of its tools may be tasks, in the design that its revision has."""
        if self.era is Era.MODERN:
            return declares(self.capabilities)
        found: Any = self.capabilities
        for key in ("tasks", "requests", "tools", "call"):
            found = found.get(key) if isinstance(found, dict) else None
        return isinstance(found, dict) and self.revision == V2025_11_25

    def has(self, capability: str, setting: str | None = None) -> bool:
        """Tell whether a capability, and a setting of it, is declared."""
        declared = self.capabilities.get(capability)
        if setting is None:
            return isinstance(declared, dict)
        return isinstance(declared, dict) and declared.get(setting) is True


class Connection(Protocol):
    """A live connection to one backend.

    The transport's own task calls `run`, which returns or raises only when the connection is
    over; every exchange in flight has been failed by then.
    """

    @property
    def server(self) -> ServerDescription | None:
        """What the backend said about itself, None before the handshake."""

    @property
    def is_shared(self) -> bool:
        """Whether everything comes on one channel, and nothing tells whose a question is."""

    @property
    def inbound(self) -> Inbound:
        """What is in flight, and the way in for everything that comes back."""

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, agree on a revision, acknowledge with the description, and serve until the end.

        Raises:
            ConnectionLost: The connection broke or could not be made.
        """

    def open(self, call: Call) -> Exchange:
        """Send a request. It never waits: what can't be sent yet is queued, within bounds.

        Raises:
            InvalidParams: ``_meta`` is malformed.
            Overloaded: Too much is queued or in flight.
        """

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; where that isn't possible it is dropped."""


def too_large(limit: int, size: int | None = None) -> MessageTooLarge:
    """Make the error for an answer that is larger than messages of the backend may be.

    Args:
        limit: How large they may be, in bytes.
        size: How large it is, where that is known.
    """
    has = f"more than {limit} bytes" if size is None else f"{size} bytes, more than {limit}"
    return MessageTooLarge(
        f"the answer has {has}, the limit (limits.messageBytes of the server); "
        "ask for less, or let the limit be raised",
        {"limit": limit} if size is None else {"limit": limit, "size": size},
    )


NotificationHandler = Callable[[Notification], None]
"""Takes what a backend announces outside of any exchange: changed lists, updated resources."""
