"""Responses into bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final

_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OK: Final = 200
_BODILESS: Final = (204, 304)
_OURS: Final = (b"connection", b"transfer-encoding")
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

Headers = Sequence[tuple[bytes, bytes]]


class ResponseWriter:
    """The framing of one response (RFC 9112, section 6).

    Attributes:
        has_begun: Whether any of it has been written.
        keep_alive: Whether the connection can be used again after the response.
    """

    __slots__ = (
        "_head",
        "_is_chunked",
        "_is_empty",
        "_left",
        "_method",
        "_version",
        "has_begun",
        "keep_alive",
    )

    def __init__(self, method: str, version: str, *, keep_alive: bool) -> None:
        """Begin a response to a request of a method and an HTTP version."""
        self.keep_alive = keep_alive
        self._method = method
        self._version = version
        self._head = b""
        self._is_chunked = False
        self._is_empty = False
        self._left: int | None = None
        self.has_begun = False

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], more: bytes) -> None:
        """Take the head, which goes out with the first part of the body.

        Args:
            status: The HTTP status.
            headers: The application's headers.
            more: The lines of the server's own headers.

        Raises:
            ValueError: The headers can't be sent.
        """
        self._is_empty = _has_no_body(self._method, status)
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))]
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-length":
                self._left = int(value)
                lines.append(b"content-length: %d\r\n" % self._left)
            elif lowered not in _OURS:
                lines.append(header_line(name, value))
            elif lowered == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        lines.append(more)
        self._frame(lines)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _frame(self, lines: list[bytes]) -> None:
        if self._is_empty:
            self._left = None
        elif self._left is None:
            if self._version == "1.1":
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:  # its end is the connection's
                self.keep_alive = False

    def write(self, body: bytes, *, more: bool) -> bytes:
        """Return the bytes of a part of the body, with the head before the first.

        Args:
            body: The part.
            more: Whether others follow.

        Raises:
            ValueError: It is longer, or in the end shorter, than its Content-Length.
        """
        head, self._head, self.has_begun = self._head, b"", True
        if self._is_empty:
            return head
        if self._is_chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return head + chunk if more else head + chunk + LAST_CHUNK
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise ValueError("the body does not have the length that was announced")
        return head + body


@lru_cache(maxsize=256)
def header_line(name: bytes, value: bytes) -> bytes:
    """Write a header, unless it would be read as something else (RFC 9110, section 5).

    Raises:
        ValueError: It can't be sent.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError("the name of a response header is not valid")
    if b"\n" in value or b"\r" in value or b"\0" in value:
        raise ValueError("the value of a response header is not valid")
    return b"%b: %b\r\n" % (name, value)


def _has_no_body(method: str, status: int) -> bool:
    """Tell whether a response ends with its head (RFC 9112, section 6.3)."""
    return method == "HEAD" or status < _OK or status in _BODILESS


def refusal(status: int, more: bytes) -> bytes:
    """Return a whole response without a body, after which the connection is closed."""
    writer = ResponseWriter("GET", "1.1", keep_alive=False)
    writer.start(status, [(b"content-length", b"0")], more)
    return writer.write(b"", more=False)
