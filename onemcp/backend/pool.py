"""The instances of one backend, and which call goes where.

Theory of operation: the first instance, the *primary*, comes and goes with the backend. Where a
legacy backend asks questions on a channel that doesn't tell whose they are, :mod:`.spares` are
started on demand. One rule says which call may use which instance: an instance is open to every
call unless one call *leases* it. A call that is known to ask leases an idle instance when it
begins; any other leases the one it is on with its first question, until it is over (also while it
is parked). So a question can belong to one call alone. What turns out to be ambiguous all the same
is refused, and its suspects are known to ask from then on.

The last instance that is open is never leased: calls that ask nothing don't wait for people. They
take the primary if it is open, else another open instance, else a new one; where no more can be
started they share what there is, which is safe, because an ambiguous question is refused.

Who uses what is decided synchronously, by `_choose`, whenever something changes: a call comes or
ends, an instance comes or ends. Who finds none waits in a queue, in its own task, which also starts
an instance where one more is needed; whoever is first in the queue gets what becomes free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs
import trio

from onemcp import config
from onemcp.protocol import tasks
from onemcp.protocol.errors import BackendUnavailable, Overloaded, ProtocolError
from onemcp.protocol.fields import Fields
from onemcp.protocol.methods import TASK_STATUS
from onemcp.protocol.revisions import Era
from onemcp.supervision import DynamicSupervisor

from .breaker import Breaker
from .call import Call, Caller
from .connection import Connection, ConnectionLost, ServerDescription
from .events import BackendEvent, InteractiveFound, QuestionOfNobody
from .exchange import Exchange
from .instance import Instance
from .interactivity import Interactivity
from .spares import Spares
from .starting import StartQueue


@attrs.define(eq=False)
class _Waiter:
    """A call that waits for an instance.

    Attributes:
        call: The call.
        leases: Whether it needs one to itself.
        instance: What it has got.
        error: Why it gets none.
        news: Set when it is worth looking again.
    """

    call: Call
    leases: bool
    instance: Instance | None = None
    error: ProtocolError | None = None
    news: trio.Event = attrs.field(factory=trio.Event)

    def fail(self, error: ProtocolError) -> None:
        """Let it wait no longer."""
        self.error = error
        self.news.set()


class Pool:
    """The instances of one backend.

    Attributes:
        interactivity: What is known of calls that ask.
        breaker: Tells whether calls go through at all.
    """

    def __init__(
        self,
        settings: config.Backend,
        connect: Callable[[], Connection],
        caller: Caller,
        *,
        shutdown: float,
        on_event: Callable[[BackendEvent], object],
        starts: StartQueue | None = None,
    ) -> None:
        """Begin without any.

        Args:
            settings: How the backend is configured.
            connect: Makes a connection for an instance other than the primary.
            caller: Onemcp as a client.
            shutdown: How long an instance may take to stop, in seconds.
            starts: Where starts of instances wait for their turns; by default they don't wait.
            on_event: Takes what happens.
        """
        self.interactivity = Interactivity(settings.interactive)
        self._settings = settings
        self._bounds = settings.instances
        self._caller = caller
        self._on_event = on_event
        self._primary: Instance | None = None
        self.breaker = Breaker(
            settings.name, settings.breaker, on_event, patience=settings.timeouts.call
        )
        self._spares = Spares(
            settings,
            connect,
            caller,
            self,
            breaker=self.breaker,
            shutdown=shutdown,
            starts=starts or StartQueue(),
            on_event=on_event,
        )
        self._queue: list[_Waiter] = []
        self._unused = trio.Event()

    # --- what there is -----------------------------------------------------------------------

    @property
    def supervisor(self) -> DynamicSupervisor:
        """Where all instances but the primary live; the caller runs it."""
        return self._spares.supervisor

    @property
    def primary(self) -> Instance | None:
        """The first instance, unless it is lost already and about to say why."""
        primary = self._primary
        return primary if primary is not None and primary.is_live else None

    @property
    def in_flight(self) -> int:
        """How many calls of clients wait for an answer."""
        used = 0 if self._primary is None else self._primary.in_flight
        return used + sum(each.in_flight for each in self._spares) if self._spares else used

    @property
    def waiting(self) -> int:
        """How many calls wait for an instance."""
        return len(self._queue)

    def __len__(self) -> int:
        """Count the instances, with those that start or end, and the primary."""
        return 1 + len(self._spares)

    def __iter__(self) -> Iterator[Instance]:
        if self._primary is not None:
            yield self._primary
        yield from self._spares

    def __repr__(self) -> str:
        name, leases = self._settings.name, self._leases
        return f"<Pool of {name!r}: {len(self)}, {leases} leased, {self.waiting} waiting>"

    def carrier_of(self, exchange: Exchange) -> Instance | None:
        """Return the instance that carries a call in flight."""
        return next((each for each in self if each.carries(exchange)), None)

    def begin(self, connection: Connection, server: ServerDescription) -> None:
        """Take calls on a connection of the primary that is up."""
        self.set_primary(
            Instance(
                self._settings,
                connection,
                server,
                self._caller,
                self,
                breaker=self.breaker,
                is_primary=True,
            )
        )

    def set_primary(self, instance: Instance | None) -> None:
        """Take note that the primary has come, or gone."""
        self._primary = instance
        if instance is not None:
            self._spares.revision = instance.server.revision
        self.changed()

    def roots_changed(self, owner: Hashable) -> None:
        """Tell the instances that serve a client that its roots have changed."""
        for instance in self:
            if instance.is_live and instance.serves(owner):
                instance.tell_roots_changed()

    def task_status(self, owner: Hashable, params: Fields) -> None:
        """Tell the instance that has asked a client for a task what has become of it."""
        for instance in self:
            known = instance.connection.inbound.client_tasks.status(owner, params)
            if known is not None and instance.is_live:
                instance.connection.notify(TASK_STATUS, known)

    async def wait_unused(self) -> None:
        """Wait until no call is in flight."""
        while self.in_flight:
            self._unused = trio.Event()
            await self._unused.wait()

    def fail_calls(self, reason: str) -> None:
        """Fail the calls in flight, because there is no time left to wait for them."""
        for instance in list(self):
            instance.connection.inbound.fail_all(ConnectionLost(reason))

    def turn_away(self, error: ProtocolError) -> None:
        """Fail the calls that wait for an instance."""
        for waiter in self._queue:
            waiter.fail(error)

    def close(self, reason: str) -> None:
        """End all instances but the primary, and with them their calls."""
        self.turn_away(BackendUnavailable(f"backend {self._settings.name!r} is down: {reason}"))
        self._spares.close(reason)

    # --- who uses what -----------------------------------------------------------------------

    def is_to_lease(self, call: Call) -> bool:
        """Tell whether a call gets an instance to itself."""
        primary = self._primary
        if primary is None or primary.server.era is Era.MODERN or self._bounds.max == 1:
            return False
        is_shared = primary.connection.is_shared
        return self.interactivity.expects(call, is_shared=is_shared) and not _is_about_task(call)

    async def acquire(self, call: Call, *, leases: bool) -> Instance:
        """Return an instance for a call, waiting for it where it has to.

        Args:
            call: The call.
            leases: Whether the instance is for it alone; then it is given back with `release`,
                or by the end of the call.

        Raises:
            BackendUnavailable: One could not be started.
            Overloaded: Too many calls wait for one, or this one has waited for too long.
        """
        instance = self.acquire_nowait(call, leases=leases)
        return instance or await self._wait(call, leases=leases)

    def acquire_nowait(self, call: Call, *, leases: bool) -> Instance | None:
        """Return an instance for a call, None where it would have to wait; as for `acquire`."""
        instance = self.primary if _is_about_task(call) else None
        if instance is not None:
            return instance
        if leases and any(waiter.leases for waiter in self._queue):
            return None
        return self._choose(call, leases=leases)

    def _choose(self, call: Call, *, leases: bool) -> Instance | None:
        """Return an instance that a call can use now; if it needs one to itself, it leases it."""
        owner = call.caller.owner
        if not leases:
            return self._choose_open(owner)
        idle = [each for each in self if each.is_idle_for(owner)] if self._may_lease() else ()
        if not idle:
            return None
        # What was used last goes first, so that what isn't needed any more ends.
        chosen = min(
            idle,
            key=lambda each: (each.last_owner != owner, not each.is_primary, -each.idle_since),
        )
        chosen.lease = call
        return chosen

    def _choose_open(self, owner: Hashable) -> Instance | None:
        primary = self._primary
        if primary is not None and primary.is_open:
            return primary
        found = [each for each in self._spares if each.is_open]
        if found:
            return min(found, key=lambda each: (each.last_owner != owner, -each.in_flight))
        return None if self._spares.starting or self._spares.can_grow else self.primary

    @property
    def _leases(self) -> int:
        return sum(instance.lease is not None for instance in self)

    def _may_lease(self) -> bool:
        """Tell whether one instance at least stays open, or can be started."""
        return self._leases < self._bounds.max - 1

    def _is_short(self) -> bool:
        """Tell whether more calls wait for a new instance than are being started."""
        alone = sum(waiter.leases for waiter in self._queue)
        alone = min(alone, self._bounds.max - 1 - self._leases)
        together = any(not waiter.leases for waiter in self._queue)
        return self._spares.starting < alone + together and self._spares.can_grow

    # --- the queue ---------------------------------------------------------------------------

    async def _wait(self, call: Call, *, leases: bool) -> Instance:
        """Wait in the queue.

        Raises:
            BackendUnavailable: An instance could not be started.
            Overloaded: The queue is full, or that took too long.
        """
        if leases and sum(waiter.leases for waiter in self._queue) >= self._bounds.queue:
            queue = self._bounds.queue
            raise self._overloaded(f"{queue} calls wait for an instance of their own, the limit")
        waiter = _Waiter(call, leases)
        self._queue.append(waiter)
        try:
            return await self._served(waiter)
        except BaseException:
            if waiter.instance is not None:
                waiter.instance.release(call)
            raise
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)

    async def _served(self, waiter: _Waiter) -> Instance:
        until = trio.current_time() + self._bounds.wait
        while waiter.instance is None:
            if waiter.error is not None:
                raise waiter.error
            if trio.current_time() >= until:
                raise self._overloaded(f"no instance came free within {self._bounds.wait:g} s")
            if self._is_short():
                await self._spares.start()
                continue
            with trio.move_on_at(min(until, self._changes_at())):
                await waiter.news.wait()
            waiter.news = trio.Event()
            if waiter.instance is None:
                self._assign()
        return waiter.instance

    def _overloaded(self, what: str) -> Overloaded:
        used = f"{self._leases} of at most {self._bounds.max} are used by one call each"
        failure = self._spares.failure
        failed = f", and no other one could be started: {failure}" if failure else ""
        return Overloaded(f"backend {self._settings.name!r}: {what} ({used}{failed})")

    def _changes_at(self) -> float:
        """When something becomes possible by the mere passing of time, by Trio's clock."""
        now = trio.current_time()
        times = [self._spares.again_at]
        times.extend(each.connection.inbound.settles_at for each in self)
        return min((at for at in times if at > now), default=math.inf)

    def _assign(self) -> None:
        """Give what is free to those who wait, in their order."""
        for waiter in list(self._queue):
            waiter.instance = self._choose(waiter.call, leases=waiter.leases)
            if waiter.instance is not None:
                self._queue.remove(waiter)
                waiter.news.set()

    # --- what instances tell -----------------------------------------------------------------

    def changed(self) -> None:
        """Take note that something may be free, or that there is room for one more instance."""
        if not self.in_flight:
            self._unused.set()
        self._assign()
        if self._queue:
            self._queue[0].news.set()

    def freed(self, instance: Instance) -> None:
        """Take note that a call on an instance is over."""
        if self._queue or not instance.in_flight:
            self.changed()

    def failed(self, reason: str) -> None:
        """Tell whoever has waited longest for an instance of its own that it can't be had."""
        for waiter in self._queue:
            if waiter.leases and waiter.error is None:
                waiter.fail(
                    BackendUnavailable(
                        f"backend {self._settings.name!r}: this call needs an instance of its "
                        f"own, which could not be started: {reason}; "
                        'where there can be no second one, set "instances": {"max": 1}'
                    )
                )
                return

    def asked(
        self, instance: Instance, exchange: Exchange | None, suspects: Sequence[Exchange]
    ) -> None:
        """Take note of a question on a shared channel; who asks leases the instance."""
        for method, name in self.interactivity.learn(each.call for each in suspects):
            certain = exchange is not None
            self._on_event(InteractiveFound(self._settings.name, method, name, certain=certain))
        if self._settings.interactive is False or exchange is None:
            return
        if instance.is_open and self._may_lease():
            instance.lease = exchange

    def unheard(self, method: str, suspects: Sequence[Exchange]) -> None:
        """Tell of a question that belongs to no one client, and is refused."""
        clients = len({each.call.caller.owner for each in suspects})
        self._on_event(QuestionOfNobody(self._settings.name, method, clients))

    def unasked(self, call: Call) -> None:
        """Take note that a call is over that has leased an instance, and asked nothing."""
        self.interactivity.clear(call)


def _is_about_task(call: Call) -> bool:
    """Tell whether a call makes a task of 2025-11-25, or names one.

    Tasks live on the primary alone, whoever leases it: what belongs to one says so.
    """
    return call.method in tasks.METHODS or tasks.TASK in call.params or call.task is not None
