"""Requests whose heads have come, and heads that come again.

Theory of operation: the next head on a connection says what the last one has said, but for the
length of the body. So the last one is kept, with what it means. What a head means depends on
nothing but its bytes (RFC 9112, section 2), so one that is the same, up to the digits of its
``Content-Length``, is understood by looking at that. Anything else is parsed.
"""

from __future__ import annotations

import re
from typing import Any, Final, Self

import attrs

KEPT: Final = 4096
"""How large a head is at most that is kept, in bytes."""

MOST_DIGITS: Final = 10
"""How many digits the length of a body has at most that is looked at."""

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,10})\r\n", re.IGNORECASE)
_CHANGING: Final = frozenset({b"transfer-encoding", b"upgrade"})
"""Headers with which what follows the head is not a body of so many bytes, or no HTTP/1.1."""


@attrs.define(eq=False)
class IncomingRequest:
    """A request whose head has come.

    Attributes:
        method: Its method, in upper case.
        target: What it is for.
        version: ``1.1`` or ``1.0``.
        headers: Its headers, with names in lower case.
        keep_alive: Whether the client wants to use the connection again.
        expects_continue: Whether the client waits to be told to send the body.
        parts: What has come of the body, and has not been taken.
        complete: Whether all of it has come.
        memo: Where things can be kept that follow from its head, for the next request with the
            same one; None where it is the first.
    """

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    expects_continue: bool
    parts: list[bytes] = attrs.field(factory=list)
    complete: bool = False
    memo: dict[object, Any] | None = None

    @property
    def body(self) -> bytes:
        """What has come of the body, and has not been taken."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    def take_body(self) -> bytes:
        """Take what has come of the body."""
        body = self.body
        self.parts = []
        return body


class RepeatedHead:
    """A head that may come again.

    Attributes:
        memo: What is kept for all requests that have it.
    """

    __slots__ = ("_after", "_before", "_length_at", "_request", "memo")

    def __init__(self, request: IncomingRequest, before: bytes, after: bytes) -> None:
        """Keep the head of a request.

        Args:
            request: The request.
            before: The bytes of its head before the digits of the ``Content-Length``.
            after: The bytes after them.
        """
        self.memo: dict[object, Any] = {}
        self._request = attrs.evolve(request, parts=[])
        self._before = before
        self._after = after
        self._length_at = [name for name, _ in request.headers].index(b"content-length")

    @classmethod
    def of(cls, request: IncomingRequest, data: bytes) -> Self | None:
        """Keep the head with which some bytes begin; None where it is none that can come again.

        Args:
            request: What it has been parsed into.
            data: The bytes.
        """
        names = [name for name, _ in request.headers]
        if not request.keep_alive or request.expects_continue or names.count(b"content-length") > 1:
            return None
        end = data.find(_END, 0, KEPT) + len(_END)
        # Lines that end otherwise, or empty ones before the first, are for the parser to judge.
        is_plain = end >= len(_END) and data.count(b"\n", 0, end) == len(names) + 2
        found = _LENGTH.search(data, 0, end)
        if not is_plain or found is None or not _CHANGING.isdisjoint(names):
            return None
        return cls(request, data[: found.start(1)], data[found.end(1) : end])

    def again(self, data: bytes, start: int) -> tuple[IncomingRequest, int, int] | None:
        """Return the request that has this head again; None if there is none.

        Args:
            data: What has come.
            start: Where in it a request begins.

        Returns:
            The request, of whose body nothing has been taken, and where that begins and ends.
        """
        if not data.startswith(self._before, start):
            return None
        begin = start + len(self._before)
        end = data.find(b"\r", begin, begin + MOST_DIGITS + 1)
        digits = data[begin:end] if end > 0 else b""
        if not (digits.isdigit() and data.startswith(self._after, end)):
            return None
        kept = self._request
        headers = kept.headers.copy()
        headers[self._length_at] = b"content-length", digits
        request = IncomingRequest(
            method=kept.method,
            target=kept.target,
            version=kept.version,
            headers=headers,
            keep_alive=True,
            expects_continue=False,
            memo=self.memo,
        )
        body = end + len(self._after)
        return request, body, body + int(digits)
