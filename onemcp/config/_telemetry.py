"""What is told of the running gateway, as the configuration says it."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import attrs

from onemcp.config import _rules as rules

Readers: TypeAlias = Literal["admin", "anybody"]


@attrs.frozen(kw_only=True)
class Telemetry:
    """What is told of the running gateway.

    Attributes:
        metrics: Who may read `/metrics`: whoever has the scope admin, or whoever reaches it.
    """

    metrics: Readers = attrs.field(default="admin", validator=rules.one_of(get_args(Readers)))
