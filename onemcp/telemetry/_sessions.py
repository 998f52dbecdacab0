"""Sessions that are over, as every event about one tells of it."""

from __future__ import annotations

from typing import ClassVar

import attrs

from ._spans import Attributes, SpanKind


@attrs.frozen(kw_only=True)
class OfSession:
    """What is about a session of the legacy era that is over.

    Attributes:
        side: Whether onemcp was the server in it, or the client.
        revision: The revision that was agreed on.
        seconds: How long it lasted.
        failure: What it has ended with, if that was an error, as kinds of failures are called.
        way: How its messages came, as spans tell it; of no use to the log.
    """

    side: ClassVar[SpanKind]

    revision: str
    seconds: float
    failure: str | None = None
    way: Attributes = attrs.field(factory=dict, repr=False)
