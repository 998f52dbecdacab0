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
    """

    size: int
    head: bytes


HEAD_BYTES = 4096
"""How much of an oversized line is kept."""


class LineDecoder:
    """Cut a stream of bytes into lines, holding no more than one line in memory.

    An oversized line is skipped to its end and reported, so that the stream stays usable.
    """

    def __init__(self, limit: int) -> None:
        """Accept lines of up to `limit` bytes."""
        self._limit = limit
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes | bytearray) -> list[bytes | Oversized]:
        """Take bytes as they arrive and return the lines that they complete.

        Empty lines are dropped; a carriage return before the line break is removed.
        """
        *ended, rest = bytes(data).split(b"\n")
        lines: list[bytes | Oversized] = []
        for part in ended:
            self._append(part)
            line = self._take()
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
        if not part:
            return
        self._size += len(part)
        if self._size <= self._limit:
            self._pending.append(part)
        elif self._pending:
            self._pending = [b"".join(self._pending)[:HEAD_BYTES]]
        else:
            self._pending = [part[:HEAD_BYTES]]

    def _take(self) -> bytes | Oversized:
        whole, size = b"".join(self._pending), self._size
        self._pending, self._size = [], 0
        if size > self._limit:
            return Oversized(size, whole[:HEAD_BYTES])
        return whole.rstrip(b"\r")
