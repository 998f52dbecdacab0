"""The one stream of a client that has no other."""

from __future__ import annotations

from typing import Final

from onemcp.protocol import jsonrpc
from onemcp.protocol.jsonrpc import Message, Notification

from .streams import EventLog

NAME: Final = "outbox"


class Outbox(EventLog):
    """Everything that goes to a client, in one stream that no answer ends.

    Nobody can come back to it: what has been read is forgotten. Once it is finished, writers
    wait no more.
    """

    def __init__(self) -> None:
        """Begin with nothing to send."""
        super().__init__(NAME)

    async def put(self, message: Message) -> None:
        """Add a message, waiting for room where there is none."""
        await self.write(jsonrpc.encode(message), is_droppable=isinstance(message, Notification))

    def advance(self, position: int) -> None:
        """Take note that the events up to `position` have been read, and forget them."""
        while self._events and self._events[0].number <= position:
            self.size -= len(self._events.pop(0).data)
        super().advance(position)

    def _count_answer(self) -> None:
        """Go on: there is always another answer."""

    def _lags(self) -> bool:
        return not self.finished and super()._lags()

    def _make_room(self) -> bool:
        return super()._make_room() or self.finished
