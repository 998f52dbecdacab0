"""Responses read piece by piece, within bounds, and closed safely at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httpx
import trio

from onemcp.protocol.errors import BackendProtocolError, MessageTooLarge

from ._problems import Problem, Refusal, translate

ERROR_BODY_TIMEOUT: Final = 2.0
"""How long to wait for the body of a response that is no answer, in seconds."""

ERROR_BODY_BYTES: Final = 64 * 1024
"""How much of such a body is read."""

JSON: Final = "application/json"

EVENT_STREAM: Final = "text/event-stream"

_OK: Final = range(200, 300)

CLOSE_TIMEOUT: Final = 2.0
"""How long closing connections may take, in seconds."""


class Reply:
    """A response whose body is read piece by piece.

    Attributes:
        status: Its HTTP status.
        headers: Its headers.
        kind: Its media type in lower case, without parameters.
        remedy: What somebody can do about its being a refusal, if that is known.
    """

    def __init__(self, response: httpx.Response, release: Callable[[], None]) -> None:
        """Read `response`, which came from a transport; call `release` once it is closed."""
        self.status = response.status_code
        self.headers = response.headers
        self.kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.remedy = ""
        self._response = response
        self._release = release
        self._chunks = aiter(response.stream)  # type: ignore[arg-type]  # httpx types both kinds
        self._ended = False

    @property
    def ok(self) -> bool:
        """Whether the request was taken."""
        return self.status in _OK

    async def chunk(self) -> bytes:
        """Return the next piece of the body; nothing means that it is complete.

        Raises:
            Problem: The connection broke.
        """
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._ended = True
            return b""
        except httpx.HTTPError as error:
            self._ended = True
            raise translate(error) from error

    async def body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            Problem: It is larger than `limit` bytes, or the connection broke.
        """
        self.check_encoding()
        announced = self.headers.get("content-length", "0")
        if announced.isdigit() and int(announced[:20]) > limit:
            raise Problem(too_large(limit), self.status)
        parts, size = [], 0
        while chunk := await self.chunk():
            size += len(chunk)
            if size > limit:
                raise Problem(too_large(limit), self.status)
            parts.append(chunk)
        return b"".join(parts)

    async def refusal(self) -> Refusal:
        """Read what there is to say about a response that is no answer, within bounds."""
        parts, size = [], 0
        with trio.move_on_after(ERROR_BODY_TIMEOUT):
            try:
                while size < ERROR_BODY_BYTES and (chunk := await self.chunk()):
                    size += len(chunk)
                    parts.append(chunk)
            except Problem:
                # The status says enough.
                await trio.lowlevel.checkpoint()
        body = b"".join(parts)[:ERROR_BODY_BYTES]
        return Refusal(self.status, self.kind, body, self.remedy)

    def check_encoding(self) -> None:
        """Check that the body is not compressed, so that its size is what is read of it.

        Raises:
            Problem: It is.
        """
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            error = BackendProtocolError("it compressed its answer, which it was asked not to")
            raise Problem(error, self.status)

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end.

        A body that was given up leaves generators of httpx behind, which Trio wants ended and
        httpx doesn't end: a read that is cancelled at once does.
        """
        try:
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                if not self._ended:
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        while await self.chunk_or_nothing():
                            pass
                await self._response.aclose()
        finally:
            self._release()

    async def chunk_or_nothing(self) -> bytes:
        """Return the next piece of the body, or nothing where there is no more to be had."""
        try:
            return await self.chunk()
        except Problem:
            return b""


def too_large(limit: int) -> MessageTooLarge:
    """Make the error for an answer that exceeds the limit."""
    return MessageTooLarge(f"the answer has more than {limit} bytes, which is the limit")
