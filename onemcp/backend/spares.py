"""The instances of a backend beside its primary: started on demand, ended when idle.

Theory of operation: each is a temporary child of `supervisor`. It acknowledges at once and
connects afterwards, so that whoever has it started waits for nothing but its place; its task then
waits until it has been idle for long. One that fails is not started again by itself, but by the
next call that needs it, and not right away.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

import attrs
import trio

from onemcp import config
from onemcp.supervision import ChildSpec, DynamicSupervisor, Restart, SupervisionError

from .breaker import Breaker
from .call import Caller
from .connection import Connection, ConnectionLost, HandshakeFailed, first_loss
from .events import BackendEvent, InstanceLost, InstanceReady, InstanceRetired
from .instance import Instance, InstanceObserver
from .lasting import run_measured
from .starting import Rank, StartQueue, Turn

START: Final = 5.0
"""How long the supervisor may take to begin to start an instance, in seconds."""

AGAIN: Final = 5.0
"""How long no more is started after an instance that could not be, in seconds."""


class SparesObserver(InstanceObserver, Protocol):
    """What the pool wants to hear of spare instances. Called synchronously; must not block."""

    def changed(self) -> None:
        """Take note that an instance has come, or gone."""

    def failed(self, reason: str) -> None:
        """Take note that an instance could not be started."""


@attrs.define(eq=False)
class _Slot:
    """An instance, from the decision to start it to the end of its task.

    Attributes:
        scope: Ends it.
        instance: None while it starts.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    instance: Instance | None = None


class Spares:
    """All instances of a backend but the primary.

    Attributes:
        supervisor: Where they live; the caller runs it.
        revision: What they have to speak: what the primary does.
        failure: Why the last one could not be started, or None.
        again_at: When the next one may be started, by Trio's clock.
    """

    def __init__(
        self,
        settings: config.Backend,
        connect: Callable[[], Connection],
        caller: Caller,
        observer: SparesObserver,
        *,
        breaker: Breaker,
        shutdown: float,
        starts: StartQueue,
        on_event: Callable[[BackendEvent], object],
    ) -> None:
        """Begin without any.

        Args:
            settings: How the backend is configured.
            connect: Makes a connection.
            caller: Onemcp as a client.
            observer: Whom to tell what happens on them, and to them.
            breaker: That of the backend, which they share.
            shutdown: How long one may take to stop, in seconds.
            starts: Where starts wait for their turns.
            on_event: Takes what happens, for the operator.
        """
        # One that has ended may be forgotten a little later than its place is given away.
        most = 2 * settings.instances.max
        self.supervisor = DynamicSupervisor("instances", max_children=most)
        self.revision: str | None = None
        self.failure: str | None = None
        self.again_at = -math.inf
        self._settings = settings
        self._connect = connect
        self._caller = caller
        self._observer = observer
        self._breaker = breaker
        self._shutdown = shutdown
        self._starts = starts
        self._on_event = on_event
        self._slots: dict[int, _Slot] = {}
        self._numbers = itertools.count(2)

    def __len__(self) -> int:
        """Count them, with those that start or end."""
        return len(self._slots)

    def __iter__(self) -> Iterator[Instance]:
        return (slot.instance for slot in self._slots.values() if slot.instance is not None)

    @property
    def starting(self) -> int:
        """How many are being started."""
        return sum(slot.instance is None for slot in self._slots.values())

    @property
    def can_grow(self) -> bool:
        """Whether one more may be started now."""
        has_room = 1 + len(self._slots) < self._settings.instances.max
        return has_room and trio.current_time() >= self.again_at

    async def start(self) -> None:
        """Begin to start one more."""
        number, slot = next(self._numbers), _Slot()
        self._slots[number] = slot
        spec = ChildSpec(
            id=f"instance-{number}",
            start=partial(self._run, number, slot),
            restart=Restart.TEMPORARY,
            shutdown=self._shutdown,
        )
        failure = "the supervisor does not respond"
        # Half-way, it would not be known whether there is one.
        with trio.move_on_after(START, shield=True):
            try:
                await self.supervisor.start_child(spec)
            except SupervisionError as error:
                failure = str(error)
            else:
                return
        slot.scope.cancel()
        self._gone(number, slot, ConnectionLost(failure))

    def close(self, reason: str) -> None:
        """End all of them, and with them their calls."""
        for slot in list(self._slots.values()):
            if slot.instance is not None:
                slot.instance.is_retired = True
                slot.instance.connection.inbound.fail_all(ConnectionLost(reason))
            slot.scope.cancel()

    def __repr__(self) -> str:
        return f"<Spares of {self._settings.name!r}: {len(self)}, {self.starting} starting>"

    async def _run(self, number: int, slot: _Slot, *, task_status: trio.TaskStatus[None]) -> None:
        """Be one instance, from its start to its end."""
        task_status.started()
        reason: ConnectionLost | None = None
        try:
            with slot.scope:
                async with Turn(self._starts, lambda: Rank.WANTED) as turn:
                    await self._live(slot, turn)
        except* ConnectionLost as group:
            reason = first_loss(group)
        finally:
            self._gone(number, slot, reason)

    async def _live(self, slot: _Slot, turn: Turn) -> None:
        settings = self._settings
        connection = self._connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn.expire)
            with trio.move_on_after(settings.timeouts.start) as patience:
                server = await nursery.start(run_measured, connection, settings, self._on_event)
            if patience.cancelled_caught:
                raise HandshakeFailed.too_slow(connection, settings.timeouts.start)
            if server.revision != self.revision:
                raise HandshakeFailed(f"it speaks {server.revision}, and not {self.revision}")
            instance = slot.instance = Instance(
                settings,
                connection,
                server,
                self._caller,
                self._observer,
                breaker=self._breaker,
                is_primary=False,
            )
            self.failure = None
            turn.came_up()
            self._on_event(InstanceReady(settings.name, 1 + len(self), turn.up - turn.began))
            self._observer.changed()
            await self._until_unused(instance)
            instance.is_retired = True
            nursery.cancel_scope.cancel()

    async def _until_unused(self, instance: Instance) -> None:
        """Wait until an instance has been idle for long."""
        patience = self._settings.instances.idle
        while True:
            now = trio.current_time()
            since = now if instance.is_used else instance.idle_since
            if now >= since + patience:
                return
            await trio.sleep_until(since + patience)

    def _gone(self, number: int, slot: _Slot, reason: ConnectionLost | None) -> None:
        """Take note of the end of an instance, or of one that could not be started."""
        if self._slots.pop(number, None) is None:
            return
        name, count = self._settings.name, 1 + len(self)
        if reason is not None:
            self._on_event(InstanceLost(name, count, reason.reason, reason.detail))
        elif slot.instance is not None:
            self._on_event(InstanceRetired(name, count))
        if slot.instance is None:
            self.again_at = trio.current_time() + AGAIN
            self.failure = "it was stopped" if reason is None else reason.reason
            self._observer.failed(self.failure)
        self._observer.changed()
