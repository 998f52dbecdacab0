"""The streams of one session, as long as a client may come back to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onemcp.frontend.streams import EventLog

STANDALONE: Final = "0"
"""The name of the stream that belongs to no request."""

KEPT_STREAMS: Final = 32
"""How many streams of finished requests a session keeps for clients to come back to."""

KEPT_BYTES: Final = 4 * 1024 * 1024
"""How large these may be together; one is kept whatever its size."""


class Streams:
    """The standalone stream, and one for each request that has needed one.

    Attributes:
        standalone: The stream that belongs to no request.
    """

    def __init__(self, standalone: EventLog | None = None) -> None:
        """Begin with the standalone stream alone."""
        self.standalone = standalone or EventLog(STANDALONE)
        self._of_requests: dict[str, EventLog] = {}
        self._next = 0

    def __iter__(self) -> Iterator[EventLog]:
        yield self.standalone
        yield from self._of_requests.values()

    @property
    def are_read(self) -> bool:
        """Whether some connection reads from any of them now."""
        return any(log.is_read for log in self)

    def new(self, answers: int = 1) -> EventLog:
        """Begin a stream that ends with so many answers."""
        self._next += 1
        log = EventLog(str(self._next), answers)
        self._of_requests[log.name] = log
        self.forget()
        return log

    def find(self, name: str) -> EventLog | None:
        """Return a stream by its name, or None where it is not known (any more)."""
        return self.standalone if name == STANDALONE else self._of_requests.get(name)

    def forget(self) -> None:
        """Forget the oldest streams that are finished, where too much is kept."""
        finished = [log for log in self._of_requests.values() if log.finished]
        size = sum(log.size for log in finished)
        while len(finished) > KEPT_STREAMS or (len(finished) > 1 and size > KEPT_BYTES):
            oldest = finished.pop(0)
            size -= oldest.size
            del self._of_requests[oldest.name]

    def finish(self) -> None:
        """End all of them."""
        for log in self:
            log.finish()
