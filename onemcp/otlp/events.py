"""What becomes of telemetry, as typed events: once for each change, not for each request."""

from __future__ import annotations

import attrs

from onemcp.config import Signal


@attrs.frozen
class TelemetryUndelivered:
    """The collector can't be reached, or doesn't take what it is sent. Sending goes on.

    Attributes:
        signal: What can't be delivered.
        reason: Why.
    """

    signal: Signal
    reason: str


@attrs.frozen
class TelemetryDelivered:
    """The collector takes again what it did not.

    Attributes:
        signal: What is delivered.
    """

    signal: Signal


@attrs.frozen
class SpansLost:
    """Spans that could not be sent are given up, because nothing is sent any more.

    Attributes:
        count: How many.
    """

    count: int
