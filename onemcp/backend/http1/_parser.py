"""Responses out of bytes.

httptools (llhttp) does the parsing, in its strict mode. What is added here is what it leaves to its
user: bounds, the end of a body that the connection's end is, and the rules that take more than one
header to see.
"""

from __future__ import annotations

from typing import Final

import httptools

from ._errors import RemoteProtocolError

LIMIT: Final = 64 * 1024
"""The most bytes that may come without completing a head or bringing a part of a body."""

_VERSIONS: Final = ("1.1", "1.0")
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200
_EMPTY: Final = (204, 304)


class ResponseParser:
    """What comes back for one request.

    Attributes:
        status: The status; 0 until the head has come.
        headers: The headers, with names in lower case.
        parts: What has come of the body, and has not been taken.
        complete: Whether all of it has come.
    """

    __slots__ = (
        "_ends_with_connection",
        "_is_exact",
        "_keep_alive",
        "_parser",
        "_pending",
        "_progressed",
        "complete",
        "headers",
        "parts",
        "status",
    )

    def __init__(self) -> None:
        """Begin with nothing."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.complete = False
        self._keep_alive = False
        self._ends_with_connection = False
        self._is_exact = True
        self._pending = 0
        self._progressed = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection can be used for another request."""
        return self.complete and self._keep_alive and self._is_exact

    def take(self) -> bytes:
        """Take what has come of the body."""
        parts, self.parts = self.parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what has been received; nothing of `data` is kept.

        Raises:
            RemoteProtocolError: It is no response.
        """
        self._progressed = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:
                raise RemoteProtocolError("it sent something other than HTTP/1.1") from error
            self._is_exact = False
        self._pending = 0 if self._progressed else self._pending + len(data)
        if self._pending > LIMIT:
            raise RemoteProtocolError("its headers don't end")

    def feed_eof(self) -> None:
        """Take note that the server has closed its side.

        Raises:
            RemoteProtocolError: There should have been more.
        """
        if not (self._ends_with_connection or self.complete):
            raise RemoteProtocolError("it closed the connection before its response was complete")
        self.complete = True

    # --- what httptools calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a response, which nobody has asked for where there has been one."""
        self._is_exact &= not self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self.status:  # else it is a trailer, which nobody wants
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the head, unless it only announces another one (RFC 9110, section 15.2)."""
        if self.complete:
            return
        parser = self._parser
        status, version = parser.get_status_code(), parser.get_http_version()
        framing = [field for field in self.headers if field[0] in _FRAMING]
        _check(status, version, framing)
        if status < _OK:
            self.headers = []
            return
        self.status = status
        self._progressed = True
        self._keep_alive = version == "1.1" and parser.should_keep_alive()
        if status in _EMPTY:
            # Whatever is said of a body there is none (RFC 9112, section 6.3).
            self.complete = True
            self._is_exact = not framing or framing == [(b"content-length", b"0")]
        self._ends_with_connection = not framing

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._progressed = True
        if not self.complete:
            self.parts.append(body)

    def on_message_complete(self) -> None:
        """End the response, if it is the final one."""
        self.complete = self.complete or bool(self.status)


def _check(status: int, version: str, framing: list[tuple[bytes, bytes]]) -> None:
    """Refuse what could be understood in two ways, or not at all (RFC 9112, section 6.1)."""
    if version not in _VERSIONS:
        raise RemoteProtocolError("not HTTP/1.1 or HTTP/1.0")
    if status == _SWITCHING_PROTOCOLS:
        raise RemoteProtocolError("another protocol, which nobody has asked for")
    encodings = [value.lower() for name, value in framing if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):
        raise RemoteProtocolError("a Transfer-Encoding other than chunked")
