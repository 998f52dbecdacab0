"""Listening: the sockets, and Hypercorn on them.

The sockets belong to the gateway, not to the server: restarting the frontend loses no connection
that waits to be accepted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

import hypercorn.trio
import trio
from hypercorn.config import Config

BACKLOG: Final = 1024
KEEP_ALIVE_SECONDS: Final = 75.0
"""How long an idle connection is kept; longer than most clients and proxies keep theirs."""

READ_SECONDS: Final = 30
"""How long a client may take between two parts of a request."""

HEAD_BYTES: Final = 64 * 1024
SETTLE_SECONDS: Final = 1.0
"""How long Hypercorn gets to close its connections, after the grace period."""


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
    drain: Callable[[], Awaitable[object]],
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Serve an ASGI application until cancelled; then let what is in flight end.

    Args:
        application: What is served.
        listener: The socket to accept connections from.
        grace: How long requests in flight may go on after the cancellation, in seconds.
        drain: Returns when nothing is in flight any more.
        task_status: Acknowledged with the URL that is served.
    """
    stopping = trio.Event()
    server = trio.CancelScope(shield=True)
    settings = _settings(listener, grace)

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with server:
            async with trio.open_nursery() as nursery:
                await nursery.start(_serve, application, settings, stopping)
                task_status.started()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        task_status.started(url_of(listener, ""))
        try:
            await trio.sleep_forever()
        finally:
            stopping.set()
            with trio.move_on_after(grace) as patience:
                patience.shield = True
                await drain()
            server.deadline = trio.current_time() + SETTLE_SECONDS


async def _serve(
    application: Any,
    settings: Config,
    stopping: trio.Event,
    *,
    task_status: trio.TaskStatus[list[str]],
) -> None:
    await hypercorn.trio.serve(
        application,
        settings,
        shutdown_trigger=stopping.wait,
        task_status=task_status,
        mode="asgi",
    )


def _settings(listener: socket.socket, grace: float) -> Config:
    settings = Config()
    settings.bind = [f"fd://{os.dup(listener.fileno())}"]  # which Hypercorn closes
    settings.backlog = BACKLOG
    settings.graceful_timeout = grace + SETTLE_SECONDS
    settings.keep_alive_timeout = KEEP_ALIVE_SECONDS
    settings.read_timeout = READ_SECONDS
    settings.h11_max_incomplete_size = HEAD_BYTES
    settings.include_server_header = False
    settings.accesslog = None
    settings.errorlog = None
    return settings
