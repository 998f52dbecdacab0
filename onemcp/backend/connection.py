"""What every connection to a backend can do, whatever its transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
import trio
from msgspec import Raw

from onemcp.protocol.fields import Fields
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.revisions import Era, era_of

from .call import Call
from .exchange import Exchange


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


class HandshakeFailed(ConnectionLost):
    """The backend is reachable, but doesn't speak MCP as it should."""


@attrs.frozen
class ServerDescription:
    """What a backend has said about itself in ``server/discover`` or ``initialize``.

    Attributes:
        revision: The revision that was agreed on.
        capabilities: Its capabilities, decoded.
        info: Its name and version, undecoded, or None.
        instructions: How to use it, or None.
    """

    revision: str
    capabilities: dict[str, Any]
    info: Raw | None = None
    instructions: str | None = None

    @property
    def era(self) -> Era:
        """The era of the agreed revision."""
        return era_of(self.revision) or Era.LEGACY

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
    def in_flight(self) -> int:
        """How many exchanges wait for their answer."""

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

    def fail_all(self, reason: ConnectionLost) -> None:
        """Fail everything in flight, because there is no time left to wait for it."""

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; where that isn't possible it is dropped."""


NotificationHandler = Callable[[Notification], None]
"""Takes what a backend announces outside of any exchange: changed lists, updated resources."""
