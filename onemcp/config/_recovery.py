"""What one backend's failures mean for calls, as the configuration says it."""

from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules

Repeatable: TypeAlias = Literal["annotated", "all", "none"]


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
