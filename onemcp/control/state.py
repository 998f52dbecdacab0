"""The state of a gateway as JSON has it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from onemcp import config
from onemcp.admission import Shedding
from onemcp.backend import CONNECTION, Backend, BreakerState, ReplicatedBackend
from onemcp.supervision import ChildSnapshot, ChildState, TreeSnapshot, next_attempt
from onemcp.telemetry import scrub

BACKENDS: Final = "backends"

_UP: Final[Mapping[BreakerState, str]] = {
    BreakerState.CLOSED: "up",
    BreakerState.OPEN: "breaker-open",
    BreakerState.HALF_OPEN: "breaker-half-open",
}
"""What the state of a backend is called that is connected to."""


def tree_of(tree: TreeSnapshot) -> dict[str, Any]:
    """Return a supervisor and all below it; times are in seconds."""
    return {
        "name": tree.name,
        "running": tree.running,
        "strategy": tree.strategy.value,
        "restarts": tree.restarts,
        "allowed": tree.allowed,
        "period": tree.period,
        "children": [_child_of(child, tree.at) for child in tree.children],
    }


def _child_of(child: ChildSnapshot, at: float) -> dict[str, Any]:
    told = {
        "id": child.id,
        "state": child.state.value,
        "restarts": child.restarts,
        "for": round(max(0.0, at - child.since), 3),
        "role": None if child.role.value == "current" else child.role.value,
        "stoppedByOperator": child.halted or None,
        "retryIn": _rounded(child.retry_in(at)),
        "reason": None if child.reason is None else scrub(child.reason),
        "supervisor": None if child.subtree is None else tree_of(child.subtree),
    }
    return {name: value for name, value in told.items() if value is not None}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def backend_of(
    settings: config.Backend, backend: Backend | None, child: ChildSnapshot | None, at: float
) -> dict[str, Any]:
    """Return one backend.

    Args:
        settings: How it is configured.
        backend: The backend itself; None where it is disabled.
        child: Its supervisor; None where it has none.
        at: When that was looked at.
    """
    told: dict[str, Any] = {"name": settings.name, "transport": _transport(settings)}
    if backend is None or child is None:
        return told | {"state": "disabled"}
    told |= _standing(backend, child, at)
    if isinstance(backend, ReplicatedBackend):
        told["replicas"] = [
            {"name": key, **_standing(replica, of_replica, at)}
            for key, replica in backend.replicas.items()
            if (of_replica := child.child(key)) is not None
        ]
    if backend.pins is not None and backend.pins.changes:
        told["unapproved"] = len(backend.pins.changes)
    if backend.server is not None and backend.is_up:
        told["revision"] = backend.server.revision
        told |= {kind.key: len(listing.items) for kind, listing in backend.listings.items()}
    return told


def _standing(backend: Backend, child: ChildSnapshot, at: float) -> dict[str, Any]:
    """Return what is told of a backend, and of a replica of one."""
    connections = list(child.workers(CONNECTION))
    since = connections[0].since if len(connections) == 1 else child.since
    told = {
        "state": _state(backend, child, connections),
        "for": round(max(0.0, at - since), 3),
        "restarts": sum(each.restarts for each in connections),
        "inFlight": backend.in_flight,
        "instances": backend.instances,
        "breaker": backend.breaker.state.value,
        "retryIn": _rounded(backend.retry_in(next_attempt(connections, at))),
        "failure": None if backend.trouble is None else scrub(backend.trouble),
    }
    return {name: value for name, value in told.items() if value is not None}


def shedding_of(shedding: Shedding) -> dict[str, Any]:
    """Return what is turned away while the machine is short of something."""
    return {"level": int(shedding.level), "reason": shedding.reason}


def supervisors_of(tree: TreeSnapshot) -> dict[str, ChildSnapshot]:
    """Return the supervisors of backends in a tree by their names; of two, the current one."""
    found: dict[str, ChildSnapshot] = {}
    for child in _children(tree):
        found.setdefault(child.id, child)
    return found


def _children(tree: TreeSnapshot) -> Iterator[ChildSnapshot]:
    """Yield the children of the supervisor of backends, those before that are current."""
    for child in tree.children:
        if child.subtree is None:
            continue
        if tree.name != BACKENDS and child.id == BACKENDS:
            yield from sorted(child.subtree.children, key=lambda each: each.role.value != "current")
        else:
            yield from _children(child.subtree)


def _state(backend: Backend, child: ChildSnapshot, connections: Collection[ChildSnapshot]) -> str:
    if child.halted:
        return "stopped"
    if backend.is_up:
        return _UP[backend.breaker.state]
    if backend.needs_login:
        return "needs-login"
    states = {each.state for each in connections}
    waiting = ChildState.PAUSED if states == {ChildState.PAUSED} else ChildState.RESTARTING
    return str(waiting.value) if waiting in states else "starting"


def _transport(settings: config.Backend) -> str:
    transport = settings.transport
    return "stdio" if isinstance(transport, config.StdioTransport) else transport.type or "http"
