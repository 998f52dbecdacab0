"""A connection on which everything shares one channel: stdio, and HTTP+SSE of 2024-11-05.

Theory of operation: three tasks. The *reader* takes lines off the channel and gives each to the
exchange it belongs to. The *writer* takes lines off a queue and writes all that have gathered at
once; only a line that comes alone, with nothing in flight that could have company for it, is
written by whoever sends it, as far as that goes without waiting. The task of `run` itself agrees on
a revision and then waits for the end. Whatever ends the connection is recorded as its reason and
cancels the others; exchanges still in flight are failed with it at once. Only then is the channel
closed, which may take a program its time, and the reason raised.
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

from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    BackendUnavailable,
    InvalidParams,
    Overloaded,
    ProtocolError,
)
from onemcp.protocol.fields import Fields, join, raw
from onemcp.protocol.framing import Oversized
from onemcp.protocol.methods import CANCELLED
from onemcp.protocol.revisions import Era, allows_batches

from .call import Call, outgoing_params
from .connection import ConnectionLost, NotificationHandler, ServerDescription, too_large
from .exchange import Answer, Exchange
from .handshake import Terms, negotiate
from .inbound import Inbound
from .throttle import Throttle

Ts = TypeVarTuple("Ts")

MAX_NONSENSE: Final = 1000
"""How many lines in a row may be something other than MCP before the backend is given up."""

IN_A_ROW: Final = 4
"""How many lines are taken before others have their turn: a flood must not hold them up."""

MAX_BATCH: Final = 1000
"""How many messages one line may hold, in the one revision that has batches."""

MAX_NOISE: Final = 4096
"""How many bytes of such a line are looked at; fewer are repeated."""

_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(\d{1,18})'
_ANSWER = re.compile(  # how an answer begins, with its id where that comes first
    rb"\s*\{\s*(?:%(version)b\s*,\s*)?(?:%(id)b\s*,\s*)?(?:%(version)b\s*,\s*)?"
    rb'"(?:result|error)"\s*:' % {b"version": _VERSION, b"id": _ID}
)
_TAIL = re.compile(  # how an answer ends whose id comes last
    rb",\s*(?:%(version)b\s*,\s*)?%(id)b\s*(?:,\s*%(version)b\s*)?\}\s*\Z"
    % {b"version": _VERSION, b"id": _ID}
)


class Channel(Protocol):
    """A bidirectional stream of lines."""

    async def send(self, lines: bytes) -> None:
        """Write whole lines.

        Raises:
            ConnectionLost: The other side is gone.
        """

    def send_nowait(self, lines: bytes) -> bytes:
        """Write what can be written without waiting, and return the rest.

        What is wrong with the channel is for `send` to tell, which gets the rest.
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
        redact: Callable[[str], str] = str,
        *,
        throttle: Throttle | None = None,
        watch: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Prepare a connection; `run` makes it.

        Args:
            open_channel: Opens the channel.
            terms: How to talk to the backend for the first time.
            on_notification: Takes what belongs to no exchange.
            limits: The bounds.
            redact: Takes what is secret out of what the backend says.
            throttle: Bounds how many notifications are passed on; by default all are.
            watch: Raises ConnectionLost where the backend must not go on; by default nothing does.
        """
        self._watch = watch
        self._throttle = throttle or Throttle()
        self.server: ServerDescription | None = None
        self.is_shared = True
        self._open_channel = open_channel
        self._terms = terms
        self._limits = limits
        self._redact = redact
        self.inbound = Inbound(self._answer, on_notification, self._throttle)
        self._channel: Channel | None = None
        self._takes_batches = False
        self._next_id = 0
        self._outgoing: deque[bytes] = deque()
        self._queued = 0
        self._wake_writer = trio.Event()
        self._lost: ConnectionLost | None = None
        self._nonsense = 0

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, agree on a revision, acknowledge, and serve until the end."""
        async with self._open_channel() as channel:
            self._channel = channel
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._end_with, nursery.cancel_scope, self._read, channel)
                    nursery.start_soon(self._end_with, nursery.cancel_scope, self._write, channel)
                    nursery.start_soon(self._throttle.run)
                    if self._watch is not None:
                        nursery.start_soon(self._end_with, nursery.cancel_scope, self._watch)
                    await self._end_with(nursery.cancel_scope, self._serve, task_status)
            finally:
                self._lost = self._lost or ConnectionLost("it is being stopped")
                self.server = None
                self.inbound.fail_all(self._lost)
        raise self._lost

    def open(self, call: Call) -> Exchange:
        """Send a request."""
        if self.server is None:
            raise BackendUnavailable("the connection is not up")
        return self.open_as(call, self.server.revision)

    def open_as(self, call: Call, revision: str) -> Exchange:
        """Send a request in a given revision."""
        if self._lost is not None:
            raise BackendUnavailable("the connection is not up")
        if len(self.inbound.exchanges) >= self._limits.in_flight:
            raise Overloaded(f"{self._limits.in_flight} requests are in flight, the limit")
        request_id = self._next_id + 1
        params, token = outgoing_params(call, revision, request_id)
        exchange = Exchange(request_id, call, self, token)
        self._send(jsonrpc.encode_request(request_id, call.method, params))
        self._next_id = request_id
        self.inbound.add(exchange)
        return exchange

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; dropped where the queue is full."""
        try:
            self._send(jsonrpc.encode_notification(method, join(params)))
        except Overloaded:
            self.inbound.last_violation = "it doesn't read what it is sent"

    def abandon(self, exchange: Exchange) -> None:
        """Cancel a request at the backend."""
        if self.inbound.drop(exchange):
            self.inbound.linger(exchange)
            self.notify(CANCELLED, {"requestId": raw(exchange.id)})

    def forget(self, exchange: Exchange) -> None:
        """Drop a request without telling the backend."""
        if self.inbound.drop(exchange):
            self.inbound.linger(exchange)
        exchange.close()

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        """Send a client's answer to a question."""
        claimed = self.inbound.claim(exchange, answer)
        if claimed is not None:
            self._answer(claimed)

    def __repr__(self) -> str:
        state = "lost" if self._lost else "up" if self.server else "connecting"
        return f"<DuplexConnection {state} in_flight={self.inbound.in_flight}>"

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
            self._lost = self._lost or reason.redacted(self._redact)
            self.server = None
        scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[ServerDescription]) -> None:
        self.server = await negotiate(self, self._terms)
        self._takes_batches = allows_batches(self.server.revision)
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
            for number, line in enumerate(lines, 1):
                if isinstance(line, Oversized):
                    self._on_oversized(line)
                else:
                    self._on_line(line)
                if number % IN_A_ROW == 0:  # what has come is taken, though the connection ends
                    await trio.lowlevel.cancel_shielded_checkpoint()
        raise ConnectionLost("it closed its output")

    # --- sending -----------------------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if self._queued + len(line) > self._limits.queued and self._outgoing:
            raise Overloaded("the backend doesn't read what it is sent")
        if not self._queued and not self.inbound.exchanges and self._channel is not None:
            rest = self._channel.send_nowait(line + b"\n")
            if not rest:
                return
            line = rest[:-1]
        self._queued += len(line) + 1
        if not self._outgoing:
            self._wake_writer.set()
        self._outgoing.append(line)

    def _answer(self, answer: Answer) -> None:
        try:
            self._send(jsonrpc.encode(answer))
        except Overloaded:
            self.inbound.last_violation = "it doesn't read what it is sent"

    # --- receiving ---------------------------------------------------------------------------

    def _on_line(self, line: bytes) -> None:
        batch: list[Raw] | None = None
        if self._takes_batches:
            try:
                batch = jsonrpc.decode_batch(line, MAX_BATCH)
            except ProtocolError as error:
                self._on_noise(line, error)
                return
        for message in [line] if batch is None else batch:
            self._on_message(message)

    def _on_message(self, data: bytes | Raw) -> None:
        try:
            message = jsonrpc.decode(data)
        except ProtocolError as error:
            self._on_noise(data, error)
            return
        if isinstance(message, jsonrpc.Request) and self._is_modern:
            # There is nothing that a client of this era may write back (2026-07-28, stdio).
            self._on_nonsense("it sent a request, which its revision doesn't have")
            return
        self._nonsense = 0
        try:
            self.inbound.take(message)
        except InvalidParams as error:
            self._on_nonsense(error.message)

    @property
    def _is_modern(self) -> bool:
        return self.server is not None and self.server.era is Era.MODERN

    def _on_noise(self, data: bytes | Raw, error: ProtocolError) -> None:
        said = self._redact(bytes(data)[:MAX_NOISE].decode(errors="backslashreplace"))[:80]
        self._on_nonsense(f"it printed something other than MCP: {said!r} ({error})")

    def _on_nonsense(self, what: str) -> None:
        self.inbound.last_violation = what
        self._nonsense += 1
        if self._nonsense >= MAX_NONSENSE:
            raise ConnectionLost(f"{self._nonsense} lines in a row were not MCP; {what}")

    def _on_oversized(self, line: Oversized) -> None:
        self.inbound.last_violation = (
            f"it sent a message of {line.size} bytes, over the limit of {line.limit}"
        )
        exchange = self._answered_by(line)
        if exchange is not None:
            self.inbound.drop(exchange)
            exchange.fail(too_large(line.limit, line.size))

    def _answered_by(self, line: Oversized) -> Exchange | None:
        answer = _ANSWER.match(line.head)
        if answer is None:
            return None  # a notification or a question: every call still gets its answer
        exchanges = self.inbound.exchanges
        found = answer.group(1) or ((tail := _TAIL.search(line.tail)) and tail.group(1))
        if found:
            return exchanges.get(int(found))
        return next(iter(exchanges.values())) if len(exchanges) == 1 else None
