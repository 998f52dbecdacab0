"""What has been, as far as the status page shows it: rings of samples, and the last incidents.

Theory of operation: one task looks at all backends every ``INTERVAL`` seconds, and keeps for each
what was counted since the time before. It costs some dozens of small objects a minute and backend,
whether anybody looks or not, and nothing on the way of a call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import attrs
import trio

from onemcp.backend import BackendDown, BackendReady, ReplicaDown, ReplicaReady
from onemcp.config import ConfigurationRejected, ConfigurationRepaired, ReloadSuspended
from onemcp.control import OperatorActed
from onemcp.monitor import BackendState, Health, Meter, Observed, Total
from onemcp.supervision import Event, What
from onemcp.telemetry import describe_event

INTERVAL: Final = 5.0
"""How often it is looked, in seconds."""

KEPT_MOMENTS: Final = 120
"""How many samples are kept of each backend: ten minutes."""

KEPT_INCIDENTS: Final = 100

TELLING: Final = frozenset(
    {
        What.RESTARTING,
        What.PAUSED,
        What.EXHAUSTED,
        What.OVERDUE,
        What.CLEANUP_FAILED,
        What.REPLACEMENT_FAILED,
    }
)
"""What supervisors do that people look for afterwards."""

_TOLD: Final = (
    BackendReady,
    BackendDown,
    ReplicaReady,
    ReplicaDown,
    OperatorActed,
    ConfigurationRejected,
    ConfigurationRepaired,
    ReloadSuspended,
)


@attrs.frozen
class Moment:
    """One backend, in the time between two samples.

    Attributes:
        state: How it was at the end of it.
        total: What the calls that ended in it add up to.
    """

    state: BackendState
    total: Total


@attrs.frozen
class Incident:
    """Something that has happened.

    Attributes:
        at: When, in seconds since the epoch.
        event: What, as the log calls it.
        fields: What else is known of it, fit for people.
    """

    at: float
    event: str
    fields: Mapping[str, object]


class History:
    """What has been. Owned by one task."""

    def __init__(
        self, gateway: Observed, meter: Meter, clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with nothing.

        Args:
            gateway: What is looked at.
            meter: Counts its calls.
            clock: Tells the time, in seconds since the epoch.
        """
        self._gateway = gateway
        self._meter = meter
        self._clock = clock
        self._moments: dict[str, deque[Moment]] = {}
        self._totals: Mapping[str, Total] = {}
        self._incidents: deque[Incident] = deque(maxlen=KEPT_INCIDENTS)

    def __call__(self, event: object) -> None:
        """Take note of an event, if people look for such afterwards."""
        if event.what in TELLING if isinstance(event, Event) else isinstance(event, _TOLD):
            described = describe_event(event)
            name = str(described.pop("event"))
            self._incidents.append(Incident(self._clock(), name, described))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Sample until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(INTERVAL)
            self.sample()

    def sample(self) -> None:
        """Keep what has been since the last sample; forget backends that are gone."""
        totals, moments = self._meter.totals(), {}
        for backend in Health.of(self._gateway).backends:
            ring = self._moments.get(backend.name) or deque(maxlen=KEPT_MOMENTS)
            now = totals.get(backend.name, Total())
            ring.append(Moment(backend.state, now.since(self._totals.get(backend.name, Total()))))
            moments[backend.name] = ring
        self._moments, self._totals = moments, totals

    def of(self, backend: str) -> Sequence[Moment]:
        """Return the samples of a backend, the latest at the end."""
        return tuple(self._moments.get(backend, ()))

    @property
    def incidents(self) -> Sequence[Incident]:
        """What has happened, the latest first."""
        return tuple(reversed(self._incidents))
