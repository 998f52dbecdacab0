"""What is well and what is not, judged from what is there at one moment.

Theory of operation: a gateway is *alive* while it answers at all. It is *ready* when clients should
be sent to it: it listens, is not being stopped, and every backend that is required is up. A valid
configuration belongs to that, but there always is one: a file that can't be used never replaces
what is in force, so it makes a gateway *degraded* rather than unready, as one broken edit must not
take all instances that share the file away from their clients at once. What is neither degraded
nor unready is *ok*.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol

import attrs

from onemcp.admission import Level
from onemcp.backend import CONNECTION, Backend, BreakerState, ReplicatedBackend
from onemcp.config import Configuration, Reloader
from onemcp.frontend import Sessions
from onemcp.multiplexer import Multiplexer
from onemcp.supervision import ChildSnapshot, ChildState, TreeSnapshot, next_attempt


class Observed(Protocol):
    """The gateway, as far as its health goes.

    Attributes:
        configuration: What is in force.
        multiplexer: Its backends, and the calls under way.
        sessions: The sessions of legacy clients.
        reloader: What keeps the configuration in step with the file; None without a file.
    """

    configuration: Configuration
    multiplexer: Multiplexer
    sessions: Sessions
    reloader: Reloader | None

    @property
    def is_stopping(self) -> bool:
        """Whether it is being stopped."""

    @property
    def is_listening(self) -> bool:
        """Whether clients can come in."""

    @property
    def streams(self) -> int:
        """How many streams of events are open."""

    @property
    def shed(self) -> Mapping[str, int]:
        """How much was refused for limits since the start, by what it was."""

    @property
    def processes(self) -> Mapping[int, str]:
        """The programs of backends, by process id, and whose they are."""

    def backends_snapshot(self) -> TreeSnapshot:
        """Return the state of the supervisor of the backends."""


class Status(enum.StrEnum):
    """How the gateway is."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


class Unready(enum.StrEnum):
    """Why a gateway is not ready."""

    STOPPING = "stopping"
    NOT_LISTENING = "not_listening"
    REQUIRED_BACKENDS = "required_backends_not_up"


class BackendState(enum.StrEnum):
    """How a backend is."""

    UP = "up"
    STARTING = "starting"
    RESTARTING = "restarting"
    BREAKER_OPEN = "breaker_open"
    BREAKER_HALF_OPEN = "breaker_half_open"
    NEEDS_LOGIN = "needs_login"
    PAUSED = "paused"
    DOWN = "down"


_UP: Final[Mapping[BreakerState, BackendState]] = {
    BreakerState.CLOSED: BackendState.UP,
    BreakerState.OPEN: BackendState.BREAKER_OPEN,
    BreakerState.HALF_OPEN: BackendState.BREAKER_HALF_OPEN,
}
CONNECTED: Final = frozenset(_UP.values())
"""The states of a backend that is connected to."""


@attrs.frozen
class Readiness:
    """Whether clients should be sent to a gateway.

    Attributes:
        reasons: Why not; empty where they should.
        missing: The names of the required backends that are not up.
    """

    reasons: tuple[Unready, ...]
    missing: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether they should."""
        return not self.reasons

    @classmethod
    def of(cls, gateway: Observed) -> Readiness:
        """Judge a gateway. It is cheap: no more is looked at than the required backends."""
        up = gateway.multiplexer.backends
        missing = tuple(
            each.name
            for each in gateway.configuration.backends
            if each.enabled
            and each.required
            and not each.is_personal
            and not ((backend := up.get(each.name)) is not None and backend.is_up)
        )
        reasons = {
            Unready.STOPPING: gateway.is_stopping,
            Unready.NOT_LISTENING: not gateway.is_listening,
            Unready.REQUIRED_BACKENDS: bool(missing),
        }
        return cls(tuple(reason for reason, holds in reasons.items() if holds), missing)


@attrs.frozen(kw_only=True)
class BackendHealth:
    """How one backend is.

    Attributes:
        name: Its name.
        state: How it is.
        required: Whether the gateway is ready only while it is up.
        failure: Why it is not up, if that is known.
        breaker: Whether calls go through its circuit breaker.
        revision: The revision that was agreed on last, or None.
        in_flight: How many calls wait for its answer.
        waiting: How many calls wait for an instance of it.
        dropped: How many of its notifications were lost, by their methods.
        coalesced: How many were replaced by later ones that say the same.
        instances: How many instances there are, with those that start or end.
        restarts: How often it was restarted by itself.
        seconds: How long its connection has been in its present state, in seconds.
        retry_in: When it is started again, or called again, in seconds from now; None where that is
            not planned.
        unapproved: How many of its tools and prompts don't look as they did when approved.
        replicas: How each replica is, by its key, where there are several.
    """

    name: str
    state: BackendState
    required: bool
    failure: str | None
    breaker: BreakerState
    revision: str | None
    in_flight: int
    waiting: int
    dropped: Mapping[str, int]
    coalesced: Mapping[str, int]
    instances: int
    restarts: int
    seconds: float
    retry_in: float | None
    unapproved: int = 0
    replicas: Mapping[str, BackendHealth] = attrs.field(factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether it is up, and all of its replicas are."""
        all_well = all(each.is_well for each in self.replicas.values())
        return all_well and self.state is BackendState.UP


@attrs.frozen(kw_only=True)
class Health:
    """How a gateway is, in detail.

    Attributes:
        readiness: Whether clients should be sent to it.
        backends: Its backends, in configuration order.
        problems: What is wrong with the configuration file, which is not in force.
        suspended: Whether changes of the file are left alone.
        sessions: How many sessions of legacy clients there are.
        streams: How many streams of events are open.
        in_flight: How many calls are under way.
        queued: How many calls wait for a place.
        wait: How long the call waited that got its place last after waiting, in seconds.
        shed: How much was refused for limits since the start, by what it was.
        parked: How many calls wait for their clients.
        shedding: What is turned away while the machine is short of something.
        shedding_reason: Which resource that is; empty where it is none.
    """

    readiness: Readiness
    backends: tuple[BackendHealth, ...]
    problems: tuple[str, ...]
    suspended: bool
    sessions: int
    streams: int
    in_flight: int
    queued: int
    wait: float
    shed: Mapping[str, int]
    parked: int
    shedding: Level
    shedding_reason: str

    @classmethod
    def of(cls, gateway: Observed) -> Health:
        """Judge a gateway."""
        reloader, multiplexer = gateway.reloader, gateway.multiplexer
        problem = None if reloader is None else reloader.problem
        admission = multiplexer.admission.statistics()
        return cls(
            readiness=Readiness.of(gateway),
            backends=tuple(_backends(gateway)),
            problems=() if problem is None else tuple(map(str, problem.problems)),
            suspended=reloader is not None and reloader.suspended,
            sessions=len(gateway.sessions),
            streams=gateway.streams,
            in_flight=admission.in_flight,
            queued=admission.queued,
            wait=admission.wait,
            shed=gateway.shed,
            parked=len(multiplexer.parking),
            shedding=multiplexer.admission.shedding.level,
            shedding_reason=multiplexer.admission.shedding.reason,
        )

    @property
    def status(self) -> Status:
        """All of it in one word."""
        if not self.readiness.is_ready:
            return Status.UNAVAILABLE
        has_trouble = not all(each.is_well for each in self.backends)
        if has_trouble or self.problems or self.suspended or self.shedding:
            return Status.DEGRADED
        return Status.OK


def _backends(gateway: Observed) -> Iterator[BackendHealth]:
    tree = gateway.backends_snapshot()
    children = {child.id: child for child in tree.children}
    for settings in gateway.configuration.backends:
        backend = gateway.multiplexer.backends.get(settings.name)
        if settings.enabled and backend is not None:
            child = children.get(settings.name)
            yield _backend(backend, child, tree.at, required=settings.required)


def _backend(
    backend: Backend, child: ChildSnapshot | None, at: float, *, required: bool
) -> BackendHealth:
    connections = [] if child is None else list(child.workers(CONNECTION))
    replicas = backend.replicas if isinstance(backend, ReplicatedBackend) else {}
    return BackendHealth(
        name=backend.name,
        state=_state(backend, connections),
        required=required,
        failure=None if backend.config.is_personal else backend.trouble,
        breaker=backend.breaker.state,
        revision=None if backend.server is None else backend.server.revision,
        in_flight=backend.in_flight,
        waiting=backend.waiting,
        dropped=backend.tally.dropped,
        coalesced=backend.tally.coalesced,
        instances=backend.instances,
        restarts=sum(each.restarts for each in connections),
        seconds=max((at - each.since for each in connections), default=0.0),
        unapproved=0 if backend.pins is None else len(backend.pins.changes),
        retry_in=backend.retry_in(next_attempt(connections, at)),
        replicas={
            key: _backend(replica, child and child.child(key), at, required=False)
            for key, replica in replicas.items()
        },
    )


def _state(backend: Backend, connections: Collection[ChildSnapshot]) -> BackendState:
    if backend.is_up or backend.config.is_personal:
        # Of what each user has for themselves, each is another matter.
        return _UP[backend.breaker.state]
    if backend.needs_login:
        return BackendState.NEEDS_LOGIN
    if backend.is_starting:
        return BackendState.STARTING
    states = {each.state for each in connections}
    if states & {ChildState.RESTARTING, ChildState.STARTING, ChildState.RUNNING}:
        return BackendState.RESTARTING
    return BackendState.PAUSED if ChildState.PAUSED in states else BackendState.DOWN
