"""Newline-delimited JSON, the framing of the stdio transport, with bounds.

Implements 2026-07-28, stdio.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Oversized:
    """A line that exceeded the limit and was thrown away.

    Attributes:
        size: Its length in bytes, without the line break.
        head: Its first bytes, to find out what it was.
        tail: Its last bytes, where some write the id.
        limit: How long it might have been.
    """

    size: int
    head: bytes
    tail: bytes = attrs.field(default=b"", eq=False)
    limit: int = attrs.field(default=0, eq=False)


HEAD_BYTES = 4096
"""How much of the beginning of an oversized line is kept."""

TAIL_BYTES = 256
"""How much of its end is kept."""


class LineDecoder:
    """Cut a stream of bytes into lines, holding no more than one line in memory.

    An oversized line is skipped to its end and reported, so that the stream stays usable.

    Attributes:
        limit: How long lines may be, in bytes; another one holds from the next line on.
    """

    def __init__(self, limit: int) -> None:
        """Accept lines of up to `limit` bytes."""
        self.limit = limit
        self._limit = limit
        self._pending = bytearray()
        self._tail = b""
        self._size = 0

    def feed(self, data: bytes | bytearray) -> list[bytes | Oversized]:
        """Take bytes as they arrive and return the lines that they complete.

        Empty lines are dropped; carriage returns before the line break are removed.
        """
        *ended, rest = bytes(data).split(b"\n")
        lines: list[bytes | Oversized] = []
        line: bytes | Oversized
        for part in ended:
            if self._size or len(part) > self.limit:
                self._append(part)
                line = self._take()
            else:  # as nearly all are: come in one piece
                line = part.rstrip(b"\r")
            if line:
                lines.append(line)
        self._append(rest)
        return lines

    def finish(self) -> bytes | Oversized | None:
        """Return what stands after the last line break when the stream has ended, if anything."""
        return self._take() or None

    def __repr__(self) -> str:
        return f"<LineDecoder limit={self._limit} pending={self._size}>"

    def _append(self, part: bytes) -> None:
        if not self._size:
            self._limit = self.limit
        self._size += len(part)
        if self._size <= self._limit:
            self._pending += part
        else:
            before = self._tail or bytes(self._pending[-TAIL_BYTES:])
            self._tail = (before + part[-TAIL_BYTES:])[-TAIL_BYTES:]
            self._pending += part[: max(0, HEAD_BYTES - len(self._pending))]
            del self._pending[HEAD_BYTES:]

    def _take(self) -> bytes | Oversized:
        whole, size = bytes(self._pending), self._size
        self._pending, self._size = bytearray(), 0
        if size > self._limit:
            tail, self._tail = self._tail, b""
            return Oversized(size, whole, tail, self._limit)
        return whole.rstrip(b"\r")
