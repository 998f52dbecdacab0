"""Accepting connections, also where the machine has no room for more.

Theory of operation: a connection that can't be accepted for want of a descriptor or of memory stays
in the socket's queue. Nothing ends for that: connections that are there go on, and as they end,
those that wait are accepted. Somebody is told once when that begins, and once when it has been over
for a while, however often it comes and goes in between.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import attrs
import trio

PAUSE: Final = 0.1
"""How long to wait before accepting is tried again, in seconds."""

CALM: Final = 5.0
"""How long nothing must have failed before that is said to be over, in seconds."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


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


async def accept_all(
    listener: trio.abc.Listener[trio.SocketStream],
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
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            failed_at = trio.current_time()
            if failing_since is None:
                failing_since = failed_at
                on_event(AcceptPaused(os.strerror(error.errno)))
            await trio.sleep(PAUSE)
            continue
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
