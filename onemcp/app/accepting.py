"""Accepting connections, also where the machine has no room for more.

Theory of operation: a connection that can't be accepted for want of a descriptor or of memory stays
in the socket's queue. Nothing ends for that: connections that are there go on, and as they end,
those that wait are accepted. Somebody is told once when that begins, and once when it has been over
for a while, however often it comes and goes in between.

Those that come at the same time are accepted one right after the other, without waiting for a turn
of the event loop each: else the last of a crowd waits for as many turns as came before it, and each
turn serves all of these.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn, Protocol

import attrs
import trio

PAUSE: Final = 0.1
"""How long to wait before accepting is tried again, in seconds."""

CALM: Final = 5.0
"""How long nothing must have failed before that is said to be over, in seconds."""

MOST_AT_ONCE: Final = 64
"""How many connections are accepted before others have their turn."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_OF_ONE: Final = frozenset(
    {
        *(errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
)
"""What is wrong with the connection that would have been accepted, not with the listener; see
accept(2)."""


@attrs.frozen
class AcceptPaused:
    """No connection can be accepted now; those that are open go on.

    Attributes:
        reason: What there is too little of, in the words of the operating system.
    """

    reason: str


@attrs.frozen
class AcceptResumed:
    """Connections are accepted again.

    Attributes:
        seconds: How long it had failed, now and then at least.
    """

    seconds: float


class Listener(Protocol):
    """What connections are accepted from."""

    async def accept(self) -> Sequence[trio.SocketStream]:
        """Wait for connections, and accept those that there are.

        Raises:
            OSError: They can't be accepted, or the listener is broken.
        """


class SocketListener:
    """Accepts connections from a socket."""

    def __init__(self, listening: socket.socket) -> None:
        """Accept from a socket that listens, and that others must not wait for."""
        listening.setblocking(False)  # noqa: FBT003  (the standard library's)
        self._listening = listening

    async def accept(self) -> Sequence[trio.SocketStream]:
        """Wait for connections, and accept those that there are; see `Listener`."""
        await trio.lowlevel.wait_readable(self._listening)
        accepted: list[trio.SocketStream] = []
        while len(accepted) < MOST_AT_ONCE:
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _OF_ONE:
                    continue
                if accepted:
                    break  # it is raised the next time
                raise
            accepted.append(trio.SocketStream(trio.socket.from_stdlib_socket(connection)))
        return accepted


async def accept_all(
    listener: Listener,
    handle: Callable[[trio.SocketStream], Awaitable[object]],
    nursery: trio.Nursery,
    on_event: Callable[[AcceptPaused | AcceptResumed], object],
) -> NoReturn:
    """Accept connections until cancelled.

    Args:
        listener: What to accept from.
        handle: Serves a connection, which is closed then.
        nursery: Where they are served.
        on_event: Is told where no more can be accepted.

    Raises:
        OSError: The listener is broken.
    """
    failing_since, failed_at = None, 0.0
    while True:
        try:
            accepted = await listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            failed_at = trio.current_time()
            if failing_since is None:
                failing_since = failed_at
                on_event(AcceptPaused(os.strerror(error.errno)))
            await trio.sleep(PAUSE)
            continue
        for stream in accepted:
            nursery.start_soon(_serve, handle, stream)
        now = trio.current_time()
        if failing_since is not None and now - failed_at >= CALM:
            on_event(AcceptResumed(now - failing_since))
            failing_since = None


async def _serve(
    handle: Callable[[trio.SocketStream], Awaitable[object]], stream: trio.SocketStream
) -> None:
    try:
        await handle(stream)
    finally:
        await trio.aclose_forcefully(stream)
