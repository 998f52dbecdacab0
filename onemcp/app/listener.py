"""Listening: the sockets, and Hypercorn on their connections.

Theory of operation: the socket belongs to the gateway, not to the server: restarting the frontend
loses no connection that waits to be accepted. Connections are accepted here, because of what has to
be right around each of them: one that fails takes no other one down. :mod:`onemcp.frontend.http1`
serves them. HTTP/2 is not offered: Hypercorn leaves its tasks behind when clients go away in the
middle of an answer.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import attrs
import trio
from hypercorn.config import Config
from hypercorn.logging import Logger

from onemcp.frontend.http1 import Connections, Http1Server, ServerContext

from .accepting import AcceptPaused, AcceptResumed, SocketListener, accept_all

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 75.0
"""How long an idle connection is kept; longer than most clients and proxies keep theirs."""

HEAD_BYTES: Final = 64 * 1024
SETTLE_SECONDS: Final = 1.0
"""How long connections get to end, after the grace period."""


Admit: TypeAlias = Callable[[Any, trio.SocketStream], Any]
"""Returns what one connection is served with: the application, or one in front of it."""


@attrs.frozen
class ConnectionFailed:
    """A connection broke off for a reason of the server's own: a bug.

    Attributes:
        error: What was raised.
    """

    error: Exception


ListenerEvent: TypeAlias = ConnectionFailed | AcceptPaused | AcceptResumed


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
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = address_of(listener)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def origin_for_browsers(url: str) -> str | None:
    """Return the origin of a URL; None where browsers can't go there."""
    parts = urlsplit(url)
    is_wildcard = parts.hostname in {"0.0.0.0", "::"}  # noqa: S104  (nothing is bound)
    is_web = parts.scheme in {"http", "https"} and parts.hostname and not is_wildcard
    return f"{parts.scheme}://{parts.netloc}" if is_web else None


async def serve(
    application: Any,
    listener: socket.socket,
    grace: float,
    drain: Callable[[trio.Event], Awaitable[object]],
    on_event: Callable[[ListenerEvent], object] = lambda _: None,
    *,
    admit: Admit = lambda application, _: application,
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
        admit: Returns what a connection is served with, None where it isn't.
        task_status: Acknowledged with the URL that is served.
    """
    context = ServerContext()
    stopping, ended = trio.Event(), trio.Event()
    lives = trio.CancelScope(shield=True)
    with Connections(context) as connections:

        async def hold_connections(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
            try:
                with lives:
                    async with trio.open_nursery() as care:
                        care.start_soon(connections.run)
                        async with trio.open_nursery() as nursery:
                            task_status.started(nursery)
                            await stopping.wait()
                        care.cancel_scope.cancel()
            finally:
                ended.set()

        async def handle(stream: trio.SocketStream) -> None:
            served = admit(application, stream)
            if served is None:
                await stream.aclose()
                return
            server = Http1Server(
                _wrapped(served), settings, context, {}, stream, connections=connections
            )
            try:
                await server.run()
            except Exception as error:  # noqa: BLE001 - reported; nobody else suffers from it
                on_event(ConnectionFailed(error))

        settings = _settings(on_event)
        async with trio.open_nursery() as nursery:
            held = await nursery.start(hold_connections)
            task_status.started(url_of(listener, ""))
            try:
                with listener.dup() as own:
                    await accept_all(SocketListener(own), handle, held, on_event)
            finally:
                stopping.set()
                with trio.move_on_after(grace, shield=True):
                    context.terminated.set()  # closes the idle connections
                    await drain(ended)
                lives.deadline = trio.current_time() + SETTLE_SECONDS


def _wrapped(application: Any) -> Any:
    def call(scope: Any, receive: Any, send: Any, *_threads: object) -> Any:
        return application(scope, receive, send)  # to be awaited by the caller, without a detour

    return call


class _Logger(Logger):
    """Makes events of what Hypercorn would log."""

    def __init__(self, config: Config, on_event: Callable[[ConnectionFailed], object]) -> None:
        super().__init__(config)
        self._on_event = on_event

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Report the exception that is being handled."""
        del message, args, kwargs
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            self._on_event(ConnectionFailed(error))


def _settings(on_event: Callable[[ConnectionFailed], object]) -> Config:
    settings = Config()
    settings.keep_alive_timeout = KEEP_ALIVE_SECONDS
    settings.keep_alive_max_requests = sys.maxsize
    settings.h11_max_incomplete_size = HEAD_BYTES
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = None
    settings.logger_class = partial(_Logger, on_event=on_event)  # type: ignore[assignment]
    return settings
