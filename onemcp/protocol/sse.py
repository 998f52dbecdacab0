"""Server-sent events, as the streamable HTTP and HTTP+SSE transports use them.

The decoder implements the HTML standard's event stream interpretation, with bounds; the encoder
writes the subset that MCP needs.
"""

from __future__ import annotations

from typing import Final

import attrs

from .errors import MessageTooLarge

KEEP_ALIVE: Final = b":\r\n\r\n"
"""A comment, which carries no event and keeps the connection open (Streamable HTTP)."""

_BOM: Final = b"\xef\xbb\xbf"


@attrs.frozen
class Event:
    """One event of a stream.

    Attributes:
        data: The data lines, joined by line breaks.
        event: The event's type; ``message`` unless the server says otherwise.
        id: The last event id seen so far, to resume from, or None.
        retry: How long to wait before reconnecting, in milliseconds, or None.
    """

    data: bytes
    event: str = "message"
    id: str | None = None
    retry: int | None = None


class EventDecoder:
    """Cut a stream of bytes into events, holding no more than one event in memory."""

    def __init__(self, limit: int) -> None:
        """Accept events of up to `limit` bytes of data."""
        self._limit = limit
        self._buffer = b""
        self._started = False
        self._last_id: str | None = None
        self._data: list[bytes] = []
        self._event = ""
        self._retry: int | None = None
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Take bytes as they arrive and return the events that they complete.

        Raises:
            MessageTooLarge: An event exceeds the limit; the stream can't be used any further.
        """
        self._buffer += chunk
        if not self._started:
            if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
                return []
            self._buffer = self._buffer.removeprefix(_BOM)
            self._started = True
        events = []
        for line in self._lines():
            event = self._line(line)
            if event is not None:
                events.append(event)
        if self._size + len(self._buffer) > self._limit:
            raise MessageTooLarge(f"A server-sent event exceeds {self._limit} bytes")
        return events

    @property
    def last_event_id(self) -> str | None:
        """The id to resume from after the connection is lost, or None."""
        return self._last_id

    def _lines(self) -> list[bytes]:
        # A carriage return at the very end may be half of a CRLF: wait for what follows.
        held = b"\r" if self._buffer.endswith(b"\r") else b""
        text = self._buffer[: len(self._buffer) - len(held)]
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = text.split(b"\n")
        self._buffer = rest + held
        return lines

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
                self._size += len(value) + 1
            case b"event":
                self._event = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._last_id = value.decode(errors="replace")
            case b"retry" if value.isdigit():
                self._retry = int(value[:9])
        return None

    def _dispatch(self) -> Event | None:
        data, event, retry = self._data, self._event, self._retry
        self._reset()
        if not data and retry is None:
            return None
        return Event(b"\n".join(data), event or "message", self._last_id, retry)

    def _reset(self) -> None:
        self._data, self._event, self._retry, self._size = [], "", None, 0


def encode_event(
    data: bytes, *, event: str | None = None, event_id: str | None = None, retry: int | None = None
) -> bytes:
    """Encode one event.

    Args:
        data: One line; JSON messages are encoded without line breaks.
        event: The event's type, where it is not ``message``.
        event_id: The id from which the stream can be resumed after this event.
        retry: How long the client waits before it reconnects, in milliseconds.
    """
    parts = []
    if event is not None:
        parts.append(b"event: %b\n" % event.encode())
    if event_id is not None:
        parts.append(b"id: %b\n" % event_id.encode())
    if retry is not None:
        parts.append(b"retry: %d\n" % retry)
    parts.append(b"data: %b\n\n" % data if data else b"data:\n\n")
    return b"".join(parts)
