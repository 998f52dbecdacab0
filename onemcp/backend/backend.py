"""One backend: what lasts of it while processes and connections come and go.

Theory of operation: `serve` is one incarnation, run by the backend's own supervisor: it connects,
fetches what the backend lists, and keeps that current until the connection ends; then it raises,
and the supervisor decides when to try again. The :class:`Backend` outlives its incarnations: it
keeps the last known lists, so that names do not vanish while a program restarts, and lets calls
wait for the next incarnation within their own deadlines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs
import trio
from msgspec import Raw

from onemcp import config
from onemcp.protocol.errors import BackendUnavailable, Overloaded, ShuttingDown
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import (
    RESOURCE_UPDATED,
    TASK_CHANGED,
    TASK_STATUS,
    Catalogue,
)

from .attribution import INTERNAL
from .call import Call, Caller
from .catalogue import Listings
from .connection import Connection, ConnectionLost, HandshakeFailed, ServerDescription
from .events import BackendDown, BackendEvent, BackendReady
from .exchange import Exchange
from .handshake import OWN_ABILITIES, EraMemory
from .keeping import Keeper
from .level import LogLevel
from .upstream import Upstream

_ANNOUNCED: Final = frozenset({RESOURCE_UPDATED, TASK_CHANGED, TASK_STATUS})


class BackendObserver(Protocol):
    """What the multiplexer wants to hear of a backend. Called synchronously; must not block."""

    def changed(self, backend: Backend) -> None:
        """Take note that lists, capabilities or the state have changed."""

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Take note of a changed list, resource or task, for those who subscribed."""


class Connect(Protocol):
    """Makes a connection for the next incarnation of a backend."""

    def __call__(self, backend: Backend) -> Connection:
        """Return a connection that is not running yet."""


@attrs.frozen
class Identity:
    """Who onemcp is towards backends.

    Attributes:
        info: Its name and version, undecoded.
    """

    info: Raw

    @property
    def caller(self) -> Caller:
        """Onemcp as a client."""
        return Caller(INTERNAL, INTERNAL, capabilities=OWN_ABILITIES, client_info=self.info)


class Backend:
    """One configured backend.

    Attributes:
        config: How it is configured.
        server: What it said about itself last, or None before the first handshake.
        memory: Which era it speaks, as far as known.
        failure: Why it is not connected, or None.
        upstream: What is subscribed to at it.
    """

    def __init__(
        self,
        config: config.Backend,
        *,
        connect: Connect,
        observer: BackendObserver,
        identity: Identity,
        on_event: Callable[[BackendEvent], object],
    ) -> None:
        """Describe a backend; `serve` brings it up."""
        self.config = config
        self.server: ServerDescription | None = None
        self.memory = EraMemory()
        self.failure: str | None = None
        self.upstream = Upstream(identity.caller, self._on_notification)
        self.on_event = on_event
        self._connect = connect
        self._observer = observer
        self._connection: Connection | None = None
        self._up = trio.Event()
        self._given_up = False
        self._draining = False
        self._keeper = Keeper(
            config,
            identity.caller,
            hears_of=self.upstream.hears_of,
            on_fetched=self._on_fetched,
            on_event=on_event,
        )
        self._level = LogLevel(identity.caller)

    @property
    def name(self) -> str:
        """The backend's key in the configuration."""
        return self.config.name

    @property
    def listings(self) -> Listings:
        """What the backend listed last."""
        return self._keeper.listings

    @property
    def is_up(self) -> bool:
        """Whether the backend is connected to and its lists are known."""
        return self._live is not None

    @property
    def in_flight(self) -> int:
        """How many calls of clients wait for an answer of this backend."""
        return 0 if self._connection is None else self._connection.in_flight

    # --- calls -------------------------------------------------------------------------------

    async def open(self, call: Call) -> Exchange:
        """Send a call, waiting for the backend to come up where it is starting.

        Raises:
            BackendUnavailable: The backend is down and not being restarted.
            Overloaded: Too many calls are in flight.
            ShuttingDown: The backend is being removed.
            InvalidParams: ``_meta`` is malformed.
        """
        while True:
            if self._draining:
                raise ShuttingDown(f"backend {self.name!r} is being replaced; try again")
            connection = self._live
            if connection is None:
                self._check_tried()
                await self._up.wait()
                continue
            if connection.in_flight >= self.config.limits.in_flight:
                raise Overloaded(
                    f"backend {self.name!r} has {connection.in_flight} calls in flight, its limit"
                )
            if not self._level.is_too_high(connection, call.caller):
                return self._open(connection, call)
            await self._level.lower(connection, call.caller)

    def _open(self, connection: Connection, call: Call) -> Exchange:
        try:
            exchange = connection.open(call)
        except (BackendUnavailable, Overloaded) as error:
            raise error.about(self.name) from error
        exchange.backend = self.name
        return exchange

    def _check_tried(self) -> None:
        if self._given_up:
            raise BackendUnavailable(f"backend {self.name!r} is down: {self.failure}")

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool are repeated in HTTP headers."""
        return self._keeper.mirrored(tool)

    async def relist_tools(self) -> None:
        """Have the tools listed again, because their definitions seem to have changed."""
        await self._keeper.relist_tools()

    async def wait_ready(self) -> None:
        """Wait until the backend is up, unless the supervisor gives up before.

        Raises:
            BackendUnavailable: It has been given up.
        """
        while self._live is None:
            self._check_tried()
            await self._up.wait()

    def give_up(self) -> None:
        """Take note that the supervisor has stopped trying: calls fail, names vanish."""
        self._given_up = True
        self._keeper.forget()
        self._signal_up()
        self._observer.changed(self)

    async def drain(self) -> None:
        """Take no new calls, and wait for those in flight."""
        self._draining = True
        self._signal_up()
        # Draining is too rare for the hot path to tell when the last exchange has ended.
        while self.in_flight:  # noqa: ASYNC110
            await trio.sleep(DRAIN_POLL)

    def abandon(self, reason: str) -> None:
        """Fail the calls in flight, because there is no time left to wait for them."""
        if self._connection is not None:
            self._connection.fail_all(ConnectionLost(reason))

    def __repr__(self) -> str:
        state = "up" if self.is_up else "given up" if self._given_up else "connecting"
        return f"<Backend {self.name!r} {state}>"

    @property
    def _live(self) -> Connection | None:
        """The connection, unless it is lost already and about to say why."""
        connection = self._connection
        return None if connection is None or connection.server is None else connection

    async def heed(self, caller: Caller) -> None:
        """Have the log messages sent that a caller wants of a call in flight."""
        connection = self._live
        if connection is not None and self._level.is_too_high(connection, caller):
            await self._level.lower(connection, caller)

    # --- one incarnation ---------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected until the connection ends.

        Acknowledges first and connects afterwards: a backend that doesn't start is its own
        failure, never that of the gateway.

        Raises:
            ConnectionLost: The connection ended or could not be made.
        """
        self._given_up = False
        task_status.started()
        started = trio.current_time()
        reason: ConnectionLost | None = None
        try:
            await self._serve(started)
        except* ConnectionLost as group:
            reason = _first(group)
        finally:
            self._down(reason)
        raise reason or ConnectionLost("it ended")

    async def _serve(self, started: float) -> None:
        connection = self._connect(self)
        self._keeper.begin()
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(self.config.timeouts.start) as patience:
                server = await nursery.start(connection.run)
                self.server = server
                self._level.forget()
                await nursery.start(self.upstream.keep, connection, server)
                await self._keeper.fetch(connection, server)
            if patience.cancelled_caught:
                said = getattr(connection, "last_violation", None)
                raise HandshakeFailed(
                    f"it was not ready within {self.config.timeouts.start:g} s"
                    + (f"; {said}" if said else "")
                    + '; raise "timeouts.start" if it needs longer'
                )
            if connection.server is None:
                await trio.sleep_forever()  # it was lost meanwhile: its task is about to say why
            self._come_up(connection, server, trio.current_time() - started)
            nursery.start_soon(self._keeper.keep_current, connection, server)

    def _come_up(self, connection: Connection, server: ServerDescription, seconds: float) -> None:
        self._connection, self.failure = connection, None
        self._signal_up()
        counts = {kind.key: len(listing.items) for kind, listing in self.listings.items()}
        self.on_event(BackendReady(self.name, server.revision, counts, seconds))
        self._observer.changed(self)

    def _down(self, reason: ConnectionLost | None) -> None:
        self._connection = None
        if reason is not None:
            self.failure = reason.reason
            self.on_event(BackendDown(self.name, reason.reason, reason.detail))
        self._observer.changed(self)

    def _signal_up(self) -> None:
        self._up.set()
        self._up = trio.Event()

    def _on_fetched(self, catalogue: Catalogue, has_changed: bool) -> None:  # noqa: FBT001
        self._observer.changed(self)
        if has_changed:
            self._observer.announced(self, Notification(catalogue.changed))

    def _on_notification(self, note: Notification) -> None:
        self._keeper.announced(note.method)
        if note.method in _ANNOUNCED:
            self._observer.announced(self, note)

    @property
    def notification_handler(self) -> Callable[[Notification], None]:
        """What a connection hands the notifications to that belong to no exchange."""
        return self._on_notification


DRAIN_POLL: Final = 0.02
"""How often a backend that is drained is looked at, in seconds."""


def _first(group: BaseExceptionGroup[ConnectionLost]) -> ConnectionLost:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ConnectionLost)  # noqa: S101 - what the group was split by
    return error
