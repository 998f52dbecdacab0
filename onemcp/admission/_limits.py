"""The bounds of admission."""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Limits:
    """What all calls together may take, and those of one principal.

    Attributes:
        in_flight: How many may be under way.
        in_flight_per_principal: How many of them may be one principal's.
        queued: How many may wait for a place.
        queued_per_principal: How many of them may be one principal's.
    """

    in_flight: int = 1024
    in_flight_per_principal: int = 512
    queued: int = 1024
    queued_per_principal: int = 256


@attrs.frozen
class BackendLimits:
    """What calls of one backend may take.

    Attributes:
        in_flight: How many may be under way.
        queued: How many may wait for a place.
    """

    in_flight: int = 256
    queued: int = 256


DEFAULT: Final = BackendLimits()
