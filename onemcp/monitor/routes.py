"""Health and metrics over HTTP.

==================  ===========================================================================
path                answers
==================  ===========================================================================
``/health/live``    200 while the event loop turns
``/health/ready``   200 when clients should be sent here, else 503 with the kinds of reasons
``/health``         the status in a word; everything for whoever has the scope ``admin``
``/metrics``        metrics, for whoever the configuration says
==================  ===========================================================================

The first two are for machines that have no token and know no name of the gateway's, such as load
balancers that ask each address: neither Host nor Origin is looked at, and nothing is told that a
stranger could use. None of the answers may be kept by a cache.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import trio

from onemcp.auth import Gate
from onemcp.frontend import HttpRefusal, Route, Scope, Wire, header, respond
from onemcp.protocol.errors import InvalidRequest
from onemcp.telemetry import CONTENT_TYPE, Family, expose

from .health import BackendHealth, Health, Observed, Readiness, Status
from .meter import Meter
from .metrics import Resources, families

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
HEALTH: Final = "/health"
METRICS: Final = "/metrics"

_METHODS: Final = ((b"allow", b"GET, HEAD"),)
_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_UNAVAILABLE: Final = 503


class Monitor:
    """Tells how a gateway is.

    Attributes:
        meter: Counts what happens in it.
        sources: What else has metrics.
    """

    def __init__(self, gateway: Observed, version: str) -> None:
        """Watch a gateway, which need not run yet.

        Args:
            gateway: The gateway.
            version: The version of the program.
        """
        self.meter = Meter()
        self.sources: list[Callable[[], Iterable[Family]]] = []
        self._gateway = gateway
        self._version = version
        self._begun = time.monotonic()

    @property
    def routes(self) -> Mapping[str, Route]:
        """What is served at which path."""
        return {
            LIVE: self._live,
            READY: self._ready,
            HEALTH: self._health,
            METRICS: self._metrics,
        }

    async def _live(self, scope: Scope, wire: Wire, gate: Gate) -> None:
        del gate
        await answer(scope, wire, 200, {"status": "alive"})

    async def _ready(self, scope: Scope, wire: Wire, gate: Gate) -> None:
        del gate
        readiness = Readiness.of(self._gateway)
        if readiness.is_ready:
            await answer(scope, wire, 200, {"status": "ready"})
        else:
            told = {"status": "not ready", "reasons": readiness.reasons}
            await answer(scope, wire, _UNAVAILABLE, told)

    async def _health(self, scope: Scope, wire: Wire, gate: Gate) -> None:
        health = Health.of(self._gateway)
        told: dict[str, Any] = {"status": health.status}
        if may_see(scope, gate):
            told |= self._detail(health)
        unavailable = health.status is Status.UNAVAILABLE
        await answer(scope, wire, _UNAVAILABLE if unavailable else 200, told)

    async def _metrics(self, scope: Scope, wire: Wire, gate: Gate) -> None:
        headers = scope["headers"]
        gate.check_host(headers)
        gate.check_origin(headers)
        if self._gateway.configuration.telemetry.metrics == "admin":
            gate.authenticate_admin(headers, time.time(), "")
        check_method(scope)
        body = expose(await self.look())
        await respond(wire.send, 200, body, _HEADERS, CONTENT_TYPE)

    async def look(self) -> Sequence[Family]:
        """Return all metrics as they are now."""
        processes = dict(self._gateway.processes)
        resources = await trio.to_thread.run_sync(Resources.read, processes)
        seen = families(Health.of(self._gateway), resources, self._version)
        others = itertools.chain.from_iterable(source() for source in self.sources)
        return [*seen, *self.meter.families(), *others]

    def _detail(self, health: Health) -> Mapping[str, Any]:
        readiness = health.readiness
        return {
            "ready": readiness.is_ready,
            "reasons": readiness.reasons,
            "system": {
                "version": self._version,
                "pid": os.getpid(),
                "uptimeSeconds": round(time.monotonic() - self._begun, 3),
            },
            "configuration": {
                "state": "rejected" if health.problems else "in force",
                "problems": health.problems,
                "reloadSuspended": health.suspended,
            },
            "connections": {
                "sessions": health.sessions,
                "streams": health.streams,
                "inFlight": health.in_flight,
                "queued": health.queued,
                "waitedSeconds": round(health.wait, 3),
                "shed": health.shed,
                "parked": health.parked,
                "shedding": {"level": health.shedding, "reason": health.shedding_reason},
            },
            "backends": {each.name: _shown(each) for each in health.backends},
        }


def may_see(scope: Scope, gate: Gate) -> bool:
    """Tell whether a request may see what is the operator's; without a token none may.

    Raises:
        RequestRefused: It comes from where it must not, or its token is no good.
    """
    headers = scope["headers"]
    gate.check_host(headers)
    gate.check_origin(headers)
    if header(headers, b"authorization") is None:
        return False
    return gate.is_admin(gate.authenticate(headers, time.time()))


async def answer(scope: Scope, wire: Wire, status: int, told: Mapping[str, Any]) -> None:
    """Answer a GET, or a HEAD with the same head.

    Raises:
        HttpRefusal: It is neither.
    """
    check_method(scope)
    await respond(wire.send, status, msgspec.json.encode(told), _HEADERS)


def check_method(scope: Scope) -> None:
    """Make sure that somebody only wants to read.

    Raises:
        HttpRefusal: They don't.
    """
    if scope["method"] not in {"GET", "HEAD"}:
        raise HttpRefusal(405, InvalidRequest("this can only be read"), _METHODS)


def _shown(backend: BackendHealth) -> Mapping[str, Any]:
    retry_in = backend.retry_in
    replicas = {key: _shown(each) for key, each in backend.replicas.items()}
    return {
        "state": backend.state,
        "required": backend.required,
        "failure": backend.failure,
        "breaker": backend.breaker,
        "revision": backend.revision,
        "inFlight": backend.in_flight,
        "waiting": backend.waiting,
        "instances": backend.instances,
        "restarts": backend.restarts,
        "seconds": round(backend.seconds, 3),
        "retryInSeconds": None if retry_in is None else round(retry_in, 3),
        **({"replicas": replicas} if replicas else {}),
    }
