"""What several replicas announce of one resource, told to clients once.

Nothing tells whether two replicas speak of one change or of two, nor from which of them a client
reads next. So the first announcement waits a while for those of the others, and clients are told
after the last of them: whichever replica they read from then has announced what it has to give.
What comes later still is told again, for a client may have read meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

import attrs
import trio

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import split, value_of
from onemcp.protocol.jsonrpc import Notification

GATHER: Final = 0.25
"""How long an update waits for other replicas to announce the same, in seconds."""

MAX_GATHERED: Final = 1000
"""How many resources are waited for at once; updates of more are told at once."""


@attrs.define
class _Update:
    """One resource that has changed.

    Attributes:
        note: What was announced last.
        due: When it is told at the latest, by Trio's clock.
        told_by: Who has announced it.
    """

    note: Notification
    due: float
    told_by: set[str] = attrs.field(factory=set)


class Coalescer:
    """The updates of resources that clients have not been told of yet."""

    def __init__(self, tell: Callable[[Notification], object]) -> None:
        """Hand on to `tell` what clients are to hear."""
        self._tell = tell
        self._updates: dict[str, _Update] = {}
        self._arrived = trio.Event()

    def add(self, note: Notification, replica: str, others: AbstractSet[str]) -> bool:
        """Take an update that a replica has announced.

        Args:
            note: The notification.
            replica: The key of the replica.
            others: The keys of all of which the same may be heard.

        Returns:
            Whether one more waited to be told, in the place of which this one is.
        """
        uri = _uri_of(note)
        update = None if uri is None else self._updates.get(uri)
        if uri is None or (update is None and len(self._updates) >= MAX_GATHERED):
            self._tell(note)
            return False
        is_known = update is not None
        if update is None:
            update = self._updates[uri] = _Update(note, trio.current_time() + GATHER)
        update.note = note
        update.told_by.add(replica)
        if others <= update.told_by:
            del self._updates[uri]
            self._tell(note)
        else:
            self._arrived.set()
        return is_known

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Tell what has waited for long enough, until cancelled."""
        task_status.started()
        while True:
            await self._arrived.wait()
            while self._updates:
                # They are due in the order in which they came.
                await trio.sleep_until(next(iter(self._updates.values())).due)
                self._tell_due()
            self._arrived = trio.Event()

    def _tell_due(self) -> None:
        now = trio.current_time()
        for uri in [uri for uri, update in self._updates.items() if update.due <= now]:
            self._tell(self._updates.pop(uri).note)

    def __repr__(self) -> str:
        return f"<Coalescer of {len(self._updates)} updates>"


def _uri_of(note: Notification) -> str | None:
    try:
        return value_of(split(note.params), "uri", str)
    except InvalidParams:
        return None
