"""How the gateway is, for people and for programs that watch over it.

:mod:`.health` judges, :mod:`.metrics` measures, and :mod:`.routes` serves both over HTTP. What is
looked at is described by :class:`.health.Observed`; what can't be looked at, because it is over at
once, is counted by :mod:`.meter`.
"""

from __future__ import annotations

from .health import BackendHealth, BackendState, Health, Observed, Readiness, Status, Unready
from .meter import Meter, Total
from .routes import HEALTH, LIVE, METRICS, READY, Monitor

__all__ = [
    "HEALTH",
    "LIVE",
    "METRICS",
    "READY",
    "BackendHealth",
    "BackendState",
    "Health",
    "Meter",
    "Monitor",
    "Observed",
    "Readiness",
    "Status",
    "Total",
    "Unready",
]
