"""Sending a stream that the client can come back to.

Implements 2025-11-25, Transports: event ids, the priming event, ``retry:`` and polling.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from onemcp.backend import Incoming
from onemcp.multiplexer import Reply, gives_up_at
from onemcp.protocol import sse

from .asgi import Send, Wire, send_part, start_stream
from .http1.scopes import Scope, expire_in
from .streams import EventLog, Reader

KEEP_ALIVE: Final = 15.0
"""After so many seconds of silence a comment is sent, to keep the connection open."""

POLL: Final = 100
"""How long a client waits before it comes back to a stream that is ended for it to poll, in
milliseconds."""

RETRY: Final = 3000
"""How long it waits where a connection broke, in milliseconds. The official SDKs try twice: both
times together are to be longer than a restart."""


async def receive_within(scope: Scope, seconds: float, reply: Reply) -> Incoming:
    """Receive from a reply, unless that takes longer: then the scope is cancelled.

    Args:
        scope: The innermost scope that has been entered.
        seconds: How long it may take, in seconds.
        reply: The reply, which knows of it, so that it needs no scope for its own deadline.
    """
    before = gives_up_at.set(expire_in(scope, seconds))
    try:
        return await reply.receive()
    finally:
        gives_up_at.reset(before)


async def send_log(
    log: EventLog,
    reader: Reader,
    wire: Wire,
    *,
    primed: bool = False,
    poll_after: float | None = None,
) -> None:
    """Send the events of a stream until it ends, or the client shall come back later.

    Args:
        log: The stream.
        reader: This connection's place in it; closed at the end.
        wire: The client's end.
        primed: Whether to begin with an event that carries nothing but an id to come back to.
        poll_after: After so many seconds of silence the connection, not the stream, is ended.

    Raises:
        trio.BrokenResourceError: The client has gone; the stream goes on without it.
    """
    work = partial(_send, log, reader, wire.send, primed=primed, poll_after=poll_after)
    try:
        await wire.while_connected(work)
    finally:
        reader.close()


async def _send(
    log: EventLog,
    reader: Reader,
    send: Send,
    *,
    primed: bool,
    poll_after: float | None,
) -> None:
    prime = b""
    if primed:
        retry = RETRY if poll_after is None else POLL
        prime = sse.encode_event(b"", event_id=log.event_id(reader.position), retry=retry)
    await start_stream(send, prime)
    await _send_events(log, reader, send, poll_after)
    await send_part(send, b"", more=False)


async def _send_events(log: EventLog, reader: Reader, send: Send, poll_after: float | None) -> None:
    while True:
        with trio.move_on_after(poll_after or KEEP_ALIVE):
            event = await reader.receive()
            if event is None:
                return
            data = sse.encode_event(event.data, event_id=log.event_id(event.number))
            await send_part(send, data)
            continue
        if poll_after is not None:
            return
        await send_part(send, sse.KEEP_ALIVE)
