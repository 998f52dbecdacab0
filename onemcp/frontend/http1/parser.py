"""Requests out of bytes.

httptools (llhttp) does the parsing, in its strict mode. What is added here is what it leaves to its
user: bounds, and the rules that take more than one header to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import httptools

from .incoming import KEPT, IncomingRequest, RepeatedHead

VERSIONS: Final = ("1.1", "1.0")
_FRAMING: Final = (b"content-length", b"transfer-encoding")


@attrs.frozen
class BadRequest:
    """Why a client's bytes are no request.

    Attributes:
        status: The HTTP status to answer with.
        reason: What is wrong; never holds what the client has sent.
    """

    status: int
    reason: str


class RequestParser:
    """What one connection has sent.

    Attributes:
        requests: The requests whose heads have come, oldest first; for others to take.
        error: Why nothing more can be read after those.
    """

    def __init__(self, limit: int) -> None:
        """Begin with nothing.

        Args:
            limit: The most bytes that may come without completing a head or bringing a part of a
                body, which bounds heads, trailers and chunk extensions; what comes with the same
                read is let through.
        """
        self.requests: list[IncomingRequest] = []  # hardly ever more than one
        self.error: BadRequest | None = None
        self._limit = limit
        self._pending = 0
        self._progressed = False
        self._has_begun = False
        self._current: IncomingRequest | None = None
        self._target = b""
        self._framing: tuple[bytes, bytes] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._repeated: RepeatedHead | None = None
        self._missing = 0
        self._parser = httptools.HttpRequestParser(self)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come that isn't complete."""
        return not self._has_begun and self._current is None

    def feed(self, data: memoryview) -> None:
        """Parse what has been received; what is wrong with it is found in `error`."""
        if self.error is not None:
            return
        if self._missing:
            data = data[self._take_body(bytes(data[: self._missing])) :]
        begins = self.is_idle and not self._pending
        if begins and self._repeated is not None:
            data = data[self._take_repeated(self._repeated, bytes(data)) :]
        if data:
            known = len(self.requests)
            self._parse(data)
            if len(self.requests) > known:
                is_last = not (begins and self.requests[-1].keep_alive)
                first = self.requests[known]
                self._repeated = None if is_last else RepeatedHead.of(first, bytes(data[:KEPT]))

    def _take_repeated(self, head: RepeatedHead, data: bytes) -> int:
        """Take the requests with which some bytes begin that have a known head; say how many."""
        taken = 0
        while taken < len(data) and self._current is None:
            found = head.again(data, taken)
            if found is None:
                break
            self._current, begin, end = found
            self.requests.append(self._current)
            self._missing = end - begin
            taken = begin + self._take_body(data[begin:end])
        return taken

    def _take_body(self, part: bytes) -> int:
        """Take a part of the body of a request whose head was known; say how large it is."""
        request = self._current
        assert request is not None  # noqa: S101 - there is one for as long as anything is missing
        if part:
            request.parts.append(part)
        self._missing -= len(part)
        if not self._missing:
            request.complete = True
            self._current = None
        return len(part)

    def _parse(self, data: memoryview) -> None:
        self._progressed = False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if self.error is None:
                self.error = BadRequest(400, "malformed")
            return
        self._pending = 0 if self._progressed else self._pending + len(data)
        if self._pending > self._limit:
            self.error = BadRequest(431, "too many bytes in headers or chunk headers")

    def _feed(self, data: memoryview) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._pass_over_upgrade()
            else:
                return

    def _pass_over_upgrade(self) -> None:
        """Go on with HTTP/1.1 after an offer to upgrade, which is never taken.

        httptools takes what follows the head for another protocol. It is the body, if there is
        one, whose framing a new parser gets to know by a head of that alone.
        """
        self._parser = httptools.HttpRequestParser(self)
        if self._framing is not None:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % self._framing)

    # --- what httptools calls ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._framing is None:
            self._has_begun = True
            self._headers = []

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        if self._framing is None:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if self._current is None:  # else it is a trailer, which nobody wants
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Make a request of what has come."""
        self._progressed = True
        if self._framing is not None:
            self._framing = None  # the request goes on
            return
        parser, headers = self._parser, self._headers
        version, method = parser.get_http_version(), parser.get_method()
        self.error = check_head(method, version, headers)
        if self.error is not None:
            raise ValueError(self.error.reason)  # which makes httptools stop
        is_modern = version == "1.1"
        self._current = IncomingRequest(
            method=method.decode("ascii"),
            target=self._target,
            version=version,
            headers=headers,
            keep_alive=is_modern and parser.should_keep_alive(),
            expects_continue=is_modern and (b"expect", b"100-continue") in headers,
        )
        self._target = b""
        self._has_begun = False
        self.requests.append(self._current)
        if parser.should_upgrade():
            self._framing = next((header for header in headers if header[0] in _FRAMING), None)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._progressed = True
        if self._current is not None:
            self._current.parts.append(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._progressed = True
        if self._current is not None and self._framing is None:
            self._current.complete = True
            self._current = None


def check_head(
    method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> BadRequest | None:
    """Refuse what could be understood in two ways, or not at all (RFC 9112, sections 3.2 and 6)."""
    if version not in VERSIONS:
        return BadRequest(505, "not HTTP/1.1 or HTTP/1.0")
    if method == b"CONNECT":
        return BadRequest(501, "CONNECT is not served")
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            if version == "1.0":
                return BadRequest(400, "Transfer-Encoding in HTTP/1.0")
            if value.lower() != b"chunked":
                return BadRequest(501, "a Transfer-Encoding other than chunked")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return BadRequest(400, "not exactly one Host header")
    return None
