"""What the configuration says to the multiplexer, in the multiplexer's terms."""

from __future__ import annotations

import os
from typing import Final

from onemcp.admission import Limits, PlaceLimits
from onemcp.config import Configuration
from onemcp.multiplexer import ParkingLimits, SelfDescription

from .identity import VERSION

STARTS_PER_CORE: Final = 4
"""How many programs are started at a time where nothing is said: most wait now and then."""


def start_limit(configuration: Configuration) -> int:
    """Return how many programs may be started at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return configuration.limits.starts or STARTS_PER_CORE * (cores or 1)


def describe(configuration: Configuration) -> SelfDescription:
    """Return what the gateway says of itself."""
    server = configuration.server
    return SelfDescription(server.name, VERSION, server.instructions)


def admission_limits(configuration: Configuration) -> Limits:
    """Return how many calls are let through at a time, and may wait for that."""
    limits = configuration.limits
    return Limits(
        limits.in_flight,
        limits.in_flight_per_principal,
        limits.queued,
        limits.queued_per_principal,
    )


def parking_limits(configuration: Configuration) -> ParkingLimits:
    """Return how many calls may wait for their clients, and for how long."""
    limits = configuration.limits
    return ParkingLimits(
        limits.parked, limits.parked_per_principal, limits.parked_per_backend, limits.parked_for
    )


def session_limits(configuration: Configuration) -> PlaceLimits:
    """Return how many sessions there may be."""
    limits = configuration.limits
    return _places(configuration, limits.sessions, limits.sessions_per_principal)


def stream_limits(configuration: Configuration) -> PlaceLimits:
    """Return how many streams of events may be open."""
    limits = configuration.limits
    return _places(configuration, limits.streams, limits.streams_per_principal)


def _places(configuration: Configuration, total: int, per_principal: int | None) -> PlaceLimits:
    if per_principal is None:
        # Where nobody is asked who they are, all of them are one principal.
        per_principal = total if configuration.auth.mode == "none" else (total + 1) // 2
    return PlaceLimits(total, per_principal)
