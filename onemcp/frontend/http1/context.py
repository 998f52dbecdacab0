"""What connections are told by their server.

Hypercorn's worker has such a context for its connections, but to import that imports all that it
serves, HTTP/2 and WebSockets too: a tenth of what a gateway takes to start. Here are the part of it
that HTTP/1.1 uses, and a context with that and no more, for those who don't run the worker.
"""

from __future__ import annotations

from typing import Protocol

import trio


class Flag(Protocol):
    """Something that happens once, in Hypercorn's terms."""

    def is_set(self) -> bool:
        """Tell whether it has happened."""

    async def wait(self) -> None:
        """Wait until it has."""


class Context(Protocol):
    """What a connection uses of the context; Hypercorn's does as well.

    Attributes:
        terminated: Set when the server stops.
    """

    @property
    def terminated(self) -> Flag:
        """Set when the server stops."""

    async def mark_request(self) -> None:
        """Count a request."""


class ServerContext:
    """A :class:`Context` that lets any number of requests through.

    Attributes:
        terminated: To be set when the server stops.
    """

    def __init__(self) -> None:
        """Begin with a server that runs."""
        self.terminated = trio.Event()

    async def mark_request(self) -> None:
        """Count nothing."""
