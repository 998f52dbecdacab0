"""One connection, and one response at a time on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ._errors import ConnectionBroke
from ._parser import ResponseParser
from ._wire import Wire


class Connection:
    """A connection that takes one request after the other.

    Attributes:
        kept_until: Until when it may wait for another request, by Trio's clock.
    """

    __slots__ = ("_wire", "kept_until")

    def __init__(self, wire: Wire) -> None:
        """Use a connection that has just been made."""
        self.kept_until = 0.0
        self._wire = wire

    @property
    def is_usable(self) -> bool:
        """Whether the server still waits for a request."""
        return self._wire.is_quiet()

    async def ask(self, request: bytes) -> ResponseParser | None:
        """Send a request and wait for the head of its response.

        Returns:
            What goes on to take the response; None where the server took nothing of the request.

        Raises:
            HttpError: There is no response.
        """
        if not await self._wire.send(request):
            return None
        parser = ResponseParser()
        while not parser.status:
            await self.receive(parser)
        return parser

    async def receive(self, parser: ResponseParser) -> None:
        """Wait for more of a response.

        Raises:
            HttpError: There won't be more, but should be.
        """
        try:
            data = await self._wire.receive()
        except (OSError, trio.BrokenResourceError) as error:
            raise ConnectionBroke("the connection broke") from error
        if data:
            parser.feed(data)
        else:
            parser.feed_eof()

    def close(self) -> None:
        """Close it at once."""
        self._wire.close()


class Response:
    """A response whose body is read part by part.

    Attributes:
        status: Its status.
        headers: Its headers, with names in lower case.
    """

    __slots__ = ("_connection", "_parser", "_release", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        parser: ResponseParser,
        release: Callable[[Connection, bool], object],
    ) -> None:
        """Read from a connection.

        Args:
            connection: The connection.
            parser: What has taken the head.
            release: Takes the connection back, and whether it can be used again.
        """
        self.status: int = parser.status
        self.headers: Sequence[tuple[bytes, bytes]] = parser.headers
        self._connection: Connection | None = connection
        self._parser = parser
        self._release = release

    async def part(self) -> bytes:
        """Return the next part of the body; nothing means that it is complete.

        Doesn't wait where the part has come already.

        Raises:
            HttpError: It breaks off.
        """
        parser = self._parser
        while not parser.parts and not parser.complete:
            if self._connection is None:
                raise ConnectionBroke("the response has been closed")
            await self._connection.receive(parser)
        return parser.take()

    def close(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._release(connection, self._parser.keeps_alive)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"
