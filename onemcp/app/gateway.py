"""The composition root: one supervision tree, built from a configuration.

::

    onemcp (one_for_one; escalates)
    |-- lag            measures how late tasks are woken
    |-- shedding       turns newcomers away while the machine is short of something
    |-- telemetry (pauses on exhaustion)
    |   `-- otlp       sends metrics and traces, where the configuration says where to
    |-- guardian       ends backend processes should the gateway be killed
    |-- history        keeps what the status page shows of what has been
    |-- control        serves operators on the control socket, where there is one
    `-- gateway (rest_for_one; escalates)
        |-- issuers    fetches the keys of authorization servers elsewhere
        |-- keys       rotates the signing keys, and sees when others do
        |-- grants     sees what other processes revoke
        |-- pins       sees what other processes approve
        |-- backends (one_for_one)
        |   `-- NAME (pauses on exhaustion)
        |       |-- login      keeps its tokens fresh, where it wants any
        |       |-- connection
        |       `-- instances (dynamic): more connections, on demand
        |-- interactions (dynamic): calls that wait for their clients
        |-- sessions (dynamic)
        |-- reload
        `-- frontend (one_for_one)
            `-- http, or stdio

Stopping goes bottom-up: the frontend drains first, the backends and their guardian go last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from onemcp import config
from onemcp.admission import Admission
from onemcp.backend import Identity, StartQueue
from onemcp.backend.places import connect_at
from onemcp.backend.process import Guardian, ProcessInstance
from onemcp.config import Configuration, Reloader
from onemcp.control import Control, Endpoint, Journal
from onemcp.monitor import Monitor
from onemcp.multiplexer import Arrangement, Multiplexer, Parking, TaskIds
from onemcp.protocol.fields import raw
from onemcp.runtime import ControlSocket
from onemcp.supervision import (
    ChildSpec,
    ChildState,
    Strategy,
    Supervisor,
    SupervisorNotRunningError,
    TreeSnapshot,
)
from onemcp.web.status import History

from .access import Access
from .address import NO_OVERRIDES, Overrides
from .backends import Backends
from .building import Builder
from .connecting import Connector
from .door import Operating
from .durable import Durable
from .events import ReloadApplied
from .front import EventHook, OpenFront
from .http import HttpFront
from .identity import NAME, VERSION
from .limits import admission_limits, describe, parking_limits, start_limit
from .listener import origin_for_browsers
from .observing import Observing
from .operating import BackendOperator
from .pinning import Pinboard


class Gateway:
    """Everything, from the sockets to the backends.

    Attributes:
        configuration: What is in force.
        multiplexer: What requests are dispatched to.
        sessions: The sessions of legacy clients.
        reloader: What reads the configuration file, if there is one.
        operator: Who stops, starts and restarts backends.
        control: What operators may ask for.
        starts: Where programs wait for their turns to start.
        tree: The root of the supervision tree.
        monitor: Tells how it is.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        access: Access,
        durable: Durable | None = None,
        path: Path | None = None,
        overrides: Overrides = NO_OVERRIDES,
        on_event: EventHook = lambda _: None,
        open_front: OpenFront | None = None,
        socket: ControlSocket | None = None,
    ) -> None:
        """Put everything together and bind the address; nothing runs yet.

        Args:
            configuration: What to serve.
            access: Who may come in; prepared for the configuration.
            durable: What outlives the process; by default nothing does.
            path: The configuration file to watch, or None.
            overrides: What the command line says about the address.
            on_event: Takes every event.
            open_front: Makes what lets clients in; by default they come over HTTP.
            socket: Where operators come in, if they can; whoever made it closes it.

        Raises:
            OSError: The address can't be listened on.
        """
        durable = durable or Durable.ephemeral()
        self.configuration = configuration
        self.monitor = Monitor(self, VERSION)
        journal, history = Journal(), History(self, self.monitor.meter)
        self._observing = Observing(self, self.monitor, (journal, history, on_event), on_event)
        on_event = self._observing.tell
        self._access = access
        self._on_event = on_event
        identity = Identity(raw({"name": NAME, "version": VERSION}))
        self._instance = ProcessInstance()
        self._pins = Pinboard(durable.pins, on_event)
        self._connector = Connector(self._instance, identity)
        self.starts = StartQueue(start_limit(configuration))
        self._ended = trio.Event()
        self._stopping = False
        self.multiplexer = Multiplexer(
            describe(configuration),
            separator=configuration.naming.separator,
            admission=Admission(admission_limits(configuration)),
            parking=Parking(
                durable.keyring,
                parking_limits(configuration),
                on_event=on_event,
            ),
            tasks=TaskIds(
                durable.keyring,
                ledger=durable.ledger,
                is_listable=configuration.auth.mode != "none" or open_front is not None,
                on_event=on_event,
            ),
            meter=self.monitor.meter,
            on_event=on_event,
        )
        self.multiplexer.arrange(Arrangement.of(configuration))
        self._observing.reconfigure(configuration, self.multiplexer)
        self.reloader = None if path is None else self._reloader(path)
        builder = Builder(
            self._connector,
            self.multiplexer,
            identity,
            durable.logins,
            self._pins.of,
            self.starts,
            self._login_url,
            on_event,
        )
        self._backends = Backends(configuration, self.multiplexer, builder)
        open_front = open_front or partial(
            HttpFront,
            access=access,
            overrides=overrides,
            durable=durable,
            routes=self.monitor.routes,
        )
        self._front = open_front(self.multiplexer, configuration, on_event)
        self.sessions = self._front.sessions
        self._frontend = Supervisor("frontend", [self._front.child()])
        self.operator = BackendOperator(
            self._backends.supervisor,
            self._backends.__getitem__,
            lambda: self.configuration.server.shutdown_grace,
            self._backends.replicas,
        )
        self.control = Control(self, journal, VERSION, path, on_event)
        endpoint = Endpoint(self.control)
        operating = Operating(endpoint, history, access, socket, on_event)
        self.tree = self._tree(operating.children(self._front, self))

    @property
    def url(self) -> str:
        """The address that clients are given."""
        return self._front.url

    @property
    def streams(self) -> int:
        """How many streams of events are open."""
        return self._front.streams

    @property
    def shed(self) -> Mapping[str, int]:
        """How much was refused for limits since the start, by what it was."""
        return {"calls": self.multiplexer.admission.statistics().refused, **self._front.shed}

    @property
    def processes(self) -> Mapping[int, str]:
        """The programs of backends, by process id, and whose they are."""
        return self._connector.processes

    @property
    def is_listening(self) -> bool:
        """Whether clients can come in."""
        children = self._frontend.snapshot().children
        return any(child.state is ChildState.RUNNING for child in children)

    @property
    def is_stopping(self) -> bool:
        """Whether it is being stopped."""
        return self._stopping

    def snapshot(self) -> TreeSnapshot:
        """Return the state of the supervision tree."""
        return self.tree.snapshot()

    def backends_snapshot(self) -> TreeSnapshot:
        """Return the state of the supervisor of the backends."""
        return self._backends.supervisor.snapshot()

    async def run(self, *, task_status: trio.TaskStatus[Gateway]) -> None:
        """Serve until cancelled or shut down.

        Raises:
            RestartIntensityExceeded: Something failed more often than it is restarted.
        """
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.tree.run)
                task_status.started(self)
        finally:
            self._front.close()
            self._ended.set()

    async def respond(self) -> None:
        """Return once every supervisor that all hangs on has answered, or is being stopped."""
        backends = self._backends.supervisor
        for supervisor in (self.tree, self._gateway, backends, self._frontend):
            with contextlib.suppress(SupervisorNotRunningError):
                await supervisor.respond()

    async def stop(self) -> None:
        """Stop in order: let what is in flight end, then stop the backends."""
        self._stopping = self._front.stopping = True
        with contextlib.suppress(SupervisorNotRunningError):
            await self.tree.shutdown()

    async def wait_ended(self) -> None:
        """Wait until everything has stopped."""
        await self._ended.wait()

    # --- the tree ----------------------------------------------------------------------------

    def _tree(self, outermost: list[ChildSpec]) -> Supervisor:
        issuers = partial(self._access.issuers.run, self._on_event)
        grants = partial(self._access.watch, self._on_event)
        children = [
            ChildSpec(id="issuers", start=issuers),
            ChildSpec(id="keys", start=partial(self._access.keys.run, self._on_event)),
            ChildSpec(id="grants", start=grants),
            ChildSpec(id="pins", start=self._pins.run),
            ChildSpec.for_supervisor(self._backends.supervisor),
            ChildSpec.for_supervisor(self.multiplexer.parking.supervisor),
            ChildSpec.for_supervisor(self.sessions.supervisor),
        ]
        if self.reloader is not None:
            children.append(ChildSpec(id="reload", start=self.reloader.run))
        children.append(ChildSpec.for_supervisor(self._frontend))
        self._gateway = Supervisor("gateway", children, strategy=Strategy.REST_FOR_ONE)
        guardian = Guardian(self._instance)
        return Supervisor(
            NAME,
            [
                *self._observing.children(),
                ChildSpec(id="guardian", start=guardian.run),
                *outermost,
                ChildSpec.for_supervisor(self._gateway),
            ],
            on_event=self._on_event,
        )

    def _login_url(self, backend: str) -> str | None:
        origin = origin_for_browsers(self.configuration.server.public_url or self.url)
        return None if origin is None else connect_at(origin, backend)

    # --- reload ------------------------------------------------------------------------------

    def _reloader(self, path: Path) -> Reloader:
        return Reloader(path, self.configuration, self.apply, report=self._on_event)

    async def apply(self, new: Configuration) -> bool:
        """Put a new configuration in force, touching only what differs.

        Backends that have changed are replaced once the new ones are up, and drained; those that
        don't come up stay as they were.

        Returns:
            Whether all of it is in force; what isn't is tried again at the next reload.

        Raises:
            ConfigurationError: It can't be put in force, and nothing was changed.
        """
        if self._stopping:
            return True
        await self._front.prepare(new)
        old, self.configuration = self.configuration, new
        gone = self._backends.gone(new)
        self.monitor.meter.forget(gone)
        self.multiplexer.arrange(Arrangement.of(new))  # before anything new can be seen
        self._front.recheck()
        self.control.journal.keep_only(set(self._backends) - set(gone))
        report = await self._backends.move(new, old.server.shutdown_grace)
        self._reconfigure(new)
        self._on_event(ReloadApplied(new, report, config.differences(old, new)))
        return await self._front.move(new, self._frontend.reconfigure) and report.ok

    def _reconfigure(self, new: Configuration) -> None:
        self.multiplexer.reconfigure(
            describe(new), separator=new.naming.separator, limits=admission_limits(new)
        )
        self.multiplexer.parking.limits = parking_limits(new)
        self.starts.limit = start_limit(new)
        self._observing.reconfigure(new, self.multiplexer)
        self._front.reconfigure(new)
