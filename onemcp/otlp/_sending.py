"""What an exporter does between two changes of its settings."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from onemcp.backend import HandshakeFailed
from onemcp.config import Otlp, Signal

from ._encoding import Sent, encode_family, encode_span
from ._sender import Rejected, Sender, Undelivered, opened

if TYPE_CHECKING:
    from ._exporter import Exporter

LINGER: Final = 5.0
"""How long a span waits for others to be sent with, at most, in seconds."""

PATIENCE: Final = 60.0
"""How long the same spans are tried to be delivered, in seconds."""

AT_ONCE: Final = 32
"""How many spans or metrics are encoded without letting other tasks run."""

ONE_TRY: Final = -math.inf
"""Until when something is tried to be delivered, where there is no time for a second try."""

RETRY: Final = 60.0
"""When it is tried again where nothing can be sent at all, in seconds."""


async def send(exporter: Exporter, settings: Otlp, changed: trio.Event) -> None:
    """Send until the settings have changed, and then what is left."""
    try:
        async with opened(settings) as sender:
            await Sending(exporter, settings, sender).run(changed)
    except HandshakeFailed as error:  # there are no authorities to trust
        for signal in settings.signals:
            exporter.told(signal, error.reason)
        with trio.move_on_after(RETRY):
            await changed.wait()


@attrs.frozen
class Sending:
    """Sends what an exporter has to one collector."""

    _exporter: Exporter
    _settings: Otlp
    _sender: Sender
    _begun: int = attrs.field(factory=time.time_ns, init=False)
    _sent: Sent = attrs.field(init=False)

    @_sent.default
    def _default_sent(self) -> Sent:
        resource = {
            "service.name": self._settings.service,
            "service.version": self._exporter.version,
            "service.instance.id": self._exporter.instance,
            **self._settings.resource,
        }
        return Sent(resource, self._exporter.version)

    async def run(self, changed: trio.Event) -> None:
        """Send until `changed`, or cancelled; then what is left, as far as there is time."""
        tasks = {"traces": self._send_spans, "metrics": self._send_metrics}
        try:
            async with trio.open_nursery() as nursery:
                for signal in self._settings.signals:
                    nursery.start_soon(tasks[signal])
                await changed.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(self._exporter.flush, shield=True):
                await self._flush()

    async def _flush(self) -> None:
        async with trio.open_nursery() as nursery:
            if "metrics" in self._settings.signals:
                nursery.start_soon(self._export_metrics, ONE_TRY)
            while len(self._exporter.queue) and await self._export_spans(ONE_TRY):
                pass

    # --- traces ------------------------------------------------------------------------------

    async def _send_spans(self) -> None:
        queue = self._exporter.queue
        while True:
            with trio.move_on_after(LINGER):
                await queue.wait_full()
            while len(queue):
                await self._export_spans(trio.current_time() + PATIENCE)

    async def _export_spans(self, until: float) -> bool:
        queue, tally = self._exporter.queue, self._exporter.tally
        spans = queue.take()
        try:
            encoded = []
            for number, span in enumerate(spans):
                if number % AT_ONCE == 0:
                    await trio.lowlevel.checkpoint()
                encoded.append(encode_span(span))
            rejected = await self._export("traces", self._sent.traces(encoded), until)
        except trio.Cancelled:
            queue.put_back(spans)
            raise
        if rejected is None:
            if until == ONE_TRY:
                queue.put_back(spans)
            else:
                tally.spans["undelivered"] += len(spans)
            return False
        rejected = int(min(rejected, len(spans)))
        tally.spans["rejected"] += rejected
        tally.spans["exported"] += len(spans) - rejected
        return True

    # --- metrics -----------------------------------------------------------------------------

    async def _send_metrics(self) -> None:
        due = trio.current_time()
        while True:
            due += self._settings.interval
            await trio.sleep_until(due)
            await self._export_metrics(due + self._settings.interval)
            due = max(due, trio.current_time() - self._settings.interval)

    async def _export_metrics(self, until: float) -> None:
        metrics = []
        exporter = self._exporter
        looked = await exporter.look()
        families = [*looked, *exporter.operations.families(), *exporter.sessions.families()]
        now = time.time_ns()
        for number, family in enumerate(families):
            if number % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            metrics.append(encode_family(family, exporter.begun, now))
        await self._export("metrics", self._sent.metrics(metrics), until)

    # --- both --------------------------------------------------------------------------------

    async def _export(self, signal: Signal, body: bytes, until: float) -> float | None:
        """Deliver a message.

        Returns:
            How much of it was rejected; None where it could not be delivered.
        """
        exporter = self._exporter
        try:
            refusal = await self._sender.deliver(signal, body, until, partial(self._fail, signal))
        except Undelivered:
            return None
        except Rejected as error:
            exporter.tally.count(signal, "rejected")
            exporter.told(signal, str(error))
            return math.inf
        exporter.tally.count(signal, "delivered")
        if refusal is None or not refusal.count:
            exporter.told(signal, None)
            return 0
        exporter.told(signal, f"{refusal.count} are refused: {refusal.reason}")
        return refusal.count

    def _fail(self, signal: Signal, reason: str) -> None:
        self._exporter.tally.count(signal, "failed")
        self._exporter.told(signal, reason)
