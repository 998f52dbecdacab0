"""What goes wrong with requests, as typed events."""

from __future__ import annotations

import attrs


@attrs.frozen
class RequestFailed:
    """A request failed for a reason of onemcp's own: a bug.

    Attributes:
        path: Where it was sent, or its method where there are no paths.
        error: What was raised.
    """

    path: str
    error: Exception


@attrs.frozen
class RequestDenied:
    """A request was refused for its origin, its host or its credentials.

    Attributes:
        path: Where it was sent.
        status: The HTTP status it was answered with.
        reason: Why, for the operator.
    """

    path: str
    status: int
    reason: str
