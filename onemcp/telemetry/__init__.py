"""Logs and metrics: fed by events, or looking at what is there; called by none.

Logs are one structured line for every event, with no secret and no control character in it.
`configure_logging` makes the logger and leads the libraries' logs to it; `LogEvents` writes what
happened. Neither raises into whoever reports.

Metrics are families of values, written by `expose`; `usage_of_sessions` and `own_usage` read what
processes use.
"""

from onemcp.telemetry._events import LogEvents, describe_event
from onemcp.telemetry._logging import configure_logging
from onemcp.telemetry._metrics import CONTENT_TYPE, Family, Histogram, Sample, expose
from onemcp.telemetry._scrub import scrub, scrub_text
from onemcp.telemetry._usage import OwnUsage, Usage, own_usage, usage_of_sessions
from onemcp.telemetry._writer import BackgroundWriter

__all__ = [
    "CONTENT_TYPE",
    "BackgroundWriter",
    "Family",
    "Histogram",
    "LogEvents",
    "OwnUsage",
    "Sample",
    "Usage",
    "configure_logging",
    "describe_event",
    "expose",
    "own_usage",
    "scrub",
    "scrub_text",
    "usage_of_sessions",
]
