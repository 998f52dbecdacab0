"""One client that has launched this process, on its standard streams."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping

import attrs
import trio

from onemcp.admission import PlaceLimits
from onemcp.auth.server import OPERATOR
from onemcp.config import Configuration
from onemcp.frontend import OVER_PIPES, Deadlines, Operate, Sessions, StdioFrontend
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSpec, Restart

from .front import EventHook, Replace

START_PATIENCE = 10.0
"""How long after the start requests wait for backends that are just starting, in seconds."""

SETTLE_POLL = 0.02
SETTLE_SECONDS = 1.0
"""How long the frontend gets to end, after the grace period."""


@attrs.frozen
class Streams:
    """File descriptors that nothing else uses.

    Attributes:
        source: Where messages are read.
        sink: Where messages are written.
    """

    source: int
    sink: int


@contextlib.contextmanager
def standard_streams() -> Iterator[Streams]:
    """Take stdin and stdout; what else is printed goes to stderr, and what else is read is empty.

    A library, or a program started carelessly, must not write between messages.
    """
    sys.stdout.flush()
    streams = Streams(os.dup(0), os.dup(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(nothing, 0, inheritable=True)
        os.dup2(2, 1, inheritable=True)
        yield streams
    finally:
        sys.stdout.flush()
        os.dup2(streams.source, 0, inheritable=True)
        os.dup2(streams.sink, 1, inheritable=True)
        for descriptor in (nothing, streams.source, streams.sink):
            os.close(descriptor)


class StdioFront:
    """A frontend on standard streams; see :class:`.Front`.

    Attributes:
        sessions: The session of a legacy client: one, for as long as the process lasts.
        stopping: Whether the whole gateway is being stopped.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        configuration: Configuration,
        on_event: EventHook,
        *,
        streams: Streams,
        view: str | None = None,
    ) -> None:
        """Serve on `streams`; nothing runs yet.

        Args:
            multiplexer: What requests are dispatched to.
            configuration: What is in force.
            on_event: Takes every event.
            streams: Where the client is.
            view: The named view, or the one backend, to show; by default everything is shown.

        Raises:
            ValueError: There is no such view.
        """
        self.sessions = Sessions(
            PlaceLimits(1, 1), Deadlines(math.inf, math.inf), way=OVER_PIPES, on_event=on_event
        )
        self.stopping = False
        self._multiplexer = multiplexer
        self._streams = streams
        self._started = math.inf
        shown = multiplexer.view(view, user=OPERATOR)
        if shown is None:
            raise ValueError(f"there is no view or server {view!r}")
        self._frontend = StdioFrontend(
            multiplexer,
            shown,
            self.sessions,
            limit=configuration.limits.body_bytes,
            grace=configuration.server.shutdown_grace,
            on_event=on_event,
            ready=self._wait_settled,
        )

    @property
    def url(self) -> str:
        """There is no address: who has launched the process knows where it is."""
        return "stdio:"

    @property
    def streams(self) -> int:
        """There are none: everything comes on the one channel."""
        return 0

    @property
    def shed(self) -> Mapping[str, int]:
        """Nothing: nobody else is there to be kept from anything."""
        return {}

    def child(self) -> ChildSpec:
        """Return what serves the streams. It isn't restarted: what was half read is lost."""
        return ChildSpec(
            id="stdio",
            start=self._serve,
            restart=Restart.TEMPORARY,
            shutdown=self._frontend.grace + SETTLE_SECONDS,
        )

    async def prepare(self, new: Configuration) -> None:
        """Need nothing: what is asked of clients means nothing here."""

    def recheck(self) -> None:
        """Do nothing: whoever has launched the process may see everything."""

    def reconfigure(self, new: Configuration) -> None:
        """Take over how long the end may take, and how long a line may be."""
        self._frontend.grace = new.server.shutdown_grace
        self._frontend.limit = new.limits.body_bytes

    async def move(self, new: Configuration, replace: Replace) -> bool:  # noqa: ARG002
        """Stay: an address means nothing here."""
        return True

    def operate(self, operate: Operate) -> None:
        """Do nothing: there is one client here, and it operates by ending."""

    def close(self) -> None:
        """Do nothing: the streams belong to who gave them."""

    async def wait_ended(self) -> None:
        """Wait until the client has gone, or everything stops."""
        await self._frontend.ended.wait()

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._started = trio.current_time()
        async with (
            trio.lowlevel.FdStream(os.dup(self._streams.source)) as source,
            trio.lowlevel.FdStream(os.dup(self._streams.sink)) as sink,
        ):
            await self._frontend.run(source, sink, task_status=task_status)

    async def _wait_settled(self) -> None:
        """Wait until every backend is up or has failed, if that is soon."""
        with trio.move_on_at(self._started + START_PATIENCE):
            # Only the first few seconds of a process are spent like this.
            while any(  # noqa: ASYNC110
                not backend.is_up and backend.failure is None
                for backend in self._multiplexer.backends.values()
            ):
                await trio.sleep(SETTLE_POLL)
