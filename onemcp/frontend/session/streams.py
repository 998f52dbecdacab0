"""The streams of one session, as long as a client may come back to them.

Theory of operation: an event id (2025-11-25, Transports, Resumability and Redelivery) names the
stream, this incarnation of the session, the requests that the stream is for, and the event. So a
client that comes back with an id of a former incarnation, whose events are lost, is not given
anything else in their place. Its standalone stream begins anew; the stream of a request has one
thing left to say, which is that the answer is lost.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from onemcp.frontend.streams import EventLog, split_event_id
from onemcp.protocol.errors import BackendLost
from onemcp.protocol.jsonrpc import Failure, RequestId

STANDALONE: Final = "0"
"""The number of the stream that belongs to no request."""

KEPT_STREAMS: Final = 32
"""How many streams of finished requests a session keeps for clients to come back to."""

KEPT_BYTES: Final = 4 * 1024 * 1024
"""How large these may be together; one is kept whatever its size."""

MAX_NAMED: Final = 180
"""How many bytes of request ids an event id names; a stream of more can't say what is lost."""

LOST: Final = (
    "the answer is lost: the request was under way when onemcp was restarted, or is at another "
    "instance; it may or may not have acted"
)

_IDS: Final = msgspec.json.Decoder(list[int | str])


class Streams:
    """The standalone stream, and one for each request that has needed one.

    Attributes:
        standalone: The stream that belongs to no request.
    """

    def __init__(self, standalone: EventLog | None = None, *, taken_over: bool = False) -> None:
        """Begin with the standalone stream alone.

        Args:
            standalone: Where everything goes instead, if the client has no other stream.
            taken_over: Whether there has been another incarnation of the session.
        """
        self._incarnation = secrets.token_hex(6)
        self.standalone = standalone or EventLog(self._name(STANDALONE))
        self._taken_over = taken_over
        self._of_requests: dict[str, EventLog] = {}
        self._next = 0

    def __iter__(self) -> Iterator[EventLog]:
        yield self.standalone
        yield from self._of_requests.values()

    @property
    def are_read(self) -> bool:
        """Whether some connection reads from any of them now."""
        return any(log.is_read for log in self)

    def new(self, requests: Sequence[RequestId], failed: int = 0) -> EventLog:
        """Begin a stream that ends with the answers to some requests, and so many failures."""
        self._next += 1
        number = str(self._next)
        log = EventLog(self._name(number, requests), len(requests) + failed)
        self._of_requests[number] = log
        self.forget()
        return log

    def find(self, number: str) -> EventLog | None:
        """Return a stream by its number, or None where it is not known (any more)."""
        return self.standalone if number == STANDALONE else self._of_requests.get(number)

    async def come_back(self, event_id: str) -> tuple[EventLog, int | None] | None:
        """Return the stream that an event is of, and where to go on.

        Returns:
            The stream, and the number of the event, or None to go on where reading ended; nothing
            where there is no such event.
        """
        name, position = split_event_id(event_id) or ("", 0)
        number, _, rest = name.partition(".")
        incarnation, _, named = rest.partition(".")
        if incarnation == self._incarnation:
            log = self.find(number)
            if log is None or log.name != name or position > log.last:
                return None
            return log, position
        if not (self._taken_over and incarnation):
            return None
        return (self.standalone, None) if number == STANDALONE else await _lost(name, named)

    def forget(self) -> None:
        """Forget the oldest streams that are finished, where too much is kept."""
        finished = {number: log for number, log in self._of_requests.items() if log.finished}
        size = sum(log.size for log in finished.values())
        for number, log in list(finished.items()):
            if len(finished) <= KEPT_STREAMS and (len(finished) <= 1 or size <= KEPT_BYTES):
                return
            size -= log.size
            del finished[number], self._of_requests[number]

    def finish(self) -> None:
        """End all of them."""
        for log in self:
            log.finish()

    def _name(self, number: str, requests: Sequence[RequestId] = ()) -> str:
        ids = msgspec.json.encode(requests) if requests else b""
        named = urlsafe_b64encode(ids).decode().rstrip("=") if len(ids) <= MAX_NAMED else ""
        return f"{number}.{self._incarnation}.{named}".rstrip(".")


async def _lost(name: str, named: str) -> tuple[EventLog, int] | None:
    """Return what is left of the stream of a former incarnation."""
    try:
        requests = _IDS.decode(urlsafe_b64decode(named + "=" * (-len(named) % 4)))
    except (ValueError, msgspec.MsgspecError):
        return None
    if not requests:
        return None
    log = EventLog(name, len(requests))
    for request_id in requests:
        await log.write_answer(Failure(request_id, BackendLost(LOST).error))
    return log, 0
