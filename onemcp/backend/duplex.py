"""A connection on which everything shares one channel: stdio, and HTTP+SSE of 2024-11-05.

Theory of operation: three tasks. The *reader* takes lines off the channel and gives each to the
exchange it belongs to. The *writer* takes lines off a queue and writes all that have gathered at
once. The task of `run` itself agrees on a revision and then waits for the end. Whatever ends the
connection is recorded as its reason and cancels the others; exchanges still in flight are failed
with it before `run` raises it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeVarTuple, Unpack

import attrs
import trio
from msgspec import Raw

from onemcp.protocol import jsonrpc, meta
from onemcp.protocol.errors import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    BackendLost,
    InvalidParams,
    MessageTooLarge,
    Overloaded,
    ProtocolError,
)
from onemcp.protocol.fields import Fields, join, plain, raw, split, value_of
from onemcp.protocol.framing import Oversized
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.protocol.methods import CANCELLED, LOG_MESSAGE, PING, PROGRESS, QUESTIONS

from .attribution import attribute
from .call import Call, outgoing_params
from .connection import ConnectionLost, NotificationHandler, ServerDescription
from .exchange import Answer, Exchange
from .handshake import Terms, negotiate

Ts = TypeVarTuple("Ts")

MAX_QUESTIONS: Final = 256
"""How many questions of a backend may be unanswered at once."""

MAX_NONSENSE: Final = 1000
"""How many lines in a row may be something other than MCP before the backend is given up."""

_ID_IN_HEAD = re.compile(rb'"id"\s*:\s*(\d{1,18})\b')


class Channel(Protocol):
    """A bidirectional stream of lines."""

    async def send(self, lines: bytes) -> None:
        """Write whole lines.

        Raises:
            ConnectionLost: The other side is gone.
        """

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for lines; none means that the other side will send no more.

        Raises:
            ConnectionLost: The channel broke.
        """


class ChannelFactory(Protocol):
    """Opens a channel for the lifetime of one connection."""

    def __call__(self) -> AbstractAsyncContextManager[Channel]:
        """Open the channel; entering raises ConnectionLost where that isn't possible."""


@attrs.frozen
class DuplexLimits:
    """Bounds of one connection.

    Attributes:
        in_flight: How many requests may wait for an answer.
        queued: How many bytes may wait to be written.
    """

    in_flight: int = 1024
    queued: int = 64 * 1024 * 1024


class DuplexConnection:
    """A live connection over one shared channel; see :class:`.connection.Connection`."""

    def __init__(
        self,
        open_channel: ChannelFactory,
        terms: Terms,
        on_notification: NotificationHandler,
        limits: DuplexLimits,
    ) -> None:
        """Prepare a connection; `run` makes it."""
        self.server: ServerDescription | None = None
        self.last_violation: str | None = None
        self._open_channel = open_channel
        self._terms = terms
        self._on_notification = on_notification
        self._limits = limits
        self._exchanges: dict[RequestId, Exchange] = {}
        self._questions: dict[RequestId, Exchange] = {}
        self._next_id = 0
        self._outgoing: deque[bytes] = deque()
        self._queued = 0
        self._wake_writer = trio.Event()
        self._lost: ConnectionLost | None = None
        self._nonsense = 0

    @property
    def in_flight(self) -> int:
        """How many exchanges wait for their answer."""
        return len(self._exchanges)

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, agree on a revision, acknowledge, and serve until the end."""
        try:
            async with self._open_channel() as channel, trio.open_nursery() as nursery:
                nursery.start_soon(self._end_with, nursery.cancel_scope, self._read, channel)
                nursery.start_soon(self._end_with, nursery.cancel_scope, self._write, channel)
                await self._end_with(nursery.cancel_scope, self._serve, task_status)
        finally:
            self._fail_all(self._lost or ConnectionLost("it is being stopped"))
        raise self._lost or ConnectionLost("it ended")

    def open(self, call: Call) -> Exchange:
        """Send a request."""
        if self.server is None or self._lost is not None:
            raise BackendLost("the connection is not up")
        return self.open_as(call, self.server.revision)

    def open_as(self, call: Call, revision: str) -> Exchange:
        """Send a request in a given revision."""
        if len(self._exchanges) >= self._limits.in_flight:
            raise Overloaded(f"{len(self._exchanges)} requests are in flight, the limit")
        request_id = self._next_id + 1
        params, token = outgoing_params(call, revision, request_id)
        exchange = Exchange(request_id, call, self, token)
        self._send(jsonrpc.encode_request(request_id, call.method, params))
        self._next_id = request_id
        self._exchanges[request_id] = exchange
        return exchange

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; dropped where the queue is full."""
        try:
            self._send(jsonrpc.encode_notification(method, join(params)))
        except Overloaded:
            self.last_violation = "it doesn't read what it is sent"

    def abandon(self, exchange: Exchange) -> None:
        """Cancel a request at the backend."""
        if self._exchanges.pop(exchange.id, None) is not None and self._lost is None:
            self._drop_questions(exchange)
            self.notify(CANCELLED, {"requestId": raw(exchange.id)})

    def forget(self, exchange: Exchange) -> None:
        """Drop a request without telling the backend."""
        self._exchanges.pop(exchange.id, None)
        exchange.close()

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        """Send a client's answer to a question."""
        if answer.id is not None and self._questions.get(answer.id) is exchange:
            del self._questions[answer.id]
            self._answer(answer)

    def __repr__(self) -> str:
        state = "lost" if self._lost else "up" if self.server else "connecting"
        return f"<DuplexConnection {state} in_flight={self.in_flight}>"

    # --- tasks -------------------------------------------------------------------------------

    async def _end_with(
        self,
        scope: trio.CancelScope,
        run: Callable[[Unpack[Ts]], Awaitable[None]],
        *args: *Ts,
    ) -> None:
        """Run a part; the connection ends with it, for the reason it gives."""
        try:
            await run(*args)
        except ConnectionLost as reason:
            self._lost = self._lost or reason
        scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[ServerDescription]) -> None:
        self.server = await negotiate(self, self._terms)
        task_status.started(self.server)
        await trio.sleep_forever()

    async def _write(self, channel: Channel) -> None:
        while True:
            if not self._outgoing:
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
            lines = b"\n".join(self._outgoing) + b"\n"
            self._outgoing.clear()
            await channel.send(lines)
            self._queued -= len(lines)

    async def _read(self, channel: Channel) -> None:
        while lines := await channel.receive():
            for line in lines:
                if isinstance(line, Oversized):
                    self._on_oversized(line)
                else:
                    self._on_line(line)
        raise ConnectionLost("it closed its output")

    # --- sending -----------------------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if self._queued + len(line) > self._limits.queued and self._outgoing:
            raise Overloaded("the backend doesn't read what it is sent")
        self._queued += len(line) + 1
        self._outgoing.append(line)
        self._wake_writer.set()

    def _answer(self, answer: Answer) -> None:
        try:
            self._send(jsonrpc.encode(answer))
        except Overloaded:
            self.last_violation = "it doesn't read what it is sent"

    def _refuse(self, request: Request, code: int, message: str) -> None:
        self._answer(Failure(request.id, raw({"code": code, "message": message})))

    # --- receiving ---------------------------------------------------------------------------

    def _on_line(self, line: bytes) -> None:
        try:
            message = jsonrpc.decode(line)
        except ProtocolError as error:
            self._on_nonsense(f"it printed something other than MCP: {line[:80]!r} ({error})")
            return
        self._nonsense = 0
        match message:
            case Response() | Failure():
                self._on_answer(message)
            case Notification():
                self._on_note(message)
            case Request():
                self._on_question(message)

    def _on_nonsense(self, what: str) -> None:
        self.last_violation = what
        self._nonsense += 1
        if self._nonsense >= MAX_NONSENSE:
            raise ConnectionLost(f"{self._nonsense} lines in a row were not MCP; {what}")

    def _on_answer(self, answer: Answer) -> None:
        exchange = None if answer.id is None else self._exchanges.pop(answer.id, None)
        if exchange is None:
            self.last_violation = f"it answered a request that nobody made (id {answer.id!r:.40})"
            return
        self._drop_questions(exchange)
        exchange.finish(answer)

    def _on_note(self, note: Notification) -> None:
        try:
            params = split(note.params)
            exchange, passed_on = self._owner_of(note, params)
        except InvalidParams as error:
            self._on_nonsense(f"it sent a malformed {note.method}: {error}")
            return
        if exchange is not None:
            exchange.deliver(passed_on)
        elif note.method not in {PROGRESS, LOG_MESSAGE, CANCELLED}:
            self._on_notification(note)

    def _owner_of(self, note: Notification, params: Fields) -> tuple[Exchange | None, Notification]:
        """Find the exchange that a notification belongs to, and write it in the caller's terms."""
        if note.method == PROGRESS:
            return self._on_progress(note, params)
        if note.method == LOG_MESSAGE:
            level = value_of(params, "level", str)
            return attribute(self._exchanges.values(), level=level), note
        if note.method == CANCELLED:
            cancelled = plain(params.get("requestId"))
            return self._cancelled(cancelled), note
        subscription = plain(meta.meta_of(params).get(meta.SUBSCRIPTION_ID))
        return (None if subscription is None else self._by_id(subscription)), note

    def _on_progress(
        self, note: Notification, params: Fields
    ) -> tuple[Exchange | None, Notification]:
        exchange = self._by_id(plain(params.get("progressToken")))
        if exchange is None or exchange.progress_token is None:
            return None, note
        params["progressToken"] = exchange.progress_token
        return exchange, Notification(note.method, join(params))

    def _by_id(self, request_id: object) -> Exchange | None:
        return self._exchanges.get(request_id) if isinstance(request_id, int | str) else None

    def _cancelled(self, request_id: object) -> Exchange | None:
        """Take back a question, or end a subscription, that the backend cancels."""
        if not isinstance(request_id, int | str):
            return None
        asked = self._questions.pop(request_id, None)
        if asked is not None:
            return asked
        exchange = self._exchanges.pop(request_id, None)
        if exchange is not None:
            exchange.fail(BackendLost("the backend cancelled the request"))
        return None

    def _on_question(self, request: Request) -> None:
        if request.method == PING:
            self._answer(Response(request.id, Raw(b"{}")))
            return
        capability = QUESTIONS.get(request.method)
        if capability is None:
            self._refuse(request, METHOD_NOT_FOUND, f"Method not found: {request.method[:80]}")
            return
        exchange = attribute(self._exchanges.values(), capability=capability)
        if exchange is None:
            self._refuse(
                request, INVALID_REQUEST, f"No single client can answer {request.method} now"
            )
        elif len(self._questions) >= MAX_QUESTIONS or not exchange.deliver(request):
            self._refuse(request, INVALID_REQUEST, "Too many questions are unanswered")
        else:
            self._questions[request.id] = exchange

    def _on_oversized(self, line: Oversized) -> None:
        self.last_violation = f"it sent a message of {line.size} bytes, which is over the limit"
        found = _ID_IN_HEAD.search(line.head)
        exchange = self._exchanges.pop(int(found.group(1)), None) if found else None
        if exchange is None and len(self._exchanges) == 1:
            exchange = self._exchanges.pop(next(iter(self._exchanges)))
        if exchange is not None:
            exchange.fail(
                MessageTooLarge(f"the answer has {line.size} bytes, which is over the limit")
            )

    # --- the end -----------------------------------------------------------------------------

    def _drop_questions(self, exchange: Exchange) -> None:
        for request_id in [key for key, value in self._questions.items() if value is exchange]:
            del self._questions[request_id]

    def _fail_all(self, reason: ConnectionLost) -> None:
        self._lost = reason
        exchanges = list(self._exchanges.values())
        self._exchanges.clear()
        self._questions.clear()
        for exchange in exchanges:
            exchange.fail(BackendLost(f"the connection was lost with the call in flight: {reason}"))
