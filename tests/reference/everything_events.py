"""The events of the SSE streams, kept so that a client can resume one."""

from __future__ import annotations

from collections import deque

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage

KEPT = 10_000
"""How many events are kept, of all streams together."""


class MemoryEventStore(EventStore):
    """Keeps the latest events in memory."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, str, JSONRPCMessage | None]] = deque(maxlen=KEPT)
        self._last = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._last += 1
        self._events.append((self._last, stream_id, message))
        return str(self._last)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        streams = {str(number): stream for number, stream, _ in self._events}
        stream_id = streams.get(last_event_id)
        if stream_id is None:
            return None
        for number, stream, message in list(self._events):
            if stream == stream_id and number > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id
