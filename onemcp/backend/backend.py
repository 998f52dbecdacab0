"""One backend: what lasts of it while processes and connections come and go.

Theory of operation: `serve` is one incarnation, run by the backend's own supervisor: it connects,
fetches what the backend lists, and keeps that current until the connection ends; then it raises,
and the supervisor decides when to try again. The :class:`Backend` outlives its incarnations: it
keeps the last known lists, so that names do not vanish while a program restarts, and lets calls
wait for the next incarnation within their own deadlines.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

import attrs
import trio

from onemcp import config
from onemcp.pinning import Pins
from onemcp.protocol.errors import Overloaded
from onemcp.protocol.fields import Fields
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import (
    PROGRESS,
    RESOURCE_UPDATED,
    TASK_CHANGED,
    TASK_STATUS,
    Catalogue,
)

from .breaker import Breaker
from .call import Call, Caller
from .catalogue import Listings
from .connection import (
    BESIDES,
    Connection,
    ConnectionLost,
    HandshakeFailed,
    LoginRequired,
    ServerDescription,
    first_loss,
)
from .errands import Errands
from .events import BackendDown, BackendEvent, BackendReady
from .exchange import Exchange
from .handshake import EraMemory
from .keeping import Keeper
from .lasting import run_measured
from .pool import Pool
from .probe import probe
from .setup import SHUTDOWN, BackendObserver, Connect, Identity, Setup
from .standing import Standing, Stands
from .starting import Starter, StartQueue, Turn
from .throttle import Tally
from .upstream import Upstream

if TYPE_CHECKING:
    from .oauth import Credentials

_ANNOUNCED: Final = frozenset({RESOURCE_UPDATED, TASK_CHANGED, TASK_STATUS, PROGRESS})

LOGIN_PAUSE: Final = 600.0
"""How long a backend that wants a login is left alone, in seconds, if not for longer."""


class Backend(Stands):
    """One configured backend.

    Attributes:
        config: How it is configured.
        server: What it said about itself last, or None before the first handshake.
        standing: Whether it takes calls.
        upstream: What is subscribed to at it.
        errands: What it is asked on nobody's behalf.
        pool: Its instances.
        starter: Starts its first instance.
        pins: What was approved of its tools and prompts, if that is known.
    """

    def __init__(
        self,
        config: config.Backend,
        *,
        connect: Connect,
        observer: BackendObserver,
        identity: Identity,
        on_event: Callable[[BackendEvent], object],
        credentials: Credentials | None = None,
        shutdown: float = SHUTDOWN,
        starts: StartQueue | None = None,
        pins: Pins | None = None,
    ) -> None:
        """Describe a backend; `serve` brings it up.

        Args:
            config: How it is configured.
            connect: Makes its connections.
            observer: Whom to tell of changes.
            identity: Who onemcp is towards it.
            on_event: Takes what happens.
            credentials: How onemcp logs in at it, if it does.
            shutdown: How long an instance of it may take to stop, in seconds.
            starts: Where its starts wait for their turns; by default they don't wait.
            pins: What was approved of its tools and prompts.
        """
        self.config = config
        self.server: ServerDescription | None = None
        self.standing = Standing(config.name)
        self.upstream = Upstream(identity.caller, self._on_notification)
        self.errands = Errands()
        self.pins = pins
        self._on_event = on_event
        self._connect = connect
        self._observer = observer
        self._caller = identity.caller
        self._keeper = Keeper(
            config,
            identity.caller,
            hears_of=self.upstream.hears_of,
            on_fetched=self._on_fetched,
            on_event=on_event,
            pins=pins,
        )
        self._credentials = credentials
        self.starter = Starter(starts or StartQueue(), required=config.required)
        self._setup = Setup(
            config, EraMemory(), self._on_notification, self._keeper, on_event, credentials
        )
        self.pool = Pool(
            config,
            self._connect_more,
            identity.caller,
            shutdown=shutdown,
            starts=self.starter.queue,
            on_event=on_event,
        )

    @property
    def name(self) -> str:
        """The backend's key in the configuration."""
        return self.config.name

    @property
    def tally(self) -> Tally:
        """What has become of its notifications."""
        return self._setup.tally

    @property
    def listings(self) -> Listings:
        """What the backend listed last."""
        return self._keeper.listings

    def replica(self, key: str) -> Backend | None:
        """Return the replica that has a key; without a key, it itself."""
        return None if key else self

    def why_withheld(self, catalogue: Catalogue, name: str) -> str | None:
        """Tell why something that it lists is kept from clients; None for what isn't."""
        return self._keeper.why_withheld(catalogue, name)

    @property
    def is_up(self) -> bool:
        """Whether the backend is connected to and its lists are known."""
        return self.pool.primary is not None

    @property
    def breaker(self) -> Breaker:
        """Lets calls through, or refuses them for now."""
        return self.pool.breaker

    @property
    def in_flight(self) -> int:
        """How many calls of clients wait for an answer of this backend."""
        return self.pool.in_flight

    @property
    def calls(self) -> Iterator[Exchange]:
        """The calls of clients that wait for an answer of this backend."""
        return chain.from_iterable(instance.calls for instance in self.pool)

    @property
    def waiting(self) -> int:
        """How many calls wait for an instance of it."""
        return self.pool.waiting

    @property
    def instances(self) -> int:
        """How many instances of it there are, with those that start or end."""
        return len(self.pool)

    # --- calls -------------------------------------------------------------------------------

    async def open(self, call: Call) -> Exchange:
        """Send a call, waiting for the backend to come up where it is starting.

        Raises:
            BackendUnavailable: The backend is down and not being restarted.
            CircuitOpen: It has failed too often of late.
            Overloaded: Too many calls are in flight, or wait for an instance of their own.
            Replaced: Another backend has taken its place.
            ShuttingDown: The backend is being removed.
            InvalidParams: ``_meta`` is malformed.
        """
        pool = self.pool
        while True:
            if not self._admits_now(call):
                with self._wanted():
                    await self.standing.change()
                continue
            leases = pool.is_to_lease(call)
            instance = await pool.acquire(call, leases=leases)
            if not instance.is_live:
                instance.release(call)  # it was lost just now
            elif leases:
                return await instance.open_leased(call)
            elif instance.needs_level(call.caller):
                await instance.lower_level(call.caller)
            else:
                return instance.open(call)

    def open_nowait(self, call: Call) -> Exchange:
        """Send a call that nothing has to be waited for, as is nearly always so.

        Raises:
            trio.WouldBlock: Something has to be: the backend, an instance or a log level.
            ProtocolError: As for `open`.
        """
        if not self._admits_now(call) or self.pool.is_to_lease(call):
            raise trio.WouldBlock
        instance = self.pool.acquire_nowait(call, leases=False)
        if instance is None or instance.needs_level(call.caller):
            raise trio.WouldBlock
        return instance.open(call)

    def _admits_now(self, call: Call) -> bool:  # noqa: ARG002 - it may matter which one
        """Tell whether a call can be taken by now; False where the backend may come up yet.

        Raises:
            ProtocolError: As for `open`.
        """
        pool, limit = self.pool, self.config.limits.in_flight
        is_admitting = self.standing.admits(is_up=pool.primary is not None)
        if not pool.breaker.is_closed:
            pool.breaker.check()  # there is nothing to wait for, be it up or not
        if not is_admitting:
            return False
        if pool.in_flight + pool.waiting >= limit + BESIDES:
            raise Overloaded(f"backend {self.name!r} has more than {limit} calls in flight")
        return True

    def give_up(self) -> None:
        """Take note that the supervisor has stopped trying: calls fail, names vanish."""
        self._forget_lists()
        self.standing.give_up()
        self.pool.close(self.failure or "it was given up")
        self._observer.changed(self)

    def _forget_lists(self) -> None:
        self._keeper.forget()

    async def drain(self) -> None:
        """Take no new calls, and wait for those in flight on all instances."""
        self.standing.drain()
        self.pool.turn_away(self.standing.leaving)
        await self.pool.wait_unused()

    async def quiesce(self, grace: float, *, stays_down: bool) -> None:
        """Let calls in flight end, because an operator is about to stop it.

        Args:
            grace: How long they get, in seconds.
            stays_down: Whether new calls fail; otherwise they wait for its next incarnation.
        """
        self.standing.quiesce(stays_down=stays_down)
        if stays_down:
            self.pool.turn_away(self.standing.stopped)
        with trio.move_on_after(grace):
            await self.pool.wait_unused()

    def reset(self) -> None:
        """Close its circuit breaker, and forget the failures that it has counted."""
        self.breaker.reset()

    def renew(self) -> None:
        """Take note that an operator starts it anew: what became of it before is of no matter."""
        self.reset()
        self.starter.forget()
        self.standing.renew()

    def adopt(self, other: Backend) -> None:
        """Take over what clients want of a backend that this one replaces, and what was learned.

        Calls that still wait for the other one are told to go on here.
        """
        other.standing.give_way(self)
        self.upstream.adopt(other.upstream)
        self.pool.interactivity.adopt(other.pool.interactivity)

    def abandon(self, reason: str) -> None:
        """Fail the calls in flight, because there is no time left to wait for them."""
        self.pool.fail_calls(reason)

    def __repr__(self) -> str:
        state = "up" if self.is_up else "given up" if self.standing.is_given_up else "connecting"
        return f"<Backend {self.name!r} {state}>"

    async def heed(self, exchange: Exchange, caller: Caller) -> None:
        """Take note that a call in flight is another request's from now on, and send its logs."""
        instance = self.pool.carrier_of(exchange)
        if instance is None:
            return
        instance.last_owner = caller.owner
        if instance.needs_level(caller):
            await instance.lower_level(caller)

    def roots_changed(self, owner: Hashable) -> None:
        """Tell the instances that serve a client that its roots have changed."""
        self.pool.roots_changed(owner)

    def task_status(self, owner: Hashable, params: Fields) -> None:
        """Tell the instance that has asked a client for a task what has become of it."""
        self.pool.task_status(owner, params)

    # --- one incarnation ---------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected until the connection ends.

        Acknowledges first and connects afterwards: a backend that doesn't start is its own
        failure, never that of the gateway. One that wants a login is left alone for a while, or
        until there is one.

        Raises:
            ConnectionLost: The connection ended or could not be made.
        """
        task_status.started()
        credentials = self._credentials
        version = 0 if credentials is None else credentials.version
        while isinstance(reason := await self._incarnate(), LoginRequired):
            self.give_up()
            with trio.move_on_after(max(LOGIN_PAUSE, self.config.restart.cooldown)):
                if credentials is None:
                    await trio.sleep_forever()
                else:
                    await credentials.wait_newer(version)
            version = 0 if credentials is None else credentials.version
        raise reason

    async def _incarnate(self) -> ConnectionLost:
        """Be connected until the connection ends, and return why it has."""
        self.standing.begin()
        reason: ConnectionLost | None = None
        try:
            async with self.starter.turn() as turn:
                await self._serve(turn)
        except* ConnectionLost as group:
            reason = first_loss(group)
        finally:
            self._down(reason)
        return reason or ConnectionLost("it ended")

    async def _serve(self, turn: Turn) -> None:
        connection = self._connect(self._setup)
        self._keeper.begin()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn.expire)
            with trio.move_on_after(self.config.timeouts.start) as patience:
                server = await nursery.start(run_measured, connection, self.config, self._on_event)
                self.server = server
                await nursery.start(self.upstream.keep, connection, server)
                await self._keeper.fetch(connection, server)
            if patience.cancelled_caught:
                raise HandshakeFailed.too_slow(connection, self.config.timeouts.start)
            if connection.server is None:
                await trio.sleep_forever()  # it was lost meanwhile: its task is about to say why
            turn.came_up()
            self._come_up(connection, server, turn.up - turn.began)
            nursery.start_soon(self._keeper.keep_current, connection, server)
            nursery.start_soon(probe, connection, server, self._caller, self.config.timeouts.idle)
            nursery.start_soon(self.errands.run, connection)

    def _come_up(self, connection: Connection, server: ServerDescription, seconds: float) -> None:
        self.pool.begin(connection, server)
        self.standing.come_up()
        counts = {kind.key: len(listing.items) for kind, listing in self.listings.items()}
        self._on_event(BackendReady(self.name, server.revision, counts, seconds))
        self._observer.changed(self)

    def _down(self, reason: ConnectionLost | None) -> None:
        self.pool.set_primary(None)
        if reason is None:
            self._keeper.end()
        if reason is not None:
            self.standing.go_down(reason.reason, needs_login=isinstance(reason, LoginRequired))
            self._on_event(BackendDown(self.name, reason.reason, reason.detail))
        self.standing.signal()
        self._observer.changed(self)

    def _on_fetched(self, catalogue: Catalogue, has_changed: bool) -> None:  # noqa: FBT001
        self._observer.changed(self)
        if has_changed:
            self._observer.announced(self, Notification(catalogue.changed))

    def _on_notification(self, note: Notification) -> None:
        self._keeper.announced(note.method)
        if note.method in _ANNOUNCED:
            self._observer.announced(self, note)

    def _connect_more(self) -> Connection:
        """Make a connection for an instance beside the primary.

        What it announces is heard, for it may be about what all instances share.
        """
        memory = copy.copy(self._setup.memory)
        return self._connect(attrs.evolve(self._setup, memory=memory))
