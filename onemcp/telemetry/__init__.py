"""Logs and metrics: fed by events, or looking at what is there; called by none.

Logs are one structured line for every event, with no secret and no control character in it.
`configure_logging` makes the logger and leads the libraries' logs to it; `LogEvents` writes what
happened. Neither raises into whoever reports.

Metrics are families of values, written by `expose`; `usage_of_sessions` and `own_usage` read what
processes use, `resident_bytes` and `memory_limit` what this one holds, and may hold.

Traces are spans, begun by a `Tracer` and taken by whoever exports them.
"""

from onemcp.telemetry._bodies import BodyScrubber
from onemcp.telemetry._events import LogEvents, describe_event
from onemcp.telemetry._failures import kind_of, snake_case
from onemcp.telemetry._logging import configure_logging
from onemcp.telemetry._memory import memory_limit, resident_bytes
from onemcp.telemetry._metrics import CONTENT_TYPE, Family, Histogram, Sample, expose
from onemcp.telemetry._questions import Questioned
from onemcp.telemetry._requests import OfRequest, trace_of
from onemcp.telemetry._scrub import Scrubbed, scrub, scrub_text
from onemcp.telemetry._sessions import OfSession
from onemcp.telemetry._spans import (
    LONGEST_ID,
    OTHER,
    REQUEST_ID,
    REVISION,
    SESSION,
    Attributes,
    Span,
    SpanKind,
    Tracer,
    described,
)
from onemcp.telemetry._usage import OwnUsage, Usage, own_usage, usage_of_sessions
from onemcp.telemetry._writer import BackgroundWriter

__all__ = [
    "CONTENT_TYPE",
    "LONGEST_ID",
    "OTHER",
    "REQUEST_ID",
    "REVISION",
    "SESSION",
    "Attributes",
    "BackgroundWriter",
    "BodyScrubber",
    "Family",
    "Histogram",
    "LogEvents",
    "OfRequest",
    "OfSession",
    "OwnUsage",
    "Questioned",
    "Sample",
    "Scrubbed",
    "Span",
    "SpanKind",
    "Tracer",
    "Usage",
    "configure_logging",
    "describe_event",
    "described",
    "expose",
    "kind_of",
    "memory_limit",
    "own_usage",
    "resident_bytes",
    "scrub",
    "scrub_text",
    "snake_case",
    "trace_of",
    "usage_of_sessions",
]
