"""What comes back of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import httpx


@attrs.frozen
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        headers: The headers.
        body: The body, without any encoding; empty for a stream of events, which need not end.
    """

    status: int
    headers: httpx.Headers = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
