"""The door for operators: the control socket, found by the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from onemcp import config
from onemcp.auth import owner
from onemcp.config import Configuration
from onemcp.control import Endpoint, PeerRefused
from onemcp.frontend import OWNER, Application
from onemcp.monitor import Observed
from onemcp.runtime import ControlSocket, SocketUnusable, is_trusted, open_socket, peer_of
from onemcp.supervision import ChildSpec
from onemcp.web.status import History

from . import listener as listening
from .access import Access
from .front import Front
from .page import open_page


@attrs.frozen
class NoControlSocket:
    """There is no control socket, so that commands such as ``onemcp status`` can't be answered.

    Attributes:
        reason: Why not.
    """

    reason: str


async def open_door(
    configuration: Configuration,
    path: Path | None,
    socket: Path | None,
    environ: Mapping[str, str],
    on_event: Callable[[NoControlSocket], object],
) -> ControlSocket | None:
    """Make the control socket, if there is to be one.

    Where nobody has said where it is to be, and it can't be made, onemcp does without.

    Args:
        configuration: What is to be served.
        path: The file it comes from, or None.
        socket: Where the command line wants the socket, or None.
        environ: The environment.
        on_event: Hears that there is none.

    Raises:
        SocketInUse: Another process listens on it.
        SocketUnusable: It can't be made where it was asked for.
    """
    settings = configuration.control
    wanted = socket or settings.socket
    if wanted is None and not settings.enabled:
        return None
    place = wanted or config.runtime_directory(environ) / config.socket_name(path)
    try:
        return await trio.to_thread.run_sync(open_socket, place)
    except SocketUnusable as error:
        if wanted is not None:
            raise
        on_event(NoControlSocket(str(error)))
        return None


@attrs.frozen
class Operating:
    """How operators come in: over HTTP, at the control socket, and by the status page.

    Attributes:
        endpoint: What they may ask for.
        history: What the status page shows of what has been.
        access: Who may log in there.
        socket: The control socket, if there is one.
        on_event: Takes what goes wrong.
    """

    endpoint: Endpoint
    history: History
    access: Access
    socket: ControlSocket | None
    on_event: Callable[[Any], object]

    def children(self, front: Front, gateway: Observed) -> list[ChildSpec]:
        """Let operators in by a front, if it can; return what runs beside the gateway for that."""
        application = front.operate(self.endpoint)
        if application is None:
            return []
        children = [open_page(application, self.endpoint, gateway, self.history, self.access)]
        if self.socket is not None:
            children.append(operators(self.socket, application, self.on_event))
        return children


def operators(
    socket: ControlSocket, application: Application, on_event: Callable[[Any], object]
) -> ChildSpec:
    """Return what serves the control socket: everything, to whom the kernel vouches for.

    Args:
        socket: The socket.
        application: What is served.
        on_event: Takes what goes wrong.
    """

    def admit(served: Any, stream: trio.SocketStream) -> Any:
        peer = peer_of(stream.socket)
        if peer is None or not is_trusted(peer):
            on_event(PeerRefused(None if peer is None else peer.uid))
            return None
        principal = owner(peer.uid)

        async def vouched(scope: Any, receive: Any, send: Any) -> None:
            await served({**scope, OWNER: principal}, receive, send)

        return vouched

    async def drained(_ended: trio.Event) -> None:
        await trio.lowlevel.checkpoint()

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        await listening.serve(
            application,
            socket.listener,
            0.0,  # the gateway below has stopped: nothing can be under way
            drained,
            on_event,
            admit=admit,
            task_status=task_status,
        )

    return ChildSpec(id="control", start=serve, shutdown=3 * listening.SETTLE_SECONDS)
