"""A client that has launched this process: both eras on one pair of streams.

Implements 2026-07-28, stdio. Theory of operation: a request with the per-request fields of the
modern era is served statelessly, in a task of its own; everything else belongs to the one
:class:`.conversation.Conversation` of the process, which ``initialize`` begins. Both share the
outbox, which one task writes out, and the ids of what is in flight: a request whose id is in use is
refused without an id, because an answer to it would pass for the answer to the other one.

The end of the input is the end of everything. What is in flight then gets a grace period, unless
the client reads no more; subscriptions are ended once it is over. What has not been answered by
then is cancelled, and answered with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from onemcp.multiplexer import Multiplexer, View
from onemcp.protocol import jsonrpc, meta
from onemcp.protocol.errors import (
    InternalError,
    InvalidRequest,
    LocalError,
    MessageTooLarge,
    Overloaded,
    ProtocolError,
)
from onemcp.protocol.fields import raw, split
from onemcp.protocol.framing import LineDecoder, Oversized
from onemcp.protocol.jsonrpc import Failure, Message, Notification, Request, RequestId, Response
from onemcp.protocol.methods import CANCELLED, DISCOVER, LISTEN, PING, SET_LEVEL
from onemcp.telemetry import trace_of

from .content import MAX_BATCH
from .conversation import Conversation, abandoned, cancelled_id
from .events import RequestFailed
from .modern import caller_of
from .oversized import id_of
from .session import MAX_IN_FLIGHT, Sessions

PRINCIPAL: Final = "stdio"
"""Who the client is: whoever has launched this process."""

CHUNK: Final = 64 * 1024
LAST_WORDS: Final = 0.5
"""How long it may take, after the grace period, to say what will not be answered, in seconds."""

DRAIN_POLL: Final = 0.01
"""How often the end of what is in flight is looked for while ending, in seconds."""

_ABOUT_ONEMCP: Final = (PING, DISCOVER, LISTEN, SET_LEVEL)
"""What can be served before anything is known of the backends."""


@attrs.frozen
class _Served:
    """A modern request in flight.

    Attributes:
        method: What was called.
        scope: What it is served in.
    """

    method: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


async def _ready() -> None:
    await trio.lowlevel.checkpoint_if_cancelled()


class StdioFrontend:
    """Serves one client on a pair of streams.

    Attributes:
        grace: How long what is in flight may go on at the end, in seconds.
        ended: Set when the client has gone, or everything stops.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        view: View,
        sessions: Sessions,
        *,
        limit: int,
        grace: float,
        on_event: Callable[[RequestFailed], object],
        ready: Callable[[], Awaitable[object]] = _ready,
    ) -> None:
        """Serve a view of a multiplexer.

        Args:
            multiplexer: What is told that everything stops.
            view: What the client sees.
            sessions: Where the session of a legacy client lives.
            limit: The longest line to accept, in bytes.
            grace: How long what is in flight may go on at the end, in seconds.
            on_event: Takes what goes wrong.
            ready: Waits until the backends are known: a client asks as soon as it has launched us.
        """
        self.grace = grace
        self.ended = trio.Event()
        self._multiplexer = multiplexer
        self._view = view
        self._decoder = LineDecoder(limit)
        self._on_event = on_event
        self._ready = ready
        self._conversation = Conversation(sessions, view, PRINCIPAL, on_event, hold=self._hold)
        self._outbox = self._conversation.outbox
        self._modern: dict[RequestId, _Served] = {}
        self._is_over = False
        self._reading = trio.CancelScope()
        self._written = trio.Event()

    @property
    def limit(self) -> int:
        """The longest line to accept, in bytes; may be changed at any time."""
        return self._decoder.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._decoder.limit = limit

    async def run(
        self,
        source: trio.abc.ReceiveStream,
        sink: trio.abc.SendStream,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until the input ends, or the output can't be written, or until cancelled.

        Args:
            source: Where messages are read.
            sink: Where messages are written.
            task_status: How to acknowledge.
        """
        lives = trio.CancelScope(shield=True)
        try:
            async with trio.open_nursery() as nursery:
                tasks = await nursery.start(self._hold_tasks, lives)
                tasks.start_soon(self._write, sink)
                task_status.started()
                try:
                    with self._reading:
                        await self._read(source, tasks)
                except trio.Cancelled:  # everything stops, with the client still there
                    with trio.move_on_after(self.grace + LAST_WORDS, shield=True):
                        await self._end()
                    raise
                else:
                    with trio.move_on_after(self.grace + LAST_WORDS):
                        await self._end()
                finally:
                    lives.cancel()
        finally:
            self._conversation.close()
            self.ended.set()

    async def _hold_tasks(
        self, lives: trio.CancelScope, *, task_status: trio.TaskStatus[trio.Nursery]
    ) -> None:
        with lives:
            async with trio.open_nursery() as tasks:
                task_status.started(tasks)
                await trio.sleep_forever()

    async def _end(self) -> None:
        """Wait for what is in flight as long as it may go on, and answer what does longer."""
        with trio.move_on_after(self.grace):
            await self._finish()
            return
        self._is_over = True
        for served in self._modern.values():
            if served.method != LISTEN:
                served.scope.cancel()
        self._conversation.abandon()
        await self._finish()

    async def _finish(self) -> None:
        """Wait for what is in flight; then end subscriptions and write what is left."""
        await self._wait_idle(LISTEN)
        self._multiplexer.stop()
        await self._wait_idle()
        self._outbox.finish()
        await self._written.wait()

    async def _wait_idle(self, without: str | None = None) -> None:
        """Wait until nothing is in flight, apart from one method; or until nobody reads."""
        # The end is too rare for the hot path to tell when the last call has ended.
        while not self._written.is_set() and (  # noqa: ASYNC110
            self._conversation.in_flight
            or any(served.method != without for served in self._modern.values())
        ):
            await trio.sleep(DRAIN_POLL)

    # --- input and output --------------------------------------------------------------------

    async def _read(self, source: trio.abc.ReceiveStream, tasks: trio.Nursery) -> None:
        while True:
            try:
                data = await source.receive_some(CHUNK)
            except trio.BrokenResourceError:
                data = b""
            for line in self._decoder.feed(data):
                await self._take_line(line, tasks)
            if not data:
                last = self._decoder.finish()
                if last is not None:
                    await self._take_line(last, tasks)
                return

    async def _write(self, sink: trio.abc.SendStream) -> None:
        reader = self._outbox.read()
        try:
            while (event := await reader.receive()) is not None:
                await sink.send_all(event.data + b"\n")
        except trio.BrokenResourceError:
            pass  # the client has gone
        finally:
            reader.close()
            self._outbox.finish()
            self._written.set()
            self._reading.cancel()

    # --- messages ----------------------------------------------------------------------------

    async def _take_line(self, line: bytes | Oversized, tasks: trio.Nursery) -> None:
        if isinstance(line, Oversized):
            await self._refuse_oversized(line)
            return
        try:
            batch = jsonrpc.decode_batch(line, MAX_BATCH)
            if batch is not None:
                await self._conversation.take_batch(batch)
                return
            message = jsonrpc.decode(line)
        except LocalError as error:
            await self._outbox.put(Failure(jsonrpc.peek_id(line), error.error))
            return
        try:
            await self._take(message, tasks)
        except InvalidRequest as error:
            if isinstance(message, Request):  # to answer an answer would never end
                await self._outbox.put(Failure(None, error.error))

    async def _refuse_oversized(self, line: Oversized) -> None:
        request_id = id_of(line)
        error = MessageTooLarge(
            f"a line of {line.size} bytes is too long, the limit is {self._decoder.limit} "
            "(limits.bodyBytes)"
        )
        failure = Failure(request_id, error.error)
        # What is too long may be an answer: then it is the question that has failed.
        if not self._conversation.take_answer(failure):
            await self._outbox.put(failure)

    async def _take(self, message: Message, tasks: trio.Nursery) -> None:
        match message:
            case Request():
                if message.id in self._modern or self._conversation.is_serving(message.id):
                    raise InvalidRequest("the id of this request is in use by another one")
                if message.method == DISCOVER or meta.is_modern(message.params):
                    await self._begin(message, tasks)
                    return
            case Notification(method=method) if method == CANCELLED:
                served = self._cancelled(message)
                if served is not None:
                    served.scope.cancel()
                    return
        await self._conversation.take(message)

    def _cancelled(self, note: Notification) -> _Served | None:
        request_id = cancelled_id(note)
        return None if request_id is None else self._modern.get(request_id)

    # --- the modern era ----------------------------------------------------------------------

    async def _begin(self, request: Request, tasks: trio.Nursery) -> None:
        if len(self._modern) >= MAX_IN_FLIGHT:
            overloaded = Overloaded(f"{MAX_IN_FLIGHT} requests are in flight, the limit")
            await self._outbox.put(Failure(request.id, overloaded.error))
            return
        served = self._modern[request.id] = _Served(request.method)
        tasks.start_soon(self._serve, request, served)

    async def _serve(self, request: Request, served: _Served) -> None:
        try:
            with served.scope:
                await self._answer(request)
            if served.scope.cancelled_caught and self._is_over:
                await self._outbox.put(abandoned(request))
        except Exception as error:  # noqa: BLE001 - reported; the other requests go on
            self._on_event(
                RequestFailed(
                    request.method,
                    error,
                    request=request.id,
                    principal=PRINCIPAL,
                    trace=trace_of(request.params),
                )
            )
            internal = InternalError("internal error; see onemcp's log")
            await self._outbox.put(Failure(request.id, internal.error))
        finally:
            del self._modern[request.id]

    async def _answer(self, request: Request) -> None:
        try:
            about = meta.read_request_meta(meta.meta_of(split(request.params)))
            caller = caller_of(about, PRINCIPAL)
            await self._hold(request)
            reply = await self._view.dispatch(request, caller)
        except ProtocolError as error:
            await self._outbox.put(Failure(request.id, error.error))
            return
        try:
            while True:
                message = await reply.receive()
                is_last = isinstance(message, Response | Failure)
                if is_last and request.method == LISTEN:
                    # Here it is the server that ends the subscription (Cancellation).
                    await self._outbox.put(cancellation(request.id))
                await self._outbox.put(message)
                if is_last:
                    return
        finally:
            reply.close()

    async def _hold(self, request: Request) -> None:
        if request.method not in _ABOUT_ONEMCP:
            await self._ready()


def cancellation(request_id: RequestId) -> Notification:
    """Return what tells the client that its subscription is torn down."""
    return Notification(CANCELLED, raw({"requestId": request_id}))
