"""Sessions of legacy clients.

Theory of operation: each session is a temporary child of the `sessions` supervisor. Its task holds
the nursery in which calls go on whose connection has gone (a disconnect is no cancellation in the
legacy era), tells the client of changes on its standalone stream, and ends the session when it
has been idle, or alive, for too long. Everything that a session holds is bounded.
"""

from __future__ import annotations

import contextvars
import math
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio
from msgspec import Raw

from onemcp.backend import Answer, Caller, Incoming
from onemcp.multiplexer import ALL_LISTS, Reply, Subscriber, View
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import InvalidRequest, Overloaded
from onemcp.protocol.jsonrpc import Failure, Notification, RequestId, Response
from onemcp.supervision import (
    ChildSpec,
    DynamicSupervisor,
    Restart,
    SupervisionError,
)

from .streams import EventLog

STANDALONE: Final = "0"
"""The name of the stream that belongs to no request."""

KEPT_STREAMS: Final = 32
"""How many streams of finished requests a session keeps for clients to come back to."""

KEPT_BYTES: Final = 4 * 1024 * 1024
"""How large these may be together; one is kept whatever its size."""

MAX_IN_FLIGHT: Final = 256
"""How many requests of one session may be in flight."""

MAX_SESSIONS: Final = 1_000_000
"""More than the configuration allows: the limit that counts is `Sessions.limit`."""

ABANDONED: Final = 60.0
"""After so many seconds without a request or a stream a session may make room for a new one."""

DEFAULT_LEVEL: Final = "info"
"""The level of log messages that a client gets before it asks for another."""


@attrs.frozen
class Deadlines:
    """When sessions end by themselves.

    Attributes:
        idle: After so many seconds without a request or an open stream.
        lifetime: After so many seconds altogether.
    """

    idle: float
    lifetime: float


@attrs.frozen
class Opening:
    """What a client says when it opens a session.

    Attributes:
        view: What it sees.
        principal: Who it is.
        revision: The revision agreed on.
        capabilities: Its capabilities, undecoded.
        client_info: Its name and version, undecoded, or None.
        outbox: The stream that everything goes to, where the client has no other.
    """

    view: View
    principal: str
    revision: str
    capabilities: Raw
    client_info: Raw | None
    outbox: EventLog | None = None


class Session:
    """One session of a legacy client.

    Attributes:
        id: What the client names it by.
        opening: What was agreed on when it was opened.
        standalone: The stream that belongs to no request.
        level: The lowest level of log messages that the client wants.
    """

    def __init__(self, session_id: str, opening: Opening, deadlines: Deadlines) -> None:
        """Describe a session; `run` makes it live."""
        self.id = session_id
        self.opening = opening
        self.standalone = opening.outbox or EventLog(STANDALONE)
        self.level = DEFAULT_LEVEL
        self._deadlines = deadlines
        self._streams: dict[str, EventLog] = {}
        self._next_stream = 0
        self._in_flight: dict[RequestId, Reply | trio.CancelScope] = {}
        self._subscriber: Subscriber | None = None
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.Context()
        self._closed = trio.Event()
        self._emptied = trio.Event()
        self._used = trio.current_time()

    @property
    def caller(self) -> Caller:
        """The client, as backends need to know it."""
        opening = self.opening
        return Caller(
            owner=self.id,
            principal=opening.principal,
            revision=opening.revision,
            capabilities=opening.capabilities,
            client_info=opening.client_info,
            log_level=self.level,
        )

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight)

    @property
    def subscriber(self) -> Subscriber | None:
        """What the session has subscribed to; None once it is over."""
        return self._subscriber

    async def run(self, *, task_status: trio.TaskStatus[Session]) -> None:
        """Live until the session is closed, idle for too long, or too old."""
        try:
            self._subscriber = await self.opening.view.subscribe(ALL_LISTS)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._context = contextvars.copy_context()
                nursery.start_soon(self._forward, self._subscriber)
                task_status.started(self)
                await self._wait_end()
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    def touch(self) -> None:
        """Take note that the client is there."""
        self._used = trio.current_time()

    def close(self) -> None:
        """End the session."""
        self._closed.set()

    def __repr__(self) -> str:
        return f"<Session {self.opening.revision} in_flight={self.in_flight}>"

    # --- requests ----------------------------------------------------------------------------

    def reserve(self, request_id: RequestId) -> trio.CancelScope:
        """Take note of a request before it is dispatched.

        Returns:
            The scope to dispatch it in, which is cancelled with the request.

        Raises:
            InvalidRequest: Its id is in use.
            Overloaded: Too many are in flight.
        """
        if request_id in self._in_flight:
            raise InvalidRequest("the id of this request is in use by another one in flight")
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise Overloaded(f"{MAX_IN_FLIGHT} requests of this session are in flight, the limit")
        scope = self._in_flight[request_id] = trio.CancelScope()
        return scope

    def begin(self, request_id: RequestId, reply: Reply) -> None:
        """Take note of what comes back for a request, now that it is dispatched."""
        scope = self._in_flight.get(request_id)
        self._in_flight[request_id] = reply
        if not isinstance(scope, trio.CancelScope) or scope.cancel_called:
            reply.close()  # cancelled, or the session has ended, at the last moment

    def end(self, request_id: RequestId) -> None:
        """Take note that a request is over."""
        self.touch()
        work = self._in_flight.pop(request_id, None)
        if work is not None:
            _stop(work)
        if not self._in_flight:
            self._emptied.set()

    def cancel(self, request_id: object) -> None:
        """Cancel a request on the client's behalf; unknown ones are ignored."""
        if isinstance(request_id, int | str) and request_id in self._in_flight:
            _stop(self._in_flight[request_id])

    def take_answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question; False where none such is open."""
        return any(
            work.answer(answer)
            for work in self._in_flight.values()
            if not isinstance(work, trio.CancelScope)
        )

    # --- streams -----------------------------------------------------------------------------

    def new_stream(self, answers: int = 1) -> EventLog:
        """Begin a stream that ends with so many answers."""
        self._next_stream += 1
        log = EventLog(str(self._next_stream), answers)
        self._streams[log.name] = log
        self._forget_streams()
        return log

    def stream(self, name: str) -> EventLog | None:
        """Return a stream by its name, or None where it is not known (any more)."""
        return self.standalone if name == STANDALONE else self._streams.get(name)

    def pump(
        self,
        request_id: RequestId,
        reply: Reply,
        log: EventLog,
        *,
        first: Incoming | None = None,
    ) -> None:
        """Let a request's messages go to a stream from here on, whoever reads it.

        Args:
            request_id: The request.
            reply: What comes back for it.
            log: The stream.
            first: A message that has been received already.
        """
        self.start_soon(log, self._pump, request_id, reply, log, first)

    def start_soon(
        self, log: EventLog, function: Callable[..., Awaitable[object]], *args: Any
    ) -> None:
        """Start a task that writes to a stream, and outlives the connection that it is for."""
        if self._nursery is None or self._closed.is_set():
            log.finish()
            return
        # The task is the session's: the context of the request that starts it stays behind.
        self._context.copy().run(self._nursery.start_soon, function, *args)

    async def _pump(
        self,
        request_id: RequestId,
        reply: Reply,
        log: EventLog,
        first: Incoming | None,
    ) -> None:
        try:
            while True:
                message = await reply.receive() if first is None else first
                first = None
                if isinstance(message, Response | Failure):
                    await log.write_answer(message)
                    return
                droppable = isinstance(message, Notification)
                await log.write(jsonrpc.encode(message), is_droppable=droppable)
        finally:
            self.end(request_id)
            self._forget_streams()

    def _forget_streams(self) -> None:
        """Forget the oldest streams that are finished, where too much is kept."""
        finished = [log for log in self._streams.values() if log.finished]
        size = sum(log.size for log in finished)
        while len(finished) > KEPT_STREAMS or (len(finished) > 1 and size > KEPT_BYTES):
            oldest = finished.pop(0)
            size -= oldest.size
            del self._streams[oldest.name]

    # --- the session's own task --------------------------------------------------------------

    async def _forward(self, subscriber: Subscriber) -> None:
        try:
            while True:
                note = await subscriber.receive()
                await self.standalone.write(jsonrpc.encode(note), is_droppable=True)
        except trio.EndOfChannel:  # the gateway stops: what is in flight may still end
            if self.opening.outbox is None:
                self.standalone.finish()
            while self._in_flight:
                self._emptied = trio.Event()
                await self._emptied.wait()
            self.close()

    async def _wait_end(self) -> None:
        latest = trio.current_time() + self._deadlines.lifetime
        while True:
            if self._is_busy():
                self.touch()
            end = min(self._used + self._deadlines.idle, latest)
            if trio.current_time() >= end:
                return
            with trio.move_on_at(end):
                await self._closed.wait()
                return

    @property
    def quiet_since(self) -> float:
        """When the client was last there, by Trio's clock; infinity while it is."""
        return math.inf if self._closed.is_set() or self._is_busy() else self._used

    def _is_busy(self) -> bool:
        streams = [self.standalone, *self._streams.values()]
        return bool(self._in_flight) or any(log.is_read for log in streams)

    def _end(self) -> None:
        self._closed.set()
        for request_id in list(self._in_flight):
            self.end(request_id)
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None
        for log in (self.standalone, *self._streams.values()):
            log.finish()


def _stop(work: Reply | trio.CancelScope) -> None:
    """Cancel a request, whether it has been dispatched or not."""
    if isinstance(work, trio.CancelScope):
        work.cancel()
    else:
        work.close()


class Sessions:
    """All sessions, under their supervisor.

    Attributes:
        supervisor: Where they live.
        limit: How many there may be at a time.
        deadlines: When those that are opened from now on end by themselves.
    """

    def __init__(self, limit: int, deadlines: Deadlines) -> None:
        """Allow up to `limit` sessions at a time."""
        self.supervisor = DynamicSupervisor("sessions", max_children=MAX_SESSIONS)
        self.limit = limit
        self.deadlines = deadlines
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, opening: Opening) -> Session:
        """Open a session.

        Raises:
            Overloaded: There are too many, or the gateway is being stopped.
        """
        if len(self._sessions) >= self.limit:
            self._make_room()
        session = Session(secrets.token_urlsafe(24), opening, self.deadlines)
        spec = ChildSpec(
            id=session.id[:8] + secrets.token_hex(4),
            start=_Registered(session, self._sessions),
            restart=Restart.TEMPORARY,
        )
        try:
            await self.supervisor.start_child(spec)
        except SupervisionError as error:
            raise Overloaded(f"no session can be opened now: {error}") from error
        return session

    def _make_room(self) -> None:
        """Close the session that its client has left alone for longest.

        Raises:
            Overloaded: None has been left alone for long enough.
        """
        oldest = min(self._sessions.values(), key=lambda session: session.quiet_since)
        if oldest.quiet_since > trio.current_time() - ABANDONED:
            raise Overloaded(f"{len(self._sessions)} sessions are open, the limit")
        oldest.close()

    def find(self, session_id: str, principal: str, view: View) -> Session | None:
        """Return a live session of a principal at an endpoint; None where there is none such."""
        session = self._sessions.get(session_id)
        if session is None or session.opening.principal != principal:
            return None
        if session.opening.view is not view:
            return None
        session.touch()
        return session


class _Registered:
    """Runs a session, which can be found by its id as long as it runs."""

    def __init__(self, session: Session, registry: dict[str, Session]) -> None:
        self._session = session
        self._registry = registry

    async def __call__(self, *, task_status: trio.TaskStatus[Session]) -> None:
        self._registry[self._session.id] = self._session
        try:
            await self._session.run(task_status=task_status)
        finally:
            self._registry.pop(self._session.id, None)
