"""From a backend's configuration to a connection: which transport, with which bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs

from onemcp import config
from onemcp.backend import BackendStderr, Connection, Identity, Setup, redactor_for
from onemcp.backend.connection import BESIDES
from onemcp.backend.duplex import Channel, DuplexConnection, DuplexLimits
from onemcp.backend.handshake import Terms
from onemcp.backend.memory import MemoryWatch, Usages
from onemcp.backend.process import ProcessInstance, ProcessSpec, StopPolicy
from onemcp.backend.stdio import StdioChannel, open_stdio_channel
from onemcp.backend.throttle import Throttle
from onemcp.backend.tracing import Trace, TracedChannel


@attrs.frozen
class Connector:
    """Makes the connections of all backends.

    Attributes:
        instance: The identity of this run, which marks every process that it starts.
        identity: Who onemcp is towards backends.
        trace: Takes everything that is said, by whom; None where nobody wants to know.
        processes: The programs that run, by process id, and whose they are.
    """

    instance: ProcessInstance
    identity: Identity
    trace: Trace | None = None
    processes: dict[int, str] = attrs.field(init=False, factory=dict)
    _usages: Usages = attrs.field(init=False)

    @_usages.default
    def _default_usages(self) -> Usages:
        return Usages(self.processes)

    def __call__(self, setup: Setup) -> Connection:
        """Return a connection for a backend's next instance; it isn't running yet."""
        settings = setup.config
        terms = Terms(settings.protocol, self.identity.info, settings.timeouts.probe, setup.memory)
        if isinstance(settings.transport, config.StdioTransport):
            return self._stdio(setup, settings.transport, terms)
        from onemcp.backend.http import connect_http  # noqa: PLC0415 - httpx and all below it

        return connect_http(
            settings.transport,
            settings.timeouts,
            settings.limits,
            terms,
            on_notification=setup.notification_handler,
            tools=setup.tools,
            credentials=setup.credentials,
            trace=self.trace,
            throttle=Throttle(settings.limits.notifications, setup.tally),
        )

    def _stdio(self, setup: Setup, transport: config.StdioTransport, terms: Terms) -> Connection:
        settings = setup.config
        spec = ProcessSpec(
            transport.command,
            transport.args,
            transport.env,
            None if transport.cwd is None else str(transport.cwd),
            transport.inherit,
            settings.limits.cpu,
            settings.limits.open_files,
        )
        limits = settings.limits
        watch = None if limits.memory is None else MemoryWatch(self._usages, limits.memory)

        def opening() -> AbstractAsyncContextManager[StdioChannel]:
            return open_stdio_channel(
                spec,
                instance=self.instance,
                stop=stop_policy(settings.timeouts),
                limit=limits.message_bytes,
                on_stderr=lambda line: setup.on_event(BackendStderr(settings.name, line)),
            )

        return DuplexConnection(
            lambda: self._traced(self._noted(settings.name, opening(), watch)),
            terms,
            setup.notification_handler,
            DuplexLimits(in_flight=limits.in_flight + BESIDES),
            redactor_for(transport, setup.credentials, self.instance.environ),
            throttle=Throttle(limits.notifications, setup.tally),
            watch=None if watch is None else watch.run,
        )

    @asynccontextmanager
    async def _traced(
        self, opening: AbstractAsyncContextManager[Channel]
    ) -> AsyncIterator[Channel]:
        """Open a channel, and tell what goes over it if somebody wants to know."""
        async with opening as channel:
            yield channel if self.trace is None else TracedChannel(channel, self.trace)

    @asynccontextmanager
    async def _noted(
        self,
        name: str,
        opening: AbstractAsyncContextManager[StdioChannel],
        watch: MemoryWatch | None,
    ) -> AsyncIterator[StdioChannel]:
        """Open a channel, and know of its program for as long as it is open."""
        async with opening as channel:
            self.processes[channel.pid] = name
            if watch is not None:
                watch.pid = channel.pid
            try:
                yield channel
            finally:
                del self.processes[channel.pid]


def stop_policy(timeouts: config.Timeouts) -> StopPolicy:
    """Divide the time that a program may take to stop between asking it and telling it."""
    return StopPolicy(eof=timeouts.stop / 2, terminate=timeouts.stop / 2)


def stop_seconds(timeouts: config.Timeouts) -> float:
    """Return how long it can take, at worst, until a backend is gone."""
    policy = stop_policy(timeouts)
    return policy.eof + policy.terminate + policy.kill + 1.0
