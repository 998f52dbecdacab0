"""What those are told who are refused for a limit."""

from __future__ import annotations

import math
from typing import Final

from onemcp.protocol.errors import Overloaded

SHORTEST_RETRY: Final = 1.0
LONGEST_RETRY: Final = 30.0
"""After how long those who are refused are told to try again, in seconds."""


def refusal(
    said: str, option: str, *, wait: float = SHORTEST_RETRY, is_own: bool = False
) -> Overloaded:
    """Return the error for a limit that is reached.

    Args:
        said: What there is too much of.
        option: Where the limit is configured.
        wait: How long others have had to wait, in seconds.
        is_own: Whether it is a limit of the client's own, which others don't meet.
    """
    seconds = math.ceil(min(max(wait, SHORTEST_RETRY), LONGEST_RETRY))
    return Overloaded(
        f"{said}, the limit ({option}); try again in {seconds} s",
        {"retryAfter": seconds},
        retry_after=seconds,
        is_own=is_own,
    )
