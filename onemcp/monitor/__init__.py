"""How the gateway is, for people and for programs that watch over it.

:mod:`.health` judges, :mod:`.routes` serves that over HTTP. What is looked at is described by
:class:`.health.Observed`: nothing here runs, and nothing is kept between two looks.
"""

from __future__ import annotations

from .health import BackendHealth, BackendState, Health, Observed, Readiness, Status, Unready
from .routes import HEALTH, LIVE, READY, Monitor

__all__ = [
    "HEALTH",
    "LIVE",
    "READY",
    "BackendHealth",
    "BackendState",
    "Health",
    "Monitor",
    "Observed",
    "Readiness",
    "Status",
    "Unready",
]
