"""One session of a legacy client.

Theory of operation: a session is a temporary child of the `sessions` supervisor. Its task holds
the nursery in which calls go on whose connection has gone (a disconnect is no cancellation in the
legacy era), and tells the client of changes on its standalone stream. It has no timer of its own:
who keeps the sessions ends those that have been idle, or alive, for too long. Everything that a
session holds is bounded, and there may be thousands: one task each is what they cost.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import math
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

import trio

from onemcp.backend import Answer, Caller, Incoming
from onemcp.frontend.http1.scopes import Scope, Use
from onemcp.frontend.streams import EventLog
from onemcp.multiplexer import ALL_LISTS, Reply, Subscriber, View
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    InvalidRequest,
    Overloaded,
    ProtocolError,
    RequestCancelled,
    ShuttingDown,
)
from onemcp.protocol.jsonrpc import Failure, Notification, RequestId, Response, notification
from onemcp.protocol.methods import RESOURCE_UPDATED

from .memory import Record
from .streams import Streams
from .terms import Deadlines, Opening

T = TypeVar("T", bound=Scope)

MAX_IN_FLIGHT: Final = 256
"""How many requests of one session may be in flight."""

RETRY_INITIAL: Final = 0.5
RETRY_MAXIMUM: Final = 60.0
"""How long to wait until resources that can't be subscribed to are tried again, in seconds."""

DEFAULT_LEVEL: Final = "info"
"""The level of log messages that a client gets before it asks for another."""


def name_of(session_id: str) -> str:
    """Return what a session is called in logs and traces, with which nobody can go on with it."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:16]


class Session:
    """One session of a legacy client.

    Attributes:
        id: What the client names it by.
        opening: What was agreed on when it was opened.
        streams: What goes to the client.
        record: What is noted of it.
        opened: When it was opened, by Trio's clock.
        is_over: Whether it has ended for good, rather than been stopped.
        is_stopped: Whether it has been stopped, with the gateway or alone, and takes nothing more.
    """

    def __init__(
        self,
        session_id: str,
        opening: Opening,
        deadlines: Deadlines,
        record: Record | None = None,
        *,
        age: float = 0.0,
    ) -> None:
        """Describe a session; `run` makes it live.

        Args:
            session_id: What the client names it by.
            opening: What was agreed on when it was opened.
            deadlines: When it ends by itself.
            record: What is noted of it; by default it ends with the process.
            age: How long ago it was opened, in seconds.
        """
        self.id = session_id
        self.opening = opening
        self.record = record or Record()
        self.streams = Streams(opening.outbox, taken_over=self.record.is_recalled)
        self._is_forgotten = False
        self._forgotten: trio.Event | None = None
        self._grant = opening.grant
        self._caller: Caller | None = None
        self.is_over = self.is_stopped = False
        self._idle = deadlines.idle
        self._in_flight: dict[RequestId, Reply | Scope] = {}
        self._subscriber: Subscriber | None = None
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.Context()
        self._is_closed = False
        self._emptied: trio.Event | None = None
        self._now = trio.lowlevel.current_clock().current_time
        self._used = self._now()
        self.opened = self._used - age
        self._latest = self._used + deadlines.lifetime

    @property
    def caller(self) -> Caller:
        """The client, as backends need to know it; the same object until that changes."""
        known, opening, level = self._caller, self.opening, self.level
        if known is not None and known.grant is self._grant and known.log_level == level:
            return known
        self._caller = Caller(
            owner=self.id,
            principal=opening.principal,
            revision=opening.revision,
            capabilities=opening.capabilities,
            client_info=opening.client_info,
            log_level=level,
            grant=self._grant,
            session=name_of(self.id),
        )
        return self._caller

    @property
    def level(self) -> str:
        """The lowest level of log messages that the client wants."""
        return self.record.notes.level or DEFAULT_LEVEL

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight)

    @property
    def subscriber(self) -> Subscriber | None:
        """What the session has subscribed to; None once it is over."""
        return self._subscriber

    @property
    def view(self) -> View:
        """What the client sees: with other rights, another view of the same endpoint."""
        seen = None if self._subscriber is None else self._subscriber.view
        return seen or self.opening.view

    def look_at(self, view: View, grant: Hashable = None) -> None:
        """See a view of the same endpoint from here on, with rights that come from `grant`."""
        subscriber = self._subscriber
        if grant is not None and grant is not self._grant:
            self._grant = grant
            if subscriber is not None:
                subscriber.caller = self.caller
        if subscriber is not None and subscriber.view is not view:
            view.adopt(subscriber)

    async def run(self, *, task_status: trio.TaskStatus[Session]) -> None:
        """Live until the session is closed, or the gateway stops."""
        try:
            self._subscriber = await self.opening.view.subscribe(ALL_LISTS, caller=self.caller)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._context = contextvars.copy_context()
                if self.record.is_recalled:
                    nursery.start_soon(self._make_up_for, self._subscriber)
                task_status.started(self)
                if not self._is_closed:
                    await self._forward(self._subscriber)
                    self.is_stopped = True
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    def touch(self) -> None:
        """Take note that the client is there."""
        self._used = self._now()

    def close(self) -> None:
        """End the session for good."""
        self.is_over = self._is_closed = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Let nothing of it be held here; its client can come back to it."""
        self.is_stopped = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def forget(self) -> None:
        """Take note that nothing of it is left here."""
        self._is_forgotten = True
        if self._forgotten is not None:
            self._forgotten.set()

    async def wait_forgotten(self) -> None:
        """Wait until nothing of it is left here."""
        if self._is_forgotten:
            await trio.lowlevel.checkpoint()
            return
        if self._forgotten is None:  # few are waited for, and events are large
            self._forgotten = trio.Event()
        await self._forgotten.wait()

    def __repr__(self) -> str:
        return f"<Session {self.opening.revision} in_flight={self.in_flight}>"

    # --- requests ----------------------------------------------------------------------------

    def reserve(self, request_id: RequestId, scope: T) -> T:
        """Take note of a request before it is dispatched.

        Args:
            request_id: The request.
            scope: What it is dispatched in, which is cancelled with the request.

        Returns:
            The scope.

        Raises:
            InvalidRequest: Its id is in use.
            Overloaded: Too many are in flight.
        """
        if request_id in self._in_flight:
            raise InvalidRequest("the id of this request is in use by another one in flight")
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            raise Overloaded(f"{MAX_IN_FLIGHT} requests of this session are in flight, the limit")
        self._in_flight[request_id] = scope
        return scope

    def begin(self, request_id: RequestId, reply: Reply) -> None:
        """Take note of what comes back for a request, now that it is dispatched.

        Raises:
            RequestCancelled: It was cancelled, or the session has ended, at the last moment.
        """
        scope = self._in_flight.get(request_id)
        if not isinstance(scope, Use | trio.CancelScope) or scope.cancel_called:
            reply.close()
            raise RequestCancelled("the client cancelled the request")
        self._in_flight[request_id] = reply

    def end(self, request_id: RequestId) -> None:
        """Take note that a request is over."""
        self.touch()
        work = self._in_flight.pop(request_id, None)
        if work is not None:
            _stop(work)
        if not self._in_flight and self._emptied is not None:
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
            if not isinstance(work, Use | trio.CancelScope)
        )

    # --- what the client sets ----------------------------------------------------------------

    async def set_level(self, level: str) -> None:
        """Set the lowest level of log messages that the client wants."""
        await self.record.change(level=level)

    async def subscribe(self, uri: str) -> None:
        """Let the client hear of a resource.

        Raises:
            ProtocolError: Nobody offers that, or the owner of the resource refuses.
        """
        if self._subscriber is None:
            raise ShuttingDown("the session has ended")
        await self.view.subscribe_resource(self._subscriber, uri)
        await self.record.change(uris=tuple(self.uris | {uri}))

    async def unsubscribe(self, uri: str) -> None:
        """Let the client hear of a resource no more; unknown ones are ignored."""
        if self._subscriber is not None:
            self.view.unsubscribe_resource(self._subscriber, uri)
        await self.record.change(uris=tuple(self.uris - {uri}))

    @property
    def uris(self) -> frozenset[str]:
        """The resources that the client believes it hears of."""
        return frozenset(self.record.notes.uris)

    # --- streams -----------------------------------------------------------------------------

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
        if self._nursery is None or self._is_closed:
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
            self.streams.forget()

    # --- the session's own task --------------------------------------------------------------

    async def _forward(self, subscriber: Subscriber) -> None:
        try:
            while True:
                note = await subscriber.receive()
                await self.streams.standalone.write(jsonrpc.encode(note), is_droppable=True)
        except trio.EndOfChannel:  # the gateway stops: what is in flight may still end
            if self.opening.outbox is None:
                self.streams.standalone.finish()
            while self._in_flight:
                self._emptied = trio.Event()
                await self._emptied.wait()

    async def _make_up_for(self, subscriber: Subscriber) -> None:
        """Give back to a client that was taken over what it takes for granted.

        Anything may have changed meanwhile, so it is told that everything has. A resource can only
        be subscribed to once its backend is up again.
        """
        for changed in sorted(subscriber.lists):
            subscriber.offer(notification(changed, {}))
        wait = RETRY_INITIAL
        while missing := self.uris - subscriber.uris:
            for uri in sorted(missing):
                with contextlib.suppress(ProtocolError):
                    await self.view.subscribe_resource(subscriber, uri)
                    subscriber.offer(notification(RESOURCE_UPDATED, {"uri": uri}))
            for uri in subscriber.uris - self.uris:  # the client has changed its mind meanwhile
                self.view.unsubscribe_resource(subscriber, uri)
            await trio.sleep(wait)
            wait = min(2 * wait, RETRY_MAXIMUM)

    @property
    def quiet_since(self) -> float:
        """When the client was last there, by Trio's clock; infinity while it is."""
        return math.inf if self._is_closed or self._is_busy() else self._used

    @property
    def ends_at(self) -> float:
        """When it shall end unless the client is heard of until then, by Trio's clock."""
        used = self._now() if self._is_busy() else self._used
        return min(used + self._idle, self._latest)

    def _is_busy(self) -> bool:
        return bool(self._in_flight) or self.streams.are_read

    def _end(self) -> None:
        self._is_closed = True
        for request_id in list(self._in_flight):
            self.end(request_id)
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None
        self.streams.finish()


def _stop(work: Reply | Scope) -> None:
    """Cancel a request, whether it has been dispatched or not."""
    if isinstance(work, Use | trio.CancelScope):
        work.cancel()
    else:
        work.close()
