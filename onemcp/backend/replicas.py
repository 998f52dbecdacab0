"""A backend of which there are several, any of which can take a call.

Theory of operation: each replica is a :class:`Backend` of its own, with everything that a backend
has: connections, lists, a circuit breaker, restarts. A :class:`ReplicatedBackend` stands for all of
them under the one name, and never connects itself. It takes no calls either: it sends each to a
replica, by `Replaced`, and a replica that can't take a call sends it back. Which one takes a call
is decided synchronously, by `_choose`, when it is about to be sent; what waits, waits here for any
of them. So a call is lost with its replica only once it is in flight, and where it is made again
that is at another one.

The replica with the fewest calls in flight takes a call. Some calls belong to one: what a legacy
client does in a session goes to the same legacy replica for as long as that is up, and what is
asked about a task goes to the replica that has it, whatever it takes. A retry with a state that a
replica has issued goes there as long as that is up, for another one may have another key. All that
is part of a call in flight (questions, leases, parked calls) is at its replica anyhow.

To clients all of them are one: the *leader*, which is the first one that is up, says what is
listed, and goes on leading until it is down. A list has changed where what it says is another one
than before, whatever is announced; what is announced of resources is heard of all, and told once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final, NoReturn

import attrs
import trio

from onemcp import config
from onemcp.pinning import Pins
from onemcp.protocol.fields import Fields
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import (
    PROGRESS,
    RESOURCE_UPDATED,
    TASK_CHANGED,
    TASK_STATUS,
    Catalogue,
)
from onemcp.protocol.revisions import Era

from . import catalogue as catalogues
from .backend import Backend
from .balancing import Balancer
from .breaker import Breaker
from .call import Call
from .catalogue import Listings
from .coalescing import Coalescer
from .events import (
    BackendDown,
    BackendEvent,
    BackendReady,
    BackendStderr,
    BreakerOpened,
    ReplicaDown,
    ReplicaReady,
    ReplicasDiffer,
)
from .everywhere import Everywhere
from .exchange import Exchange
from .replica import Replica, replica_of, state_of
from .setup import BackendObserver, Identity, Setup
from .standing import Standing
from .succession import Replaced
from .throttle import Tally

_OF_TASKS: Final = frozenset({TASK_CHANGED, TASK_STATUS, PROGRESS})


class ReplicatedBackend(Backend):
    """All replicas of a backend.

    Attributes:
        replicas: The replicas, by their keys.
        identity: Who onemcp is towards them.
        updates: The updates of resources that they have announced, on their way to clients.
    """

    def __init__(
        self,
        settings: config.Backend,
        *,
        observer: BackendObserver,
        identity: Identity,
        on_event: Callable[[BackendEvent], object],
        pins: Pins | None = None,
    ) -> None:
        """Begin without any; `add` brings them.

        Args:
            settings: How all of them are configured.
            observer: Whom to tell of changes.
            identity: Who onemcp is towards them.
            on_event: Takes what happens.
            pins: What was approved of their tools and prompts.
        """
        super().__init__(
            settings, connect=_never, observer=observer, identity=identity, on_event=on_event
        )
        self.pins = pins
        self.identity = identity
        self.replicas: dict[str, Replica] = {}
        self.upstream = Everywhere(
            identity.caller,
            lambda: [each.upstream for each in self.replicas.values()],
            lambda: self.leader.upstream,
        )
        self.updates = Coalescer(partial(observer.announced, self))
        self._leader: Replica | None = None
        self._balancer = Balancer()
        self._differing: tuple[str, ...] = ()
        self._told_differing: tuple[str, ...] = ()
        self._is_told_up: bool | None = None

    # --- which there are ---------------------------------------------------------------------

    def add(self, replica: Replica) -> None:
        """Let one more take calls once it is up, or one take the place of that with its key."""
        old = self.replicas.get(replica.key)
        self.replicas[replica.key] = replica
        if old is None:
            replica.upstream.adopt(self.upstream)
        else:
            replica.adopt(old)
        self.changed(replica)

    def remove(self, key: str) -> Replica:
        """Let one take no more calls, and return it; what waits for it goes to the others."""
        replica = self.replicas.pop(key)
        replica.standing.give_way(self)
        self.changed(replica)
        return replica

    def replica(self, key: str) -> Backend | None:
        """Return the replica that has a key; without a key, all of them."""
        return self.replicas.get(key) if key else self

    # --- what they are together --------------------------------------------------------------

    @property
    def leader(self) -> Replica:
        """The one that says what is listed."""
        return self._leader or next(iter(self.replicas.values()))

    @property
    def is_up(self) -> bool:
        """Whether one of them is."""
        return any(each.is_up for each in self.replicas.values())

    @property
    def listings(self) -> Listings:
        """What they list."""
        return catalogues.NOTHING if self.standing.is_given_up else self.leader.listings

    def why_withheld(self, catalogue: Catalogue, name: str) -> str | None:
        """Tell why something that is listed is kept from clients; None for what isn't."""
        return self.leader.why_withheld(catalogue, name)

    @property
    def breaker(self) -> Breaker:
        """The breaker that calls meet: that of the replica which lets some through the soonest."""
        best = min(
            self.replicas.values(), key=lambda each: (not each.is_up, each.breaker.retry_in or 0.0)
        )
        return best.breaker

    @property
    def tally(self) -> Tally:
        """What has become of their notifications."""
        total = Tally()
        for each in self.replicas.values():
            total.coalesced.update(each.tally.coalesced)
            total.dropped.update(each.tally.dropped)
        return total

    @property
    def in_flight(self) -> int:
        """How many calls of clients wait for an answer of theirs."""
        return sum(each.in_flight for each in self.replicas.values())

    @property
    def waiting(self) -> int:
        """How many calls wait for an instance of theirs."""
        return sum(each.waiting for each in self.replicas.values())

    @property
    def instances(self) -> int:
        """How many instances of them there are, with those that start or end."""
        return sum(each.instances for each in self.replicas.values())

    # --- calls -------------------------------------------------------------------------------

    async def open(self, call: Call) -> Exchange:
        """Send a call on to a replica, waiting for one to come up where none is.

        Raises:
            Replaced: That is the one, or another backend has taken the place of all.
            BackendUnavailable: None is up, and none being restarted.
            CircuitOpen: All have failed too often of late.
            ShuttingDown: The backend is being removed.
        """
        while True:
            with self._wanted(), trio.move_on_after(self._patience()):
                self._send_on(call)
                await self.standing.change()

    def open_nowait(self, call: Call) -> Exchange:
        """Send a call on to a replica that is up.

        Raises:
            trio.WouldBlock: There is none.
            ProtocolError: As for `open`.
        """
        self._send_on(call)
        raise trio.WouldBlock

    def _send_on(self, call: Call) -> None:
        replica = self._choose(call)
        if replica is not None:
            raise Replaced(replica)

    def _choose(self, call: Call) -> Replica | None:
        """Return the replica that takes a call; None where one may be able to later.

        Raises:
            ProtocolError: As for `open`.
        """
        able = [each for each in self.replicas.values() if each.is_open]
        if self._differing:
            able = [each for each in able if each.offers(call)] or able
        if not able:
            self._check()
            return None
        return self._balancer.choose(able, self._session_of(call))

    def keep_state(self, state: Hashable, replica: Replica) -> None:
        """Take note of which replica has issued a state: others may not be able to read it."""
        self._balancer.keep(state, replica.key)

    def _check(self) -> None:
        """Make sure that some replica may be able to take a call later.

        Raises:
            ProtocolError: As for `open`.
        """
        self.standing.admits(is_up=self.is_up)
        tried = [each for each in self.replicas.values() if not each.standing.is_given_up]
        waits = [each.breaker.retry_in for each in tried]
        if all(wait is not None for wait in waits):
            self.breaker.check()

    def _session_of(self, call: Call) -> Hashable | None:
        """Return what ties a call to others; None for one that stands for itself."""
        if (state := state_of(call.params)) is not None and self._balancer.knows(state):
            return state
        server = self.server
        if not self.config.sticky or server is None or server.era is Era.MODERN:
            return None
        return call.caller.owner if call.caller.era is Era.LEGACY else None

    def _patience(self) -> float:
        """How long until a breaker lets a call through, in seconds."""
        waits = [each.breaker.retry_in for each in self.replicas.values() if each.is_up]
        return min((wait for wait in waits if wait is not None), default=math.inf)

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        with ExitStack() as stack:
            for each in self.replicas.values():
                stack.enter_context(each.starter.wanted())
            yield

    # --- what happens to all -----------------------------------------------------------------

    async def wait_begun(self) -> None:
        """Wait until it was the turn of one of them to start for the first time."""

        async def wait_for(replica: Replica) -> None:
            await replica.wait_begun()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for each in self.replicas.values():
                nursery.start_soon(wait_for, each)

    async def drain(self) -> None:
        """Take no new calls, and wait for those in flight."""
        self.standing.drain()
        async with trio.open_nursery() as nursery:
            for each in self.replicas.values():
                nursery.start_soon(each.drain)

    async def quiesce(self, grace: float, *, stays_down: bool) -> None:
        """Let calls in flight end; see `Backend.quiesce`."""
        self.standing.quiesce(stays_down=stays_down)
        async with trio.open_nursery() as nursery:
            for each in self.replicas.values():
                nursery.start_soon(partial(each.quiesce, grace, stays_down=stays_down))

    def give_up(self) -> None:
        """Take note that none of them is tried any more."""
        for each in self.replicas.values():
            each.give_up()

    def fail(self, reason: str) -> None:
        """Take note that none of them is tried any more, and why."""
        for each in self.replicas.values():
            each.fail(reason)

    def reset(self) -> None:
        """Close their circuit breakers, and forget the failures that these have counted."""
        for each in self.replicas.values():
            each.reset()

    def renew(self) -> None:
        """Take note that an operator starts them anew."""
        self._is_told_up = None
        for each in self.replicas.values():
            each.renew()
        self.standing.renew()

    def abandon(self, reason: str) -> None:
        """Fail the calls in flight, because there is no time left to wait for them."""
        for each in self.replicas.values():
            each.abandon(reason)

    def roots_changed(self, owner: Hashable) -> None:
        """Tell the instances that serve a client that its roots have changed."""
        for each in self.replicas.values():
            each.roots_changed(owner)

    def task_status(self, owner: Hashable, params: Fields) -> None:
        """Tell the instance that has asked a client for a task what has become of it."""
        for each in self.replicas.values():
            each.task_status(owner, params)

    # --- what replicas tell ------------------------------------------------------------------

    def changed(self, backend: Backend) -> None:
        """Take note that lists, capabilities or the state of a replica have changed."""
        del backend
        if not self.replicas:
            return
        self._leader = self._find_leader()
        self.server = self._leader.server or self.server
        standings: list[Standing] = [each.standing for each in self.replicas.values()]
        self.standing.follow(standings, is_up=self.is_up)
        self._compare()
        self._observer.changed(self)

    def announced(self, backend: Backend, notification: Notification) -> None:
        """Take note of a changed resource or task of a replica; lists are seen to by `changed`."""
        if notification.method in _OF_TASKS:
            self._observer.announced(backend, notification)
        elif notification.method == RESOURCE_UPDATED:
            up = {key for key, each in self.replicas.items() if each.is_up}
            if self.updates.add(notification, replica_of(backend), up):
                backend.tally.coalesce(notification.method)

    def told(self, key: str, event: BackendEvent) -> None:
        """Take an event of a replica: the backend is up with the first, down with the last one."""
        match event:
            case BackendReady():
                if self._is_told_up is not True:
                    self._is_told_up = True
                    self._on_event(event)
                event = ReplicaReady(event.backend, key, event.revision, event.seconds)
            case BackendDown():
                if not self.is_up and self._is_told_up is not False:
                    self._is_told_up = False
                    self._on_event(event)
                event = ReplicaDown(event.backend, key, event.reason, event.detail)
            case BackendStderr():
                event = attrs.evolve(event, line=f"[{key}] {event.line}")
            case BreakerOpened():
                event = attrs.evolve(event, reason=f"replica {key}: {event.reason}")
        self._on_event(event)

    def _find_leader(self) -> Replica:
        replicas = list(self.replicas.values())
        last = self._leader if self._leader in replicas else None
        if last is not None and last.is_up:
            return last
        return next((each for each in replicas if each.is_up), last or replicas[0])

    def _compare(self) -> None:
        """Tell of replicas that list something else than the leader, once all have started."""
        shown = self.leader
        up = [each for each in self.replicas.values() if each.is_up]
        self._differing = tuple(each.key for each in up if _differences(each, shown))
        if any(each.is_starting for each in self.replicas.values()):
            return
        differing, self._told_differing = self._told_differing, self._differing
        if self._differing and self._differing != differing:
            lists = {kind.key for each in up for kind in _differences(each, shown)}
            event = ReplicasDiffer(self.name, shown.key, self._differing, tuple(sorted(lists)))
            self._on_event(event)

    def __repr__(self) -> str:
        up = sum(each.is_up for each in self.replicas.values())
        return f"<ReplicatedBackend {self.name!r} {up} of {len(self.replicas)} up>"


def _differences(one: Backend, other: Backend) -> list[Catalogue]:
    mine, theirs = one.listings, other.listings
    return [kind for kind in mine if mine[kind].items != theirs[kind].items]


def _never(setup: Setup) -> NoReturn:
    raise RuntimeError(f"backend {setup.config.name!r} connects by its replicas")
