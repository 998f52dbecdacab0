"""Logs: one structured line for every event, with no secret and no control character in it.

`configure_logging` makes the logger and leads the libraries' logs to it; `LogEvents` writes what
happened. Neither raises into whoever reports.
"""

from onemcp.telemetry._events import LogEvents
from onemcp.telemetry._logging import configure_logging
from onemcp.telemetry._scrub import scrub

__all__ = ["LogEvents", "configure_logging", "scrub"]
