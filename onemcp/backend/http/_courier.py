"""One HTTP request at a time: sent, and what comes back delivered.

Implements 2026-07-28, Streamable HTTP, Sending and Receiving Messages, and 2025-11-25,
Transports, Listening for Messages and Resumability.

Theory of operation: a stream of a legacy backend may break off at any event and go on with
another GET. A `_Cursor` keeps where it stands; `_read` moves it, whatever response it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs
import trio
from msgspec import Raw

from onemcp.backend.connection import too_large
from onemcp.backend.exchange import Exchange
from onemcp.backend.inbound import Inbound
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    MessageTooLarge,
    ProtocolError,
)
from onemcp.protocol.fields import split, value_of
from onemcp.protocol.jsonrpc import Failure, Message, Request, Response
from onemcp.protocol.methods import INITIALIZE
from onemcp.protocol.revisions import allows_batches
from onemcp.protocol.sse import Event, EventDecoder

from ._client import HeaderList, HttpClient
from ._problems import (
    NOT_FOUND,
    SERVER_ERROR,
    TOO_MANY_REQUESTS,
    Problem,
    SessionLost,
    judge,
)
from ._reply import EVENT_STREAM, JSON, Reply
from ._session import MAX_EVENT_ID, Session

LINGER: Final = 1.0
"""How long a stream may take to end after the answer, in seconds, to keep its connection."""

MAX_RESUMES: Final = 5
"""How often in a row a stream is resumed without anything new."""

MAX_NONSENSE: Final = 100
"""How many events of one stream may be something other than MCP."""

MAX_BATCH: Final = 1000
RETRY: Final = 1.0
"""How long to wait before a stream is resumed, in seconds, where the backend doesn't say."""

RETRY_MAXIMUM: Final = 60.0
"""The longest of these waits, where the backend doesn't say."""

RETRY_MINIMUM: Final = 0.05
"""The shortest, whatever the backend says: a stream that ends at once must not spin."""

HEALTHY: Final = 10.0
"""How long a stream lasts, in seconds, that ended for no reason to come back more slowly."""


def _may_pass(status: int) -> bool:
    return status >= SERVER_ERROR or status == TOO_MANY_REQUESTS


def _is_transient(problem: Problem) -> bool:
    if problem.status is not None:
        return problem.ends is None and _may_pass(problem.status)
    return isinstance(problem.error, BackendLost | BackendUnavailable)


@attrs.define
class _Cursor:
    """Where a stream stands.

    Attributes:
        id: The event to resume after, or None where that isn't possible.
        retry: How long the backend asked to wait before that, in seconds, or None.
        opened: Whether the backend has ever opened it.
        events: How many events have come.
        nonsense: How many of its events were not MCP.
        last_nonsense: What the last of them was.
    """

    id: str | None = None
    retry: float | None = None
    opened: bool = False
    events: int = 0
    nonsense: int = 0
    last_nonsense: str | None = None

    def wait(self, failures: int) -> float:
        """How long to wait before the next attempt, in seconds, after failures in a row."""
        asked = RETRY if self.retry is None else self.retry
        backoff = (
            min(RETRY * (1 << min(failures, 10)), RETRY_MAXIMUM) if failures else RETRY_MINIMUM
        )
        return max(asked, backoff)


class Courier:
    """Sends messages for a connection.

    Attributes:
        session: What has been agreed on with the backend.
    """

    def __init__(
        self, client: HttpClient, inbound: Inbound, on_contact: Callable[[], None]
    ) -> None:
        """Deliver to `inbound`, and tell `on_contact` whenever the backend responds."""
        self.session = Session()
        self._client = client
        self._inbound = inbound
        self._on_contact = on_contact
        self._limit = client.peer.limits.message_bytes

    async def ask(self, exchange: Exchange, body: bytes, headers: HeaderList) -> None:
        """Send a request and deliver everything that comes back for it.

        Raises:
            Problem: It got no answer.
        """
        cursor = _Cursor()
        async with self._client.send("POST", headers, body) as reply:
            self._on_contact()
            if not reply.ok:
                raise await self._refused(reply, exchange)
            if exchange.call.method == INITIALIZE:
                self.session.adopt(reply)
            if reply.kind == JSON:
                await self._read_json(reply, exchange)
                return
            if reply.kind != EVENT_STREAM:
                raise await self._refused(reply, exchange)
            broken = await self._read(reply, cursor, exchange)
        if not exchange.finished:
            await self._resume(exchange, cursor, broken)

    async def tell(self, body: bytes) -> None:
        """Send a notification or an answer.

        Raises:
            Problem: It was not taken.
        """
        async with self._client.send("POST", self.session.post(), body) as reply:
            self._on_contact()
            if not reply.ok:
                raise await self._refused(reply)
            await reply.refusal()  # nothing is expected; reading it frees the connection

    async def listen(self, on_problem: Callable[[Problem], None]) -> None:
        """Keep the standalone stream open for as long as the backend offers one.

        Args:
            on_problem: Told of every failed attempt.

        Raises:
            Problem: The session is over.
        """
        cursor, failures = _Cursor(), 0
        while True:
            events, since = cursor.events, trio.current_time()
            try:
                if not await self._listen_once(cursor):
                    return
            except Problem as problem:
                if problem.ends is not None or cursor.nonsense > MAX_NONSENSE:
                    raise
                on_problem(problem)
            healthy = cursor.events > events or trio.current_time() - since >= HEALTHY
            failures = 0 if healthy else failures + 1
            await trio.sleep(cursor.wait(failures))

    async def _listen_once(self, cursor: _Cursor) -> bool:
        """Read the standalone stream to its end.

        Returns:
            Whether it is worth coming back.
        """
        async with self._client.send("GET", self.session.get(cursor.id)) as reply:
            self._on_contact()
            if reply.ok and reply.kind == EVENT_STREAM:
                cursor.opened = True
                await self._read(reply, cursor, None)
                return True
            if reply.status == NOT_FOUND and cursor.opened and self.session.id is not None:
                ends = SessionLost("it has ended the session (HTTP 404)")
                raise Problem(BackendLost(ends.reason), reply.status, ends=ends)
            return _may_pass(reply.status)

    async def end_session(self) -> None:
        """End the session, if there is one; it doesn't matter whether that succeeds."""
        if self.session.id is None:
            return
        try:
            async with self._client.send("DELETE", self.session.delete()):
                self.session.id = None
        except Problem:
            await trio.lowlevel.checkpoint()

    # --- responses ---------------------------------------------------------------------------

    async def _refused(self, reply: Reply, exchange: Exchange | None = None) -> Problem:
        return judge(
            await reply.refusal(),
            None if exchange is None else exchange.id,
            session=self.session.id is not None,
            redact=self._client.peer.redact,
        )

    async def _read_json(self, reply: Reply, exchange: Exchange) -> None:
        body = await reply.body(self._limit)
        try:
            for message in self._messages(body):
                self._deliver(message, exchange)
        except ProtocolError as error:
            raise Problem(BackendProtocolError(f"it answered nonsense: {error}")) from error
        if not exchange.finished:
            raise Problem(BackendProtocolError("it answered with no response to the request"))

    async def _read(
        self, reply: Reply, cursor: _Cursor, exchange: Exchange | None
    ) -> Problem | None:
        """Deliver what comes on a stream, until the answer or the end.

        Returns:
            What broke the stream, or None where it ended.

        Raises:
            Problem: The stream can't be used any further.
        """
        reply.check_encoding()
        decoder = EventDecoder(self._limit)
        while True:
            try:
                chunk = await reply.chunk()
            except Problem as problem:
                return problem
            if not chunk:
                return None
            try:
                events = decoder.feed(chunk)
            except MessageTooLarge as error:
                raise Problem(too_large(self._limit)) from error
            for event in events:
                self._on_event(event, cursor, exchange)
            self._move(cursor, decoder.last_event_id)
            if exchange is not None and exchange.finished:
                with trio.move_on_after(LINGER):
                    while await reply.chunk_or_nothing():
                        pass
                return None

    def _move(self, cursor: _Cursor, event_id: str | None) -> None:
        if event_id is not None and len(event_id.encode()) <= MAX_EVENT_ID:
            cursor.id = event_id

    def _on_event(self, event: Event, cursor: _Cursor, exchange: Exchange | None) -> None:
        cursor.events += 1
        if event.retry is not None:
            cursor.retry = event.retry / 1000
        if event.event != "message" or not event.data:
            return
        try:
            for message in self._messages(event.data):
                self._deliver(message, exchange)
        except ProtocolError as error:
            if isinstance(error, BackendProtocolError):
                raise Problem(error) from error
            cursor.nonsense += 1
            cursor.last_nonsense = f"it sent an event that is not MCP: {error}"
            self._inbound.last_violation = cursor.last_nonsense
            if cursor.nonsense > MAX_NONSENSE:
                raise Problem(BackendProtocolError(cursor.last_nonsense)) from error

    def _messages(self, data: bytes) -> Iterator[Message]:
        parts: list[bytes] | list[Raw] = [data]
        if self.session.revision is not None and allows_batches(self.session.revision):
            parts = jsonrpc.decode_batch(data, MAX_BATCH) or [data]
        for part in parts:
            yield jsonrpc.decode(part)

    def _deliver(self, message: Message, exchange: Exchange | None) -> None:
        if exchange is None:
            self._inbound.take(message)
        elif isinstance(message, Response | Failure):
            self._on_answer(message, exchange)
        elif isinstance(message, Request) and not self.session.is_legacy:
            self._inbound.last_violation = "it sent a request, which its revision doesn't have"
        else:
            self._inbound.take(message, exchange)

    def _on_answer(self, answer: Response | Failure, exchange: Exchange) -> None:
        if isinstance(answer, Failure) and answer.id is None:
            answer = Failure(exchange.id, answer.error)
        if answer.id != exchange.id:
            raise BackendProtocolError(
                f"it answered with the id {answer.id!r:.40}, which is not that of the request"
            )
        if exchange.call.method == INITIALIZE and isinstance(answer, Response):
            # Everything from here on, beginning with notifications/initialized, says so.
            fields = split(answer.result, "the result of initialize")
            self.session.revision = value_of(fields, "protocolVersion", str)
        self._inbound.finish(exchange, answer)

    # --- streams that broke off --------------------------------------------------------------

    async def _resume(self, exchange: Exchange, cursor: _Cursor, broken: Problem | None) -> None:
        """Go on with a stream that ended before the answer.

        Raises:
            Problem: That isn't possible.
        """
        failures = 0
        while not exchange.finished:
            if cursor.id is None or not self.session.is_legacy or failures >= MAX_RESUMES:
                raise self._cut_off(cursor, broken)
            await trio.sleep(cursor.wait(failures))
            events = cursor.events
            try:
                broken = await self._resume_once(exchange, cursor)
            except Problem as problem:
                if not _is_transient(problem):
                    raise
                broken = problem
            failures = 0 if cursor.events > events else failures + 1

    async def _resume_once(self, exchange: Exchange, cursor: _Cursor) -> Problem | None:
        async with self._client.send("GET", self.session.get(cursor.id)) as reply:
            self._on_contact()
            if reply.ok and reply.kind == EVENT_STREAM:
                return await self._read(reply, cursor, exchange)
            refused = await self._refused(reply)
            text = f"its stream ended before the answer and can't be resumed: {refused.reason}"
            raise Problem(BackendLost(text), reply.status, ends=refused.ends)

    def _cut_off(self, cursor: _Cursor, broken: Problem | None) -> Problem:
        if cursor.last_nonsense is not None:
            return Problem(BackendProtocolError(f"{cursor.last_nonsense}, and no answer"))
        if broken is not None:
            return Problem(BackendLost(f"its stream broke before the answer: {broken.reason}"))
        return Problem(BackendLost("its stream ended before the answer"))
