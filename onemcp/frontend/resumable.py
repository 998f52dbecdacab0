"""Sending a stream that the client can come back to.

Implements 2025-11-25, Transports: event ids, the priming event, ``retry:`` and polling.
"""

from __future__ import annotations

from typing import Final

import trio

from onemcp.protocol import sse

from .asgi import Receive, Send, cancel_on_disconnect, send_part, start_stream
from .streams import EventLog, Reader

KEEP_ALIVE: Final = 15.0
"""After so many seconds of silence a comment is sent, to keep the connection open."""

RETRY: Final = 100
"""How long a client waits before it comes back to a stream, in milliseconds."""


async def send_log(
    log: EventLog,
    reader: Reader,
    receive: Receive,
    send: Send,
    *,
    primed: bool = False,
    poll_after: float | None = None,
) -> None:
    """Send the events of a stream until it ends, the client goes away, or shall come back later.

    Args:
        log: The stream.
        reader: This connection's place in it; closed at the end.
        receive: The ASGI callable that tells of the client's disconnect.
        send: The ASGI callable.
        primed: Whether to begin with an event that carries nothing but an id to come back to.
        poll_after: After so many seconds of silence the connection, not the stream, is ended.
    """
    await start_stream(send)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_disconnect, receive, nursery.cancel_scope)
            if primed:
                prime = sse.encode_event(b"", event_id=log.event_id(reader.position), retry=RETRY)
                await send_part(send, prime)
            await _send_events(log, reader, send, poll_after)
            await send_part(send, b"", more=False)
            nursery.cancel_scope.cancel()
    finally:
        reader.close()


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
