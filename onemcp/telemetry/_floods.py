"""Keep what strangers can cause at will from filling the log. Pure: the caller tells the time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

MOST: Final = 20
"""How many lines about events of one kind are written in a window."""

WINDOW: Final = 10.0
"""How long a window is, in seconds."""


@attrs.define
class _Window:
    """One window of one kind.

    Attributes:
        ends: When it is over.
        admitted: How many events were let through.
        held: How many were not.
    """

    ends: float
    admitted: int = 0
    held: int = 0


class Floods:
    """Lets a bounded number of events of each kind through, and counts the others."""

    def __init__(self) -> None:
        """Begin without any."""
        self._windows: dict[type, _Window] = {}
        self._holding = False

    def admits(self, kind: type, now: float) -> bool:
        """Tell whether one more event is let through."""
        window = self._windows.get(kind)
        if window is None or now >= window.ends:
            window = self._windows[kind] = _Window(now + WINDOW)
        if window.admitted < MOST:
            window.admitted += 1
            return True
        window.held += 1
        self._holding = True
        return False

    def over(self, now: float) -> Iterator[tuple[type, int]]:
        """Yield how many events of which kind were held back in windows that are over."""
        if not self._holding:
            return
        ended = {kind: each for kind, each in self._windows.items() if now >= each.ends}
        for kind, window in ended.items():
            del self._windows[kind]
            if window.held:
                yield kind, window.held
        self._holding = any(each.held for each in self._windows.values())
