"""Listening: the sockets, and Hypercorn on their connections.

Theory of operation: the socket belongs to the gateway, not to the server: restarting the frontend
loses no connection that waits to be accepted. Connections are accepted here, and Hypercorn serves
each of them, because of what has to be right around it: one connection that fails takes no other
one down, and a client that doesn't read is given up. Hypercorn shields what it sends from
cancellation, so that only closing the socket ends it. HTTP/2 is not offered: Hypercorn leaves its
tasks behind when clients go away in the middle of an answer.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError, H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 75.0
"""How long an idle connection is kept; longer than most clients and proxies keep theirs."""

SEND_SECONDS: Final = 30.0
"""How long a client may take to make room for more."""

SEND_BYTES: Final = 64 * 1024
"""How much is sent at once, within that time."""

HEAD_BYTES: Final = 64 * 1024
SETTLE_SECONDS: Final = 1.0
"""How long connections get to end, after the grace period."""


@attrs.frozen
class ConnectionFailed:
    """A connection broke off for a reason of the server's own: a bug.

    Attributes:
        error: What was raised.
    """

    error: Exception


def listen(host: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 chooses a free one.

    Raises:
        OSError: The address isn't one of this machine, or the port is in use.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return the host and port that a socket is bound to."""
    host, port = listener.getsockname()[:2]
    return host, port


def url_of(listener: socket.socket, path: str) -> str:
    """Return the URL of a path served on a socket."""
    host, port = address_of(listener)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


async def serve(
    application: Any,
    listener: socket.socket,
    grace: float,
    drain: Callable[[trio.Event], Awaitable[object]],
    on_event: Callable[[ConnectionFailed], object] = lambda _: None,
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Serve an ASGI application until cancelled; then let what is in flight end.

    Args:
        application: What is served.
        listener: The socket to accept connections from.
        grace: How long requests in flight may go on after the cancellation, in seconds.
        drain: Returns when nothing is in flight any more; is given an event that tells when the
            last connection has ended.
        on_event: Takes what goes wrong.
        task_status: Acknowledged with the URL that is served.
    """
    context = WorkerContext(None)
    stopping, ended = trio.Event(), trio.Event()
    lives = trio.CancelScope(shield=True)

    async def hold_connections(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        try:
            with lives:
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    await stopping.wait()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        connections = await nursery.start(hold_connections)
        acceptor = trio.SocketListener(trio.socket.from_stdlib_socket(listener.dup()))
        handler = partial(_handle, ASGIWrapper(application), _settings(), context, on_event)
        task_status.started(url_of(listener, ""))
        try:
            await trio.serve_listeners(handler, [acceptor], handler_nursery=connections)
        finally:
            stopping.set()
            with trio.move_on_after(grace, shield=True):
                await context.terminated.set()  # closes the idle connections
                await drain(ended)
            lives.deadline = trio.current_time() + SETTLE_SECONDS


async def _handle(
    application: ASGIWrapper,
    settings: Config,
    context: WorkerContext,
    on_event: Callable[[ConnectionFailed], object],
    stream: trio.SocketStream,
) -> None:
    """Serve one connection, and let nobody else suffer from what happens to it."""
    patient: Any = _PatientStream(stream)  # all that Hypercorn needs of a stream
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_at_end, stream)
            await _Http1Server(application, settings, context, ConnectionState({}), patient).run()
            nursery.cancel_scope.cancel()
    except* (OSError, H2CProtocolRequiredError, H2ProtocolAssumedError):
        pass  # the client has gone, or wants something else
    except* Exception as error:  # noqa: BLE001 - reported
        on_event(ConnectionFailed(error))


async def _close_at_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stream.socket.close()


class _Http1Server(TCPServer):
    """Hypercorn's care of one connection, without what it does for TLS and HTTP/2."""

    _is_over = False

    async def run(self) -> None:
        """Serve the connection until it ends."""
        socket = self.stream.socket
        async with TaskGroup() as self._task_group:
            self.protocol: Any = H11Protocol(
                self.app,
                self.config,
                self.context,
                self._task_group,
                ConnectionState(self.state),
                ssl=False,
                client=parse_socket_addr(socket.family, socket.getpeername()),
                server=parse_socket_addr(socket.family, socket.getsockname()),
                send=self.protocol_send,
            )
            await self.idle_task.restart(self._task_group, self._idle_timeout)
            await self._read_data()
            self._is_over = True
            await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        # Hypercorn waits for its time to pass even on a connection that the client has closed.
        if not self._is_over:
            await super()._idle_timeout()


class _PatientStream:
    """A connection whose client must keep reading what it is sent."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self.receive_some = stream.receive_some
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose
        self._send_all = stream.send_all

    async def send_all(self, data: bytes) -> None:
        """Send everything.

        Raises:
            trio.BrokenResourceError: The client has gone, or reads nothing.
        """
        view = memoryview(data)
        for start in range(0, len(view), SEND_BYTES):
            with trio.move_on_after(SEND_SECONDS) as patience:
                await self._send_all(view[start : start + SEND_BYTES])
            if patience.cancelled_caught:
                self.socket.close()  # what came after a gap would be taken for what is missing
                raise trio.BrokenResourceError("the client reads nothing")


def _settings() -> Config:
    settings = Config()
    settings.keep_alive_timeout = KEEP_ALIVE_SECONDS
    settings.read_timeout = None  # it would end every request that takes longer
    settings.h11_max_incomplete_size = HEAD_BYTES
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = None
    return settings
