"""How many notifications of a backend are passed on, and what becomes of the others.

Theory of operation: a rate of each connection, with a second's worth at once. What comes beyond it
is treated by what it means. Of what says how something stands *now* (a list, a resource or a task
that has changed, how far a call is) the latest is held, for as long as `HOLD`, and replaced by what
says the same later. Of everything else, log messages above all, the latest alone is of no use: that
is dropped, and the call that it belongs to is told how much. What somebody waits for, such as a
cancellation, always passes. Answers and questions are never held up: they don't come by here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs
import trio

from onemcp.admission import Rate
from onemcp.protocol.fields import Fields, value_of
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import (
    ACKNOWLEDGED,
    CANCELLED,
    ELICITATION_COMPLETE,
    LIST_CHANGED,
    LOG_MESSAGE,
    PROGRESS,
    RESOURCE_UPDATED,
    TASK_CHANGED,
    TASK_STATUS,
)
from onemcp.protocol.tasks import TASK_ID

HOLD: Final = 0.1
"""How long what comes beyond the rate is held, in seconds."""

MAX_HELD: Final = 1000
"""How many different ones are held at once; more are dropped."""

MAX_BYTES: Final = 16 * 1024
"""How large one of them may be; larger ones are dropped."""

_PASSING: Final = frozenset({ACKNOWLEDGED, CANCELLED, ELICITATION_COMPLETE})
"""What somebody waits for: never held, nor counted."""

_SUBJECT: Final = {
    RESOURCE_UPDATED: "uri",
    TASK_STATUS: TASK_ID,
    TASK_CHANGED: TASK_ID,
    PROGRESS: "progressToken",
}
_KNOWN: Final = LIST_CHANGED | _SUBJECT.keys() | {LOG_MESSAGE}


@attrs.frozen
class Tally:
    """What has become of the notifications of a backend, by their methods.

    Attributes:
        coalesced: How many were replaced by later ones that say the same.
        dropped: How many were lost.
    """

    coalesced: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)

    def drop(self, method: str) -> None:
        """Count one that is lost."""
        self.dropped[method if method in _KNOWN else "other"] += 1

    def coalesce(self, method: str) -> None:
        """Count one that is replaced."""
        self.coalesced[method] += 1


class Throttle:
    """Lets so many notifications through on a connection.

    Attributes:
        tally: Counts what doesn't get through.
    """

    def __init__(self, per_second: float = math.inf, tally: Tally | None = None) -> None:
        """Let `per_second` through in a second."""
        self.tally = tally or Tally()
        self._rate = Rate(per_second)
        self._held: dict[tuple[str, object], Callable[[], object]] = {}
        self._something = trio.Event()

    def __repr__(self) -> str:
        return f"<Throttle held={len(self._held)}>"

    def admits(self, method: str) -> bool:
        """Tell whether a notification is to be passed on at once."""
        return method in _PASSING or self._rate.take()

    def supersede(self, note: Notification, params: Fields) -> None:
        """Forget what is held that a notification says better, which is passed on now."""
        if self._held and self._held.pop(_key(note, params), None) is not None:
            self.tally.coalesce(note.method)

    def hold(self, note: Notification, params: Fields, pass_on: Callable[[], object]) -> bool:
        """Hold a notification that is not admitted.

        Returns:
            False where there is no use in that, or no room: it is lost then, and counted.
        """
        key = _key(note, params)
        if key in self._held:
            self.tally.coalesce(note.method)
        elif not self._can_hold(note):
            self.tally.drop(note.method)
            return False
        self._held[key] = pass_on
        self._something.set()
        return True

    def _can_hold(self, note: Notification) -> bool:
        says_how_it_stands = note.method in _SUBJECT or note.method in LIST_CHANGED
        has_room = len(self._held) < MAX_HELD and len(note.params) <= MAX_BYTES
        return says_how_it_stands and has_room

    async def run(self) -> None:
        """Pass on what is held when its time has come, until cancelled."""
        while True:
            await self._something.wait()
            await trio.sleep(HOLD)
            self._something = trio.Event()
            held, self._held = self._held, {}
            for pass_on in held.values():
                pass_on()


def _key(note: Notification, params: Fields) -> tuple[str, object]:
    subject = _SUBJECT.get(note.method)
    if subject is None:
        return note.method, None
    if note.method == PROGRESS:
        return note.method, bytes(params.get(subject, b""))
    return note.method, value_of(params, subject, str)
