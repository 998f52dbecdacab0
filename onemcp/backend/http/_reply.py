"""Responses read piece by piece, within bounds, and closed safely at any point."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import trio

from onemcp.backend import http1
from onemcp.backend.connection import too_large
from onemcp.protocol.errors import BackendProtocolError

from ._problems import Problem, Refusal, translate

ERROR_BODY_TIMEOUT: Final = 2.0
"""How long to wait for the body of a response that is no answer, in seconds."""

ERROR_BODY_BYTES: Final = 64 * 1024
"""How much of such a body is read."""

JSON: Final = "application/json"

EVENT_STREAM: Final = "text/event-stream"

_OK: Final = range(200, 300)


class Reply:
    """A response whose body is read piece by piece.

    Attributes:
        status: Its HTTP status.
        kind: Its media type in lower case, without parameters.
        remedy: What somebody can do about its being a refusal, if that is known.
    """

    __slots__ = ("_response", "kind", "remedy", "status")

    def __init__(self, response: http1.Response) -> None:
        """Read `response`, which is closed with this."""
        self._response = response
        self.status = response.status
        self.kind = _kind_of(self.header(b"content-type"))
        self.remedy = ""

    @property
    def ok(self) -> bool:
        """Whether the request was taken."""
        return self.status in _OK

    def header(self, name: bytes) -> str:
        """Return the first value of a header, named in lower case; empty where there is none."""
        return next(
            (value.decode("latin-1") for key, value in self._response.headers if key == name), ""
        )

    def headers(self, name: bytes) -> list[str]:
        """Return all values of a header."""
        return [value.decode("latin-1") for key, value in self._response.headers if key == name]

    async def chunk(self) -> bytes:
        """Return the next piece of the body; nothing means that it is complete.

        Raises:
            Problem: The connection broke.
        """
        try:
            return await self._response.part()
        except http1.HttpError as error:
            raise translate(error) from error

    async def body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            Problem: It is larger than `limit` bytes, or the connection broke.
        """
        self.check_encoding()
        announced = self.header(b"content-length")
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
        encoding = self.header(b"content-encoding").strip().lower()
        if encoding not in {"", "identity"}:
            error = BackendProtocolError("it compressed its answer, which it was asked not to")
            raise Problem(error, self.status)

    def close(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        self._response.close()

    async def chunk_or_nothing(self) -> bytes:
        """Return the next piece of the body, or nothing where there is no more to be had."""
        try:
            return await self.chunk()
        except Problem:
            return b""


@lru_cache(maxsize=64)
def _kind_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
