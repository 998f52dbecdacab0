"""The task that sends telemetry, for as long as the configuration says where to.

Theory of operation: requests put their spans into a bounded queue and go on; metrics are looked
at when it is time for them. Everything else happens in this task. When it is cancelled, or
told to send elsewhere, it makes one last try with what is left.
"""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import attrs
import trio

from onemcp.config import Otlp, Signal
from onemcp.telemetry import Family, OfSession, Sample, Tracer

from ._operations import Operations
from ._queue import SpanQueue
from ._sessions import Sessions
from .events import SpansLost, TelemetryDelivered, TelemetryUndelivered

if TYPE_CHECKING:
    from types import ModuleType

FLUSH: Final = 3.0
"""How long the last try may take, in seconds; less where the gateway is to stop sooner."""

Look: TypeAlias = Callable[[], Awaitable[Sequence[Family]]]
Event: TypeAlias = TelemetryDelivered | TelemetryUndelivered | SpansLost


@attrs.define
class Tally:
    """What has become of what was sent.

    Attributes:
        spans: How many spans, by outcome.
        exports: How many requests, by signal and outcome.
        troubled: The signals that can't be delivered just now.
    """

    spans: dict[str, int] = attrs.field(
        factory=lambda: dict.fromkeys(("exported", "rejected", "undelivered"), 0)
    )
    exports: dict[tuple[Signal, str], int] = attrs.field(factory=dict)
    troubled: set[Signal] = attrs.field(factory=set)

    def count(self, signal: Signal, outcome: str) -> None:
        """Count a request."""
        key = signal, outcome
        self.exports[key] = self.exports.get(key, 0) + 1


class Exporter:
    """Sends metrics and traces.

    Attributes:
        tracer: Begins the spans of requests.
        version: The version of the program.
        look: Returns all metrics as they are now.
        on_event: Takes what happens.
        queue: What waits to be sent.
        operations: How long requests took, while metrics are sent.
        sessions: How long sessions lasted.
        tally: What has become of what was sent.
        instance: What tells this run of the gateway from others.
        begun: Since when everything is counted, in nanoseconds since the epoch.
        flush: How long the last try may take, in seconds.
    """

    def __init__(self, look: Look, version: str, on_event: Callable[[Event], object]) -> None:
        """Send nothing yet; see `reconfigure`."""
        self.tracer = Tracer()
        self.version = version
        self.look = look
        self.on_event = on_event
        self.queue = SpanQueue(0)
        self.operations = Operations()
        self.sessions = Sessions()
        self.tally = Tally()
        self.instance = str(uuid.uuid4())
        self.begun = time.time_ns()
        self.flush = FLUSH
        self._settings: Otlp | None = None
        self._changed = trio.Event()

    @property
    def is_tracing(self) -> bool:
        """Whether anybody takes spans."""
        return self.tracer.take is not None

    def reconfigure(self, settings: Otlp | None, grace: float = FLUSH) -> None:
        """Send to where the configuration says from now on; nothing where it says nothing.

        Args:
            settings: What the configuration says.
            grace: How long the gateway may take to stop, in seconds.
        """
        self.flush = min(FLUSH, grace)
        if settings == self._settings:
            return
        self._settings = settings
        signals = () if settings is None else settings.signals
        self.tracer.take = self.queue.put if "traces" in signals else None
        self.tracer.measure = self.operations.over if "metrics" in signals else None
        if settings is not None:
            self.tracer.ratio, self.queue.most = settings.sampling, settings.queue
        self._changed.set()
        self._changed = trio.Event()

    def happened(self, event: object) -> None:
        """Take note of a typed event."""
        if isinstance(event, OfSession):
            self.sessions.over(event)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Send what is to be sent, until cancelled."""
        task_status.started()
        try:
            while True:
                changed, settings = self._changed, self._settings
                if settings is None:
                    self._give_up()
                    await changed.wait()
                else:
                    sending = await trio.to_thread.run_sync(_sending)
                    await sending.send(self, settings, changed)
        finally:
            self._give_up()

    def _give_up(self) -> None:
        lost = self.queue.clear()
        if lost:
            self.on_event(SpansLost(lost))

    def told(self, signal: Signal, reason: str | None) -> None:
        """Take note of whether a signal can be delivered just now, and why it can't."""
        if (reason is not None) == (signal in self.tally.troubled):
            return
        if reason is None:
            self.tally.troubled.discard(signal)
            self.on_event(TelemetryDelivered(signal))
        else:
            self.tally.troubled.add(signal)
            self.on_event(TelemetryUndelivered(signal, reason))

    def families(self) -> Iterator[Family]:
        """Return what is counted here; nothing while nothing is sent."""
        if self._settings is None:
            return
        spans = {**self.tally.spans, "dropped": self.queue.dropped}
        yield Family(
            "onemcp_telemetry_spans_total",
            "What has become of spans.",
            "counter",
            [Sample(count, {"outcome": outcome}) for outcome, count in spans.items()],
        )
        yield Family(
            "onemcp_telemetry_exports_total",
            "Requests to the collector, and what has become of them.",
            "counter",
            [
                Sample(count, {"signal": signal, "outcome": outcome})
                for (signal, outcome), count in self.tally.exports.items()
            ],
        )
        yield Family.single(
            "onemcp_telemetry_queue_length", "Spans that wait to be sent.", len(self.queue)
        )

    def __repr__(self) -> str:
        state = "off" if self._settings is None else "on"
        return f"<Exporter {state} queue={len(self.queue)}>"


def _sending() -> ModuleType:
    """Import what sends: the messages of OTLP take a while, and most gateways need none."""
    return importlib.import_module("onemcp.otlp._sending")
