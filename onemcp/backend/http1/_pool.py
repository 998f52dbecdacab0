"""Connections to one origin."""

from __future__ import annotations

import os
import ssl
from collections import deque
from pathlib import Path
from typing import Final

import attrs
import trio

from ._errors import ConnectError, ConnectTimeout
from ._exchange import Connection, Response
from ._request import Headers, write_request
from ._wire import PlainWire, TlsWire, Wire

CONNECT_SECONDS: Final = 10.0
"""How long making one TCP and TLS connection may take, in seconds."""

KEEPALIVE_SECONDS: Final = 4.0
"""How long an idle connection is kept, in seconds: less than servers usually do, which is 5."""


@attrs.frozen
class Origin:
    """Where connections lead.

    Attributes:
        host: The name or address of the server.
        port: Its port.
        authority: What it is called in requests: the host, and the port where that isn't the usual.
        tls: Whom to trust; None where the connections are plain.
        path: The socket of the file system that the server listens on instead, if it does.
    """

    host: str
    port: int
    authority: bytes
    tls: ssl.SSLContext | None = None
    path: Path | None = None

    async def connect(self) -> Wire:
        """Make a connection.

        Raises:
            OSError: That isn't possible.
            trio.BrokenResourceError: As well.
        """
        if self.path is not None:
            stream = await trio.open_unix_socket(os.fspath(self.path))
        else:
            stream = await trio.open_tcp_stream(self.host, self.port)
        if self.tls is None:
            return PlainWire(stream)
        secured = trio.SSLStream(stream, self.tls, server_hostname=self.host, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            stream.socket.close()
            raise
        return TlsWire(secured)


class Pool:
    """Connections to one origin, kept while they are of use."""

    def __init__(self, origin: Origin, limit: int) -> None:
        """Make no connection yet, and never more than `limit` at once."""
        self._origin = origin
        self._room = trio.Semaphore(limit)
        self._limit = limit
        self._idle: deque[Connection] = deque()  # the one that was used last is taken first
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """How many requests have a connection, or get one."""
        return self._limit - self._room.value

    async def request(
        self, method: bytes, target: bytes, headers: Headers, content: bytes | None = None
    ) -> Response:
        """Send a request, once there is room for it, and wait for the head of the response.

        How long that may take is for the caller to say, except for making a connection.

        Args:
            method: Its method.
            target: The path and the query.
            headers: Its headers but for ``host`` and those about the connection and the body.
            content: Its body, if it has one.

        Returns:
            The response, which the caller has to close.

        Raises:
            HttpError: There is none.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # else it would be sent before it is noticed
        request = write_request(method, target, self._origin.authority, headers, content)
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        try:
            return await self._ask(request)
        except BaseException:
            self._room.release()
            raise

    def close(self) -> None:
        """Close what is idle, and keep nothing any more."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def __repr__(self) -> str:
        authority = self._origin.authority.decode()
        return f"<Pool {authority} in_use={self.in_use} idle={len(self._idle)}>"

    async def _ask(self, request: bytes) -> Response:
        while (connection := self._take_idle()) is not None:
            response = await self._ask_over(connection, request)
            if response is not None:
                return response
        response = await self._ask_over(Connection(await self._connect()), request)
        if response is None:
            raise ConnectError("it took nothing")
        return response

    async def _ask_over(self, connection: Connection, request: bytes) -> Response | None:
        parser = None
        try:
            parser = await connection.ask(request)
        finally:
            if parser is None:
                connection.close()
        return None if parser is None else Response(connection, parser, self._take_back)

    async def _connect(self) -> Wire:
        with trio.move_on_after(CONNECT_SECONDS):
            try:
                return await self._origin.connect()
            except (OSError, trio.BrokenResourceError) as error:
                raise ConnectError("no connection could be made") from error
        raise ConnectTimeout("making a connection took too long")

    def _take_idle(self) -> Connection | None:
        now = trio.current_time()
        while self._idle and self._idle[0].kept_until <= now:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
        return None

    def _take_back(self, connection: Connection, reusable: bool) -> None:  # noqa: FBT001
        self._room.release()
        if reusable and not self._is_closed:
            connection.kept_until = trio.current_time() + KEEPALIVE_SECONDS
            self._idle.append(connection)
        else:
            connection.close()
