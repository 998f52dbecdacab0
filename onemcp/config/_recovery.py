"""What one backend's failures mean for calls, as the configuration says it."""

from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules

Repeatable: TypeAlias = Literal["annotated", "all", "none"]


@attrs.frozen(kw_only=True)
class Breaker:
    """When one backend isn't called for a while, because calls to it fail.

    Attributes:
        failures: How many within `window` open it; 0 never does.
        window: The length of that window, in seconds.
        rate: Which part of all calls since the first of them they have to be, at least.
        cooldown: How long it stays open at most, in seconds, before one call is let through: at
            first a small part of that, twice as long each time that the call fails.
    """

    failures: int = attrs.field(default=5, validator=rules.at_least(0))
    window: float = attrs.field(default=300.0, validator=rules.positive)
    rate: float = attrs.field(default=0.5, validator=rules.positive)
    cooldown: float = attrs.field(default=15.0, validator=rules.positive)


@attrs.frozen(kw_only=True)
class Retry:
    """Which calls are made again by themselves, when the backend went away with them in flight.

    Attributes:
        attempts: How often one call is made again, at most.
        tools: Which tools: those annotated as read-only or idempotent, all, or none.
    """

    attempts: int = attrs.field(default=1, validator=rules.at_least(0))
    tools: Repeatable = attrs.field(
        default="annotated", validator=rules.one_of(get_args(Repeatable))
    )
