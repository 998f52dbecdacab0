"""No door at all: the program that the gateway is embedded in is its only client."""

from __future__ import annotations

import math
from collections.abc import Mapping

import trio

from onemcp.admission import PlaceLimits
from onemcp.app import EventHook, Replace
from onemcp.config import Configuration
from onemcp.frontend import Deadlines, Operate, Sessions
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSpec


class NoFront:
    """Lets nobody in; see :class:`onemcp.app.front.Front`.

    Attributes:
        sessions: None, ever.
        stopping: Whether the whole gateway is being stopped.
    """

    def __init__(
        self, multiplexer: Multiplexer, configuration: Configuration, on_event: EventHook
    ) -> None:
        """Stand where something else might let clients in."""
        del configuration, on_event
        self.sessions = Sessions(PlaceLimits(0, 0), Deadlines(math.inf, math.inf))
        self.stopping = False
        self._multiplexer = multiplexer

    @property
    def url(self) -> str:
        """There is no address."""
        return ""

    @property
    def streams(self) -> int:
        """There are none."""
        return 0

    @property
    def shed(self) -> Mapping[str, int]:
        """Nothing: nobody else is there to be kept from anything."""
        return {}

    def child(self) -> ChildSpec:
        """Return what lets the program's calls end before the backends are stopped."""
        return ChildSpec(id="program", start=self._serve)

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._multiplexer.resume()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._multiplexer.stop()
            for backend in self._multiplexer.backends.values():
                backend.abandon("onemcp is being stopped")

    async def prepare(self, new: Configuration) -> None:
        """Need nothing: what is asked of clients means nothing here."""

    def recheck(self) -> None:
        """Let the program see everything, as ever."""

    def reconfigure(self, new: Configuration) -> None:
        """Take over nothing."""

    async def move(self, new: Configuration, replace: Replace) -> bool:
        """Stay: there is no address."""
        del new, replace
        return True

    def operate(self, operate: Operate) -> None:
        """Let no operators in: the program is in control."""

    def close(self) -> None:
        """Hold nothing."""
