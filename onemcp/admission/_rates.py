"""How often something may happen.

Theory of operation: the generic cell rate algorithm (ITU-T I.371). For everybody one number is
kept, the time at which they would be even if they went on at exactly the rate. Whoever is not
further ahead of that than `BURST` may go on. Whoever is even by now needs no number, and is
forgotten.
"""

from __future__ import annotations

from typing import Final

import trio

BURST: Final = 1.0
"""How far anybody may be ahead, in seconds: as much as a second's worth may come at once."""

KEPT: Final = 1024
"""How many numbers are kept before those are looked for that aren't needed."""


class Rate:
    """Lets so much through in a second, of each of many.

    Attributes:
        refused: How much was not let through.
    """

    def __init__(self, per_second: float) -> None:
        """Begin with nobody known."""
        self.refused = 0
        self._per_second = per_second
        self._even_at: dict[str, float] = {}

    @property
    def per_second(self) -> float:
        """How much is let through; with another rate everybody begins anew."""
        return self._per_second

    @per_second.setter
    def per_second(self, per_second: float) -> None:
        if per_second != self._per_second:
            self._per_second = per_second
            self._even_at.clear()

    def __repr__(self) -> str:
        return f"<Rate per_second={self.per_second:g}>"

    def take(self, key: str = "", count: int = 1) -> bool:
        """Tell whether somebody may go on, and take note that they do.

        Args:
            key: Who.
            count: How much at once.
        """
        now = trio.current_time()
        even_at = max(now, self._even_at.get(key, now))
        pause = 1 / self._per_second
        if even_at + pause > now + BURST:
            self.refused += count
            return False
        if len(self._even_at) >= KEPT:
            self._even_at = {who: at for who, at in self._even_at.items() if at > now}
        self._even_at[key] = even_at + count * pause
        return True
