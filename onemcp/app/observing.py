"""What looks at all that happens: how late tasks are, the spans of requests, and their export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from onemcp.config import Configuration
from onemcp.monitor import Monitor
from onemcp.multiplexer import Multiplexer, Watcher
from onemcp.otlp import Exporter
from onemcp.supervision import Backoff, ChildSpec, Intensity, Pause, Supervisor

from .front import EventHook
from .identity import VERSION

CLOSING: Final = 3.0
"""How long the exporter may take to stop beside its last try, in seconds."""

COOLDOWN: Final = 300.0
"""How long the exporter is left alone after it has failed again and again, in seconds."""


class Observing:
    """Looks at a gateway, as its configuration says.

    Attributes:
        exporter: Sends metrics and traces.
    """

    def __init__(self, monitor: Monitor, on_event: EventHook) -> None:
        """Look at nothing yet; see `reconfigure`.

        Args:
            monitor: Tells how the gateway is.
            on_event: Takes what happens.
        """
        self.exporter = Exporter(monitor.look, VERSION, on_event)
        monitor.sources.append(self.exporter.families)
        self._monitor = monitor

    def reconfigure(self, configuration: Configuration, multiplexer: Multiplexer) -> None:
        """Look at what the configuration asks for."""
        grace = configuration.server.shutdown_grace
        self.exporter.reconfigure(configuration.telemetry.otlp, grace)
        tracer = self.exporter.tracer
        multiplexer.watcher = None if tracer.take is None else Watcher(tracer)

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
            ChildSpec.for_supervisor(telemetry),
        ]
