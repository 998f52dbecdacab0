"""How long a client may take over something, which what it gives or takes of it makes longer."""

from __future__ import annotations

from typing import Final

LEAST_RATE: Final = 1024
"""What a client has to give or take on average once its patience is used up, in bytes a second."""


class Patience:
    """What is left of the time for one body, or for one part of a response.

    Without it a byte now and then would hold a connection, and what waits for it, for ever.

    Attributes:
        seconds: How long the client may be silent now.
    """

    __slots__ = ("_most", "seconds")

    def __init__(self, most: float) -> None:
        """Begin with `most` seconds, which it will never have more of."""
        self.seconds = self._most = most

    def spend(self, seconds: float, size: int) -> None:
        """Take note that so many bytes have moved after so many seconds."""
        self.seconds = min(self._most, self.seconds - seconds + size / LEAST_RATE)
