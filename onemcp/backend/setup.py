"""What is agreed between a backend and those who put it together: identity and connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs
from msgspec import Raw

from onemcp import config
from onemcp.protocol.jsonrpc import Notification

from .attribution import INTERNAL
from .call import Caller
from .connection import Connection, NotificationHandler
from .events import BackendEvent
from .handshake import OWN_ABILITIES, EraMemory
from .keeping import Keeper

if TYPE_CHECKING:
    from .backend import Backend
    from .oauth import Credentials
from .throttle import Tally

SHUTDOWN: Final = 30.0
"""How long an instance may take to stop, in seconds, where nothing else is said."""


@attrs.frozen
class Setup:
    """What a connection needs to know of the backend that it is made for.

    Attributes:
        config: How the backend is configured.
        memory: Which era it speaks, as far as known.
        notification_handler: Takes what belongs to no exchange.
        tools: What is known of the backend's tools.
        on_event: Takes what happens.
        credentials: How onemcp logs in at it, if it does.
        tally: Counts what becomes of its notifications.
    """

    config: config.Backend
    memory: EraMemory
    notification_handler: NotificationHandler
    tools: Keeper
    on_event: Callable[[BackendEvent], object]
    credentials: Credentials | None = None
    tally: Tally = attrs.field(factory=Tally)


class Connect(Protocol):
    """Makes a connection for the next instance of a backend."""

    def __call__(self, setup: Setup) -> Connection:
        """Return a connection that is not running yet."""


@attrs.frozen
class Identity:
    """Who onemcp is towards backends.

    Attributes:
        info: Its name and version, undecoded.
    """

    info: Raw

    @property
    def caller(self) -> Caller:
        """Onemcp as a client."""
        return Caller(INTERNAL, INTERNAL, capabilities=OWN_ABILITIES, client_info=self.info)


class BackendObserver(Protocol):
    """What the multiplexer wants to hear of a backend. Called synchronously; must not block."""

    def changed(self, backend: Backend) -> None:
        """Take note that lists, capabilities or the state have changed."""

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Take note of a changed list, resource or task, for those who subscribed."""
