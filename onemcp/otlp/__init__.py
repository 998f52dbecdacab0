"""Room of onemcp: metrics and traces on their way to an OpenTelemetry collector.

Implements OTLP/HTTP 1.x with protobuf (opentelemetry-proto, ``docs/specification.md``), the part of
a client. :class:`Exporter` is a task of the supervision tree; what it takes besides (the messages
of OTLP, an HTTP client) is imported only once there is something to send.
"""

from ._exporter import Exporter
from .events import SpansLost, TelemetryDelivered, TelemetryUndelivered

__all__ = ["Exporter", "SpansLost", "TelemetryDelivered", "TelemetryUndelivered"]
