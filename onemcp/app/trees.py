"""What runs a backend: its login, its connection and its further instances, supervised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import trio

from onemcp import config
from onemcp.backend import CONNECTION, Backend, ConnectionLost, Roster
from onemcp.protocol.errors import BackendUnavailable
from onemcp.supervision import (
    Backoff,
    ChildSpec,
    Event,
    Intensity,
    Pause,
    Supervisor,
    What,
)

from .connecting import stop_seconds

if TYPE_CHECKING:
    from onemcp.backend.oauth import Credentials


def supervise(name: str, backend: Backend, credentials: Credentials | None) -> Supervisor:
    """Return the supervisor of one backend.

    Args:
        name: What the supervisor is called among its siblings.
        backend: The backend.
        credentials: How onemcp logs in at it, if it does.
    """
    settings = backend.config
    restart = settings.restart
    connection = ChildSpec(
        id=CONNECTION,
        start=backend.serve if credentials is None else partial(_serve, backend, credentials),
        shutdown=stop_seconds(settings.timeouts),
    )
    login = [] if credentials is None else [ChildSpec(id="login", start=credentials.run)]
    return Supervisor(
        name,
        [*login, connection, ChildSpec.for_supervisor(backend.pool.supervisor)],
        intensity=Intensity(restart.intensity, restart.period),
        backoff=Backoff(initial=restart.backoff.initial, maximum=restart.backoff.maximum),
        on_exhaustion=Pause(restart.cooldown),
        # Not found by its name, which a backend shares with the one that is to replace it.
        on_event=partial(_give_up_when_paused, backend),
    )


def replaceable(
    supervisor: Supervisor, backend: Backend, take_over: Callable[[], object]
) -> ChildSpec:
    """Return what runs a backend as a child whose place another one takes once that is up.

    Args:
        supervisor: Runs the backend.
        backend: The backend, configured as it is now: that is the version of the child.
        take_over: Puts the backend in the place of the one before it, which is drained then.
    """

    async def is_ready() -> None:
        await ready(backend)
        take_over()

    return ChildSpec.for_supervisor(
        supervisor,
        version=backend.config,
        coexists=True,
        ready=is_ready,
        ready_timeout=math.inf,
        drain=backend.drain,
        drain_timeout=backend.config.timeouts.call,
    )


def runs_program(settings: config.Backend) -> bool:
    """Tell whether to start a backend is to start a program, which takes what others need."""
    return isinstance(settings.transport, config.StdioTransport)


async def ready(backend: Backend) -> None:
    """Wait until a backend is up; how long it waits for its turn to start does not count.

    Raises:
        BackendUnavailable: It isn't within its time, or has been given up.
    """
    await backend.wait_begun()
    seconds = backend.config.timeouts.start
    with trio.move_on_after(seconds):
        await backend.wait_ready()
    if not backend.is_up:
        raise BackendUnavailable(f"it was not ready within {seconds:g} s")


async def _serve(
    backend: Backend, credentials: Credentials, *, task_status: trio.TaskStatus[None]
) -> None:
    """Be connected, and anew where somebody has logged out: what was open ends with that.

    Raises:
        ConnectionLost: The connection ended or could not be made.
    """
    task_status.started()
    reason: ConnectionLost | None = None
    while reason is None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_logged_out, credentials, nursery.cancel_scope)
            try:
                await backend.serve()
            except ConnectionLost as lost:
                reason = lost
            nursery.cancel_scope.cancel()
    raise reason


async def _until_logged_out(credentials: Credentials, scope: trio.CancelScope) -> None:
    await credentials.wait_lost()
    scope.cancel()


def _give_up_when_paused(backend: Backend, event: Event) -> None:
    if event.what is What.PAUSED:
        backend.give_up()


async def see_off(leaving: Iterable[Backend | Roster], grace: float) -> None:
    """Let calls end of backends that are removed, for so many seconds at most."""
    with trio.move_on_after(grace):
        async with trio.open_nursery() as nursery:
            for backend in leaving:
                nursery.start_soon(backend.drain)
