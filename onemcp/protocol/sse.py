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

_OVERHEAD: Final = len(_BOM) + len(b"data: ")
"""How much longer than its data a line may be."""

_MAX_RETRY: Final = 999_999_999
"""Longer delays, of eleven days and more, are cut to this one; in milliseconds."""


@attrs.frozen
class Event:
    """One event of a stream.

    Attributes:
        data: The data lines, joined by line breaks.
        event: The event's type; ``message`` unless the server says otherwise.
        id: The last event id up to and including this event, to resume from, or None.
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
        self._line_so_far = bytearray()
        self._after_cr = False
        self._started = False
        self._last_id: str | None = None
        self._id: str | None = None
        self._data = bytearray()  # every data line so far, each with a line break
        self._event = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Take bytes as they arrive and return the events that they complete.

        Raises:
            MessageTooLarge: An event exceeds the limit; the stream can't be used any further.
        """
        events = []
        for line in self._lines(chunk):
            self._check(len(line))
            event = self._line(self._without_mark(line))
            if event is not None:
                events.append(event)
        self._check(len(self._line_so_far))
        return events

    @property
    def last_event_id(self) -> str | None:
        """The id to resume from after the connection is lost, or None.

        An id counts from the end of its event on: what was cut off has not been received.
        """
        return self._last_id

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes; each byte is looked at once."""
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = chunk.split(b"\n")
        self._line_so_far += first
        if not others:
            return []
        lines = [bytes(self._line_so_far), *others]
        self._line_so_far = bytearray(lines.pop())
        return lines

    def _check(self, line_size: int) -> None:
        # The same sum for whole and unfinished lines, so that chunking makes no difference.
        if len(self._data) + line_size > self._limit + _OVERHEAD:
            raise self._too_large()

    def _too_large(self) -> MessageTooLarge:
        return MessageTooLarge(f"A server-sent event exceeds {self._limit} bytes")

    def _without_mark(self, line: bytes) -> bytes:
        if self._started:
            return line
        self._started = True
        return line.removeprefix(_BOM)

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                if len(self._data) + len(value) > self._limit:
                    raise self._too_large()
                self._data += value + b"\n"
            case b"event":
                self._event = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace") or None
            case b"retry" if value.isdigit():
                digits = value.lstrip(b"0") or b"0"
                self._retry = int(digits) if len(digits) <= len(str(_MAX_RETRY)) else _MAX_RETRY
        return None

    def _dispatch(self) -> Event | None:
        self._last_id = self._id
        data, event, retry = self._data, self._event, self._retry
        self._data, self._event, self._retry = bytearray(), "", None
        if not data and retry is None:
            return None
        return Event(bytes(data[:-1]), event or "message", self._last_id, retry)


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
