"""Watching what the machine has too little of, and turning away what can be, in order.

Theory of operation: memory and the time that tasks are woken late are looked at every second, and
compared with what there may be of each. Each resource has two steps. One is reached at once, and
left when the resource has been clearly below it for a while, one step at a time: so nothing goes
back and forth. The higher of both resources is the :class:`.Level` that holds. Nobody is asked on
the way of a request but that level; see docs/explanation/admission.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

import attrs
import trio

from onemcp.admission import Level
from onemcp.monitor import Meter, Observed
from onemcp.telemetry import memory_limit, resident_bytes

from .front import EventHook

INTERVAL: Final = 1.0
"""How often it is looked, in seconds."""

CALM: Final = 10.0
"""How long a resource must be below a step before that is left, in seconds."""

MEBIBYTE: Final = 1024 * 1024


@attrs.frozen
class SheddingChanged:
    """More, or less, is turned away from now on.

    Attributes:
        level: What is: 0 for nothing, 1 for new sessions and streams, 2 for calls as well.
        before: What was.
        reason: Which resource there is too little of; empty where there is enough.
        memory: How much memory onemcp holds, in MiB; None where that is not known.
        lag: How late tasks are woken, in seconds.
    """

    level: int
    before: int
    reason: str
    memory: float | None
    lag: float


@attrs.frozen
class Reading:
    """What there is of everything.

    Attributes:
        memory: How much memory onemcp holds, in bytes; None where that is not known.
        memory_limit: How much the machine lets it have, in bytes; None for any.
        lag: How late tasks are woken, in seconds.
    """

    memory: int | None
    memory_limit: int | None
    lag: float


def read(meter: Meter) -> Reading:
    """Look at this process; that takes some microseconds, and never waits for a disk."""
    return Reading(resident_bytes(), memory_limit(), meter.lag)


@attrs.define
class Steps:
    """How far it has come with one resource.

    Attributes:
        reason: What to say of it.
        rises: At which part of what there may be each level above the lowest is reached.
        eases: Below which part of that it is over.
        level: How far it has come.
    """

    reason: str
    rises: tuple[float, float]
    eases: float
    level: Level = Level.NORMAL
    _calm_since: float | None = attrs.field(default=None, init=False)

    def look(self, used: float, now: float) -> Level:
        """Return how far it has come by now.

        Args:
            used: How much is used, as a part of what there may be.
            now: When that was read, in seconds.
        """
        reached = Level(sum(used >= rise for rise in self.rises))
        kept = Level(sum(used >= rise * self.eases for rise in self.rises))
        self.level = max(self.level, reached)
        if kept >= self.level:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM:
            self.level, self._calm_since = Level(self.level - 1), now
        return self.level


class Shedder:
    """Decides what a gateway turns away."""

    def __init__(
        self,
        gateway: Observed,
        meter: Meter,
        on_event: EventHook,
        reading: Callable[[], Reading] | None = None,
    ) -> None:
        """Turn nothing away yet; see `run`.

        Args:
            gateway: What to watch over. Its configuration says how much there may be.
            meter: Measures how late tasks are woken.
            on_event: Is told of every change.
            reading: Looks what there is; by default at this process.
        """
        self._gateway = gateway
        self._on_event = on_event
        self._read = reading or partial(read, meter)
        self._memory = Steps("onemcp is short of memory", (0.85, 0.95), 0.9)
        self._lag = Steps("onemcp has more to do than it can", (1.0, 4.0), 0.5)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Watch until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Look once, and turn away what is to be turned away now."""
        reading, limits, now = self._read(), self._gateway.configuration.limits, trio.current_time()
        allowed = limits.memory if limits.memory is not None else reading.memory_limit
        used = 0.0 if reading.memory is None or allowed is None else reading.memory / allowed
        self._memory.look(used, now)
        self._lag.look(reading.lag / limits.lag, now)
        worst = max(self._memory, self._lag, key=lambda steps: steps.level)
        self._change(worst.level, worst.reason if worst.level else "", reading)
        if self._memory.level:
            self._gateway.sessions.put_aside()

    def _change(self, level: Level, reason: str, reading: Reading) -> None:
        admission = self._gateway.multiplexer.admission
        before = admission.shedding.level
        if (level, reason) == (before, admission.shedding.reason):
            return
        admission.shed(level, reason)
        memory = None if reading.memory is None else round(reading.memory / MEBIBYTE, 1)
        self._on_event(
            SheddingChanged(int(level), int(before), reason, memory, round(reading.lag, 3))
        )
