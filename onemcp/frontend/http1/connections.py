"""All connections at once: their deadlines, and who hangs up.

Theory of operation: a timer or a watching task for each request would cost more than serving it.
Instead each connection says until when its client has to do something, and one task looks at
all of them once a second; and an epoll of our own, which Trio waits for like for any other
descriptor, knows every connection from its beginning and tells, edge-triggered, when a client
has closed its side. While nobody hangs up, nothing happens. The same look arms the deadlines of
what is being served (:mod:`.scopes`), which are exact: Trio keeps them once they are near.

When the server stops, answers say that the connection ends with them, and a connection that has
just been used gets a moment to bring another request: closed at once, it would cross the one that
its client is sending, and be lost to it.

Where there is no epoll, nobody is told; :meth:`.server.Http1Server.wait_hung_up` then looks for
itself.
"""

from __future__ import annotations

import contextlib
import math
import select
from collections.abc import Iterator
from typing import Final, Protocol, Self

import trio

from .context import Context
from .scopes import SOON, ReusableScope

LOOK_EVERY: Final = 1.0
"""How often deadlines are looked at, in seconds."""

LOOK_PARTING: Final = 0.05
"""The same while the server stops."""

MOST_EVENTS: Final = 256


class Connection(Protocol):
    """What is looked after.

    Attributes:
        deadline: Until when the client has to do something, by Trio's clock.
        scopes: Lends requests their scopes.
    """

    deadline: float
    scopes: ReusableScope

    def fileno(self) -> int:
        """Return the descriptor of the socket."""

    def expire(self) -> None:
        """End the connection."""

    def part(self) -> None:
        """Take note that the server stops."""

    def hang_up(self) -> None:
        """Take note that the client has closed its side."""


class Connections:
    """The connections of one server.

    Attributes:
        tells: Whether connections are told when their clients hang up.
    """

    def __init__(self, context: Context) -> None:
        """Begin with none; used as a context manager, with `run` in its block."""
        self._context = context
        self._all: dict[int, Connection] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self.tells = self._epoll is not None

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Connections {len(self._all)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._epoll is not None:
            self._epoll.close()

    @contextlib.contextmanager
    def looked_after(self, connection: Connection) -> Iterator[None]:
        """Look after a connection until the end of the block, within the block of this."""
        descriptor = connection.fileno()
        self._all[descriptor] = connection
        if self._epoll is not None:
            self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)
        try:
            yield
        finally:
            del self._all[descriptor]
            if self._epoll is not None:
                self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Look after the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_deadlines)
            nursery.start_soon(self._part)
            if self._epoll is not None:
                nursery.start_soon(self._watch_clients, self._epoll)

    async def _watch_deadlines(self) -> None:
        while True:
            await trio.sleep(LOOK_PARTING if self._context.terminated.is_set() else LOOK_EVERY)
            self._look()

    async def _part(self) -> None:
        """Have the connections come to their end, when the server stops."""
        await self._context.terminated.wait()
        for connection in list(self._all.values()):
            connection.part()
        self._look()

    def _look(self) -> None:
        now = trio.current_time()
        for connection in list(self._all.values()):
            if connection.deadline <= now:
                connection.deadline = math.inf
                connection.expire()
            if connection.scopes.deadline <= now + SOON:
                connection.scopes.arm()

    async def _watch_clients(self, epoll: select.epoll) -> None:
        while True:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for descriptor, _ in epoll.poll(0, MOST_EVENTS):
                connection = self._all.get(descriptor)
                if connection is not None:
                    connection.hang_up()
