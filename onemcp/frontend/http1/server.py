"""One connection."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from hypercorn.config import Config

from .connections import Connections
from .context import Context
from .exchange import Exchange
from .incoming import IncomingRequest
from .parser import RequestParser
from .patience import Patience
from .response import header_line, refusal
from .scopes import ReusableScope

if TYPE_CHECKING:
    from hypercorn.typing import AppWrapper, LifespanState

READ_BYTES: Final = 64 * 1024
READ_SECONDS: Final = 60.0
"""How long a head may take, and at most the wait for the next part of a body, in seconds, unless
the configuration says otherwise (`read_timeout`)."""

SEND_SECONDS: Final = 30.0
"""How long a client may take at most to make room for more, in seconds."""

PARTING_SECONDS: Final = 1.0
"""How long after its last use a connection is kept once the server stops, in seconds. A client that
has just been answered may be sending its next request."""

LINGER_SECONDS: Final = 2.0
"""How long what a refused client still sends is read, so that it gets to see the refusal."""

_THREADS: Final = (trio.to_thread.run_sync, trio.from_thread.run)
"""What Hypercorn's wrapper of a WSGI application needs."""

_buffer: Final = bytearray(READ_BYTES)
"""Shared by all connections: what is read into it is parsed before anything else happens."""


class Http1Server:
    """Serves one connection; the same to Hypercorn as its own server.

    Attributes:
        app: The application.
        config: Hypercorn's configuration.
        context: Tells when the server stops.
        state: The state of the ASGI lifespan.
        stream: The connection.
        client: The client's address and port.
        server: The server's.
        deadline: Until when the client has to do something, by Trio's clock.
        is_told: Whether it is told when the client hangs up.
        scopes: Lends requests their scopes.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: Context,
        state: LifespanState,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
        *,
        connections: Connections,
    ) -> None:
        """Serve an application on a stream.

        Args:
            app: The application.
            config: Hypercorn's configuration.
            context: Tells when the server stops; Hypercorn's own, where there is TLS.
            state: The state of the ASGI lifespan.
            stream: The connection.
            connections: Who looks after it.
        """
        self.app = app
        self.config = config
        self.context = context
        self.state = state
        self.stream: Any = stream
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.deadline = math.inf
        self.is_told = connections.tells
        self.scopes = ReusableScope()
        self._now = trio.lowlevel.current_clock().current_time
        self._plain = stream if isinstance(stream, trio.SocketStream) else None
        self._connections = connections
        self._descriptor = -1
        self._is_logged = config.log.access_logger is not None
        self._scope = trio.CancelScope()
        self._hung_up: trio.Event | None = None
        self._has_hung_up = False
        self._is_gone = False
        self._on_hang_up: Callable[[], object] | None = None
        self._parser = RequestParser(config.h11_max_incomplete_size)
        self._exchange: Exchange | None = None
        self._served = 0
        self._headers = b""
        self._headers_at = 0

    def __repr__(self) -> str:
        return f"<Http1Server {self.client} served={self._served}>"

    async def run(self) -> None:
        """Serve the connection until it ends."""
        if self._plain is None:
            await self._leave_to_hypercorn()
            return
        sock = self._plain.socket
        try:
            self._descriptor = sock.fileno()
            self.client = _address(sock.family, sock.getpeername())
            self.server = _address(sock.family, sock.getsockname())
            with self._connections.looked_after(self):
                while True:
                    with self._scope, self.scopes:
                        await self._serve()
                    if not (self._scope.cancelled_caught and self._has_come()):
                        break
                    self._scope = trio.CancelScope()  # a request was quicker than its deadline
        except OSError:
            pass  # the client has gone
        finally:
            sock.close()

    async def _leave_to_hypercorn(self) -> None:
        """Serve TLS, with whatever is negotiated."""
        from hypercorn.trio.tcp_server import TCPServer  # noqa: PLC0415 - HTTP/2 and all

        own: Any = (self.app, self.config, self.context, self.state, self.stream)
        await TCPServer(*own).run()

    # --- what is looked after -------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._exchange is None and self._parser.is_idle and not self._parser.requests

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self._descriptor

    def expire(self) -> None:
        """End the connection at once."""
        self._scope.cancel()

    def part(self) -> None:
        """Take note that the server stops: the next request is the last, and has to come soon."""
        if self.is_idle:
            self.deadline -= self.config.keep_alive_timeout - PARTING_SECONDS

    def _has_come(self) -> bool:
        """Tell whether the next request has begun to come, though none of it has been read."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return self.is_idle and bool(poll.poll(0))

    def hang_up(self) -> None:
        """Take note that the client has closed its side."""
        self._has_hung_up = True
        if self._hung_up is not None:
            self._hung_up.set()
        if self._on_hang_up is not None:
            self._on_hang_up()

    # --- the connection -------------------------------------------------------------------------

    async def _serve(self) -> None:
        parser = self._parser
        while await self._request_comes():
            request = parser.requests.pop(0)
            if not await self._answer(request):
                if not request.complete:
                    await self._linger()
                return
            if parser.requests:  # pipelined: let others have their turn
                await trio.lowlevel.checkpoint()
        if parser.error is not None:
            await self._refuse(parser.error.status)

    async def _request_comes(self) -> bool:
        """Read until the head of a request is there; tell if it is."""
        parser = self._parser
        if parser.requests:
            return True
        is_parting = self.context.terminated.is_set()
        patience = PARTING_SECONDS if is_parting else self.config.keep_alive_timeout
        self.deadline = self._now() + patience
        while parser.error is None and not parser.requests:
            was_idle = parser.is_idle
            if not await self._read():
                return False
            if was_idle and not (parser.requests or parser.is_idle):
                self.deadline = self._now() + self.patience
        self.deadline = math.inf
        return bool(parser.requests)

    async def _answer(self, request: IncomingRequest) -> bool:
        """Have a request answered, and tell whether the connection can be used again."""
        if self.config.server_names and not self._is_for_here(request):
            await self._refuse(404)
            return False
        self._served += 1
        await self.context.mark_request()
        exchange = self._exchange = Exchange(request, self)
        scope = exchange.scope()
        application: Any = self.app
        try:
            await application(scope, exchange.receive, exchange.send, *_THREADS)
        except Exception:  # noqa: BLE001 - Hypercorn's logger takes it
            if not self._is_gone:
                await self.config.log.exception("Error in ASGI Framework")
        finally:
            self._exchange = self._on_hang_up = None
        if self._is_logged:
            summary = cast("Any", exchange.summary)
            await self.config.log.access(cast("Any", scope), summary, time() - exchange.begun)
        if not exchange.has_started:
            await self._refuse(500)
        return exchange.keeps_alive

    def _is_for_here(self, request: IncomingRequest) -> bool:
        host = next((value for name, value in request.headers if name == b"host"), b"")
        return host.decode("latin-1") in self.config.server_names

    @property
    def keeps_alive(self) -> bool:
        """Whether another request is taken after the one that is being answered."""
        return (
            not self.context.terminated.is_set()
            and self._served < self.config.keep_alive_max_requests
        )

    @property
    def patience(self) -> float:
        """How long a client may take over a head, or be silent within a body, in seconds."""
        return self.config.read_timeout or READ_SECONDS

    def own_headers(self) -> bytes:
        """Return the lines of the headers that the server adds, which change once a second."""
        now = int(time())
        if now != self._headers_at:
            own = self.config.response_headers("h11")
            self._headers = b"".join(header_line(name, value) for name, value in own)
            self._headers_at = now
        return self._headers

    async def _refuse(self, status: int) -> None:
        """Answer what can't be served, and let the client see it before the connection ends."""
        with contextlib.suppress(OSError):
            await self.write(refusal(status, self.own_headers()))
            await self._linger()

    async def _linger(self) -> None:
        """Read what the client still sends: closed over it, it might not see the response."""
        with contextlib.suppress(OSError):
            self.stream.socket.shutdown(socket.SHUT_WR)
            with trio.move_on_after(LINGER_SECONDS):
                while await self._receive():
                    pass

    # --- the socket -----------------------------------------------------------------------------

    async def read(self, patience: Patience) -> bool:
        """Read more of a body, for the request that is being served; False at the end."""
        since = self._now()
        self.deadline = since + patience.seconds
        try:
            size = 0 if self._parser.error is not None else await self._read()
        finally:
            self.deadline = math.inf
        patience.spend(self._now() - since, size)
        return size > 0

    async def _read(self) -> int:
        size = await self._receive()
        if size:
            self._parser.feed(memoryview(_buffer)[:size])
        return size

    async def _receive(self) -> int:
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.readv(self._descriptor, [_buffer])
            except BlockingIOError:
                continue
            except OSError:
                return 0

    async def write(self, data: bytes) -> None:
        """Send everything.

        Raises:
            OSError: The client has gone.
        """
        sent = self._write_some(data)
        if sent < len(data):
            await self._write_rest(memoryview(data)[sent:])

    async def _write_rest(self, data: memoryview) -> None:
        patience = Patience(SEND_SECONDS)
        try:
            while data:
                since = self._now()
                self.deadline = since + patience.seconds
                await trio.lowlevel.wait_writable(self._descriptor)
                sent = self._write_some(data)
                data = data[sent:]
                patience.spend(self._now() - since, sent)
        finally:
            self.deadline = math.inf

    def _write_some(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._is_gone = True
            raise

    # --- the client's disconnect ----------------------------------------------------------------

    def tell(self, on_hang_up: Callable[[], object] | None) -> None:
        """Call this, and nothing else any more, when the client closes its side."""
        self._on_hang_up = on_hang_up
        if on_hang_up is not None and self._has_hung_up:
            on_hang_up()

    async def wait_hung_up(self) -> None:
        """Wait until the client closes its side."""
        if self.is_told:
            if self._has_hung_up:
                await trio.lowlevel.checkpoint()
                return
            if self._hung_up is None:
                self._hung_up = trio.Event()
            await self._hung_up.wait()
            return
        await trio.lowlevel.wait_readable(self._descriptor)
        with contextlib.suppress(OSError):
            if await self.stream.socket.recv(1, socket.MSG_PEEK):
                await trio.sleep_forever()  # it has sent its next request: it is there


def _address(family: int, address: Any) -> tuple[str, int] | None:
    """Return an address as ASGI has it, which knows of hosts and ports alone."""
    return address[:2] if family in {socket.AF_INET, socket.AF_INET6} else None
