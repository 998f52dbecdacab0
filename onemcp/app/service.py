"""What the service manager is told of a running gateway.

Theory of operation: the watchdog is no timer. A sign of life is sent only after the supervisors
that everything hangs on have answered through their mailboxes, one after the other: a loop that is
stuck, or a supervisor that does no more work, sends none, and the manager starts the process anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from onemcp.backend import BackendDown, BackendReady
from onemcp.config import (
    ConfigurationRejected,
    ConfigurationRepaired,
    ReloadResumed,
    ReloadSuspended,
)
from onemcp.systemd import Notifier, watchdog_seconds

from .events import AddressChanged, ReloadApplied
from .gateway import Gateway

TELLING: Final = (
    AddressChanged,
    BackendDown,
    BackendReady,
    ConfigurationRejected,
    ConfigurationRepaired,
    ReloadApplied,
    ReloadResumed,
    ReloadSuspended,
)
"""What changes the status that people see in ``systemctl status``."""


class Service:
    """Tells a service manager how a gateway is, if there is one.

    Attributes:
        gateway: The gateway; None until there is one.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Find out whether there is a manager, and what it wants to hear.

        Args:
            environ: The environment.
        """
        self.gateway: Gateway | None = None
        self._notifier = Notifier.from_environ(environ)
        self._watchdog = watchdog_seconds(environ)

    def hear(self, event: object) -> None:
        """Take note of what happens."""
        if isinstance(event, TELLING) and self._notifier.is_wanted:
            self._notifier.status(self._status())

    def started(self) -> None:
        """Take note that the gateway listens."""
        self._notifier.ready(self._status())

    def stopping(self) -> None:
        """Take note that it is being stopped."""
        self._notifier.stopping("Finishing what is in flight")

    async def reload(self) -> None:
        """Reload the configuration because somebody asks for it."""
        reloader = None if self.gateway is None else self.gateway.reloader
        self._notifier.reloading()
        try:
            if reloader is not None:
                await reloader.reload()
        finally:
            self._notifier.ready(self._status())

    async def keep_alive(self) -> None:
        """Give signs of life for as long as the tree does, where they are wanted."""
        if self._watchdog is None or self.gateway is None:
            return
        while True:
            await self.gateway.respond()
            self._notifier.alive()
            await trio.sleep(self._watchdog / 2)

    def _status(self) -> str:
        gateway = self.gateway
        if gateway is None:
            return "Starting"
        backends = gateway.multiplexer.backends.values()
        up = sum(backend.is_up for backend in backends)
        status = f"Serving {gateway.url}; {up} of {len(backends)} backends up"
        reloader = gateway.reloader
        if reloader is not None and reloader.problem is not None:
            status += "; the configuration file cannot be used, an older one is in force"
        if reloader is not None and reloader.suspended:
            status += ", and the file is left alone until it is reloaded by hand"
        return status
