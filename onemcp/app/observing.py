"""What looks at all that happens: how late tasks are, the spans of requests, and their export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from onemcp.config import Configuration
from onemcp.monitor import Monitor, Observed
from onemcp.multiplexer import Multiplexer, Watcher
from onemcp.otlp import Exporter
from onemcp.supervision import Backoff, ChildSpec, Intensity, Pause, Supervisor
from onemcp.telemetry import BodyScrubber

from .front import EventHook, tell_all
from .identity import VERSION
from .shedding import Shedder
from .transcript import BodiesLogged, BodyLog

CLOSING: Final = 3.0
"""How long the exporter may take to stop beside its last try, in seconds."""

COOLDOWN: Final = 300.0
"""How long the exporter is left alone after it has failed again and again, in seconds."""


class Observing:
    """Looks at a gateway, as its configuration says.

    Attributes:
        exporter: Sends metrics and traces.
    """

    def __init__(
        self, gateway: Observed, monitor: Monitor, others: Iterable[EventHook], on_body: EventHook
    ) -> None:
        """Look at nothing yet; see `reconfigure`.

        Args:
            gateway: The gateway, which need not be complete yet.
            monitor: Tells how the gateway is.
            others: Take what happens, too.
            on_body: Takes what clients say, which nobody else may.
        """
        self.exporter = Exporter(monitor.look, VERSION, self.tell)
        monitor.sources.append(self.exporter.families)
        self._monitor = monitor
        self._shedder = Shedder(gateway, monitor.meter, self.tell)
        self._listeners = (monitor.meter.happened, self.exporter.happened, *others)
        self._on_body = on_body

    def tell(self, event: object) -> None:
        """Take what happens, and tell everybody who wants to know."""
        tell_all(self._listeners, event)

    def reconfigure(self, configuration: Configuration, multiplexer: Multiplexer) -> None:
        """Look at what the configuration asks for."""
        grace = configuration.server.shutdown_grace
        self.exporter.reconfigure(configuration.telemetry.otlp, grace)
        tracer, transcript = self.exporter.tracer, self._transcript(configuration)
        is_watched = tracer.is_on or transcript is not None
        multiplexer.watcher = Watcher(tracer, transcript) if is_watched else None

    def _transcript(self, configuration: Configuration) -> BodyLog | None:
        if not configuration.log.bodies:
            return None
        self.tell(BodiesLogged())
        return BodyLog(self._on_body, BodyScrubber.of(configuration.log.redact))

    def children(self) -> Sequence[ChildSpec]:
        """Return what runs as long as the gateway does: no request depends on any of it."""
        export = ChildSpec(
            id="otlp", start=self.exporter.run, shutdown=self.exporter.flush + CLOSING
        )
        telemetry = Supervisor(
            "telemetry",
            [export],
            intensity=Intensity(5, 60.0),
            backoff=Backoff(),
            on_exhaustion=Pause(COOLDOWN),
        )
        return [
            ChildSpec(id="lag", start=self._monitor.meter.watch_lag),
            ChildSpec(id="shedding", start=self._shedder.run),
            ChildSpec.for_supervisor(telemetry),
        ]
