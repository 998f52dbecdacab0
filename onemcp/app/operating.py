"""What an operator may do with the backends of a running gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from onemcp.backend import Backend
from onemcp.supervision import SupervisionError, Supervisor

if TYPE_CHECKING:
    from .replicas import ReplicaSet


@attrs.frozen
class BackendOperator:
    """Stops, starts, restarts and resets backends, letting calls in flight end first.

    Attributes:
        supervisor: The supervisor of all backends.
        find: Returns the backend that has a name now.
        grace: Tells how long calls in flight get, in seconds.
        replicas: Returns what runs the replicas of a backend of which there are several.
    """

    supervisor: Supervisor
    find: Callable[[str], Backend]
    grace: Callable[[], float]
    replicas: Callable[[str], ReplicaSet | None] = lambda _: None

    async def stop(self, name: str) -> None:
        """Stop a backend, which stays down until it is started, or configured otherwise.

        Raises:
            SupervisionError: It can't be stopped now.
        """
        backend = self.find(name)
        await backend.quiesce(self.grace(), stays_down=True)
        await self.supervisor.stop_child(name)
        backend.halt()

    async def start(self, name: str) -> None:
        """Start a backend that is down, at once; one that is up stays as it is.

        Raises:
            SupervisionError: It can't be started now.
        """
        if not self.find(name).is_up:
            await self._begin(name)

    async def restart(self, name: str) -> None:
        """Stop a backend and start it at once. New calls wait for it meanwhile.

        Where there are several of it, one is restarted after the other, and new calls go to those
        that are up.

        Raises:
            SupervisionError: It can't be started now.
        """
        backend, replicas = self.find(name), self.replicas(name)
        if replicas is not None and backend.is_up:
            await replicas.restart(self.grace)
            return
        try:
            await backend.quiesce(self.grace(), stays_down=False)
            await self._begin(name)
        except SupervisionError:
            backend.renew()  # or calls would wait for what doesn't come
            raise

    async def reset(self, name: str) -> None:
        """Close the circuit breaker of a backend, and forget the failures that it has counted."""
        self.find(name).reset()
        await trio.lowlevel.checkpoint()

    async def _begin(self, name: str) -> None:
        """Start a backend anew, and wait until it is up or it is known why it isn't."""
        backend = self.find(name)
        await self.supervisor.stop_child(name)  # so that what is told next is of the new one
        backend.renew()
        await self.supervisor.restart_child(name)
        with trio.move_on_after(backend.config.timeouts.start):
            await backend.wait_settled()
