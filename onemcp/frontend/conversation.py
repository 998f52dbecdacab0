"""A legacy client whose messages come in one by one, and whose answers go out on one stream.

Theory of operation: HTTP+SSE and stdio have this in common, whatever carries the messages. The
conversation begins with ``initialize``, which opens a session of it, and lasts as long as what
carries it. Every request goes on in a task of the session, and everything that comes of it goes
to the :class:`.outbox.Outbox`; after its cancellation nothing does. A request is reserved before
`take` returns, so that a cancellation that comes right behind it finds it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence

import attrs
import trio
from msgspec import Raw

from onemcp.multiplexer import View
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    LocalError,
    Overloaded,
    ProtocolError,
    RequestCancelled,
    ShuttingDown,
)
from onemcp.protocol.fields import plain, split
from onemcp.protocol.jsonrpc import Failure, Message, Notification, Request, RequestId, Response
from onemcp.protocol.methods import CANCELLED, INITIALIZE, PING, ROOTS_CHANGED, TASK_STATUS
from onemcp.protocol.revisions import allows_batches
from onemcp.telemetry import trace_of

from .events import RequestFailed
from .legacy import EMPTY, dispatch, open_session, read_opening
from .outbox import Outbox
from .session import Session, Sessions

Hold = Callable[[Request], Awaitable[object]]
"""Waits until a request can be served."""


async def at_once(_: Request) -> None:
    """Wait for nothing."""
    await trio.lowlevel.checkpoint_if_cancelled()


class Conversation:
    """One client, from its first message to the end of what carries it.

    Attributes:
        view: What it sees.
        principal: Who it is.
        outbox: What goes to it.
    """

    def __init__(
        self,
        sessions: Sessions,
        view: View,
        principal: str,
        on_event: Callable[[RequestFailed], object],
        *,
        hold: Hold = at_once,
    ) -> None:
        """Begin without a session, which is opened in `sessions`."""
        self.view = view
        self.principal = principal
        self.outbox = Outbox()
        self._grant: Hashable = None
        self._sessions = sessions
        self._on_event = on_event
        self._hold = hold
        self._session: Session | None = None
        self._initializing = False
        self._closed = False
        self._serving: dict[RequestId, trio.CancelScope] = {}
        self._cancelled: set[RequestId] = set()

    @property
    def has_begun(self) -> bool:
        """Whether the client has sent ``initialize``."""
        return self._session is not None

    @property
    def in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._serving)

    def is_serving(self, request_id: RequestId) -> bool:
        """Tell whether a request of this id is being served."""
        return request_id in self._serving

    def look_at(self, view: View, grant: Hashable) -> None:
        """Let the client see a view of the same endpoint, with rights that come from `grant`."""
        self.view = view
        self._grant = grant
        if self._session is not None:
            self._session.look_at(view, grant)

    async def take(self, message: Message) -> None:
        """Take a message of the client, and serve it in the session.

        Raises:
            InvalidRequest: It answers a question that is not open, or has the id of a request
                that is being served: no answer to it could be told from the one to that.
        """
        match message:
            case Request():
                await self._take_request(message)
            case Notification():
                self._take_notification(message)
            case _:
                if self._session is None or not self._session.take_answer(message):
                    raise InvalidRequest("no question with this id is open")

    async def take_line(self, line: bytes | Raw) -> None:
        """Take what should be a message; where it is none, the client is told so on the stream."""
        try:
            message = jsonrpc.decode(line)
        except LocalError as error:
            await self.outbox.put(Failure(jsonrpc.peek_id(line), error.error))
            return
        try:
            await self.take(message)
        except InvalidRequest as error:
            if isinstance(message, Request):  # to answer an answer would never end
                await self.outbox.put(Failure(None, error.error))

    async def take_batch(self, batch: Sequence[Raw]) -> None:
        """Take several messages, as if each had come alone (2025-03-26, Messages).

        Raises:
            InvalidRequest: There are no batches in the revision that was agreed on.
        """
        if self._session is None or not allows_batches(self._session.opening.revision):
            raise InvalidRequest("batches exist only in revision 2025-03-26")
        for item in batch:
            await self.take_line(item)

    def take_answer(self, answer: Response | Failure) -> bool:
        """Take an answer of the client; False where no such question is open."""
        return self._session is not None and self._session.take_answer(answer)

    def cancel(self, request_id: RequestId) -> None:
        """Cancel a request on the client's behalf; unknown ones are ignored."""
        if self._session is not None and request_id in self._serving:
            self._cancelled.add(request_id)
            self._session.cancel(request_id)

    def abandon(self) -> None:
        """Serve what is in flight no more, and say so in answer to each request."""
        for scope in self._serving.values():
            scope.cancel()

    def close(self) -> None:
        """End the conversation: what carries it has gone."""
        self._closed = True
        self.outbox.finish()
        if self._session is not None:
            self._session.close()

    def __repr__(self) -> str:
        return f"<Conversation {self._session!r}>"

    # --- requests ----------------------------------------------------------------------------

    async def _take_request(self, request: Request) -> None:
        session = self._session
        if request.method == INITIALIZE:
            await self._initialize(request)
        elif session is None:
            await self._take_early(request)
        else:
            try:
                scope = session.reserve(request.id, trio.CancelScope())
            except Overloaded as error:
                await self.outbox.put(Failure(request.id, error.error))
                return
            self._serving[request.id] = trio.CancelScope()
            session.start_soon(self.outbox, self._serve, session, session.view, request, scope)

    async def _take_early(self, request: Request) -> None:
        if request.method == PING:  # the one request that may come first (Lifecycle)
            await self.outbox.put(Response(request.id, EMPTY))
            return
        error = InvalidRequest(
            "send initialize first, or the _meta that revision 2026-07-28 asks for"
        )
        await self.outbox.put(Failure(request.id, error.error))

    async def _initialize(self, request: Request) -> None:
        try:
            session, answer = await self._open(request)
        except ProtocolError as error:
            await self.outbox.put(Failure(request.id, error.error))
            return
        if self._closed:
            session.close()
            return
        await self.outbox.put(answer)
        self._session = session

    async def _open(self, request: Request) -> tuple[Session, Response]:
        """Open the session.

        Raises:
            ProtocolError: It is open already, or can't be.
        """
        if self._initializing:
            raise InvalidRequest("initialize was sent before")
        self._initializing = True
        try:
            opening = read_opening(request, self.view, self.principal, self._grant)
            opening = attrs.evolve(opening, outbox=self.outbox)
            return await open_session(self._sessions, request, opening)
        except ProtocolError:
            self._initializing = False
            raise

    async def _serve(
        self, session: Session, view: View, request: Request, scope: trio.CancelScope
    ) -> None:
        life = self._serving[request.id]
        try:
            with life:
                await self._relay(session, view, request, scope)
            if life.cancelled_caught:
                await self.outbox.put(abandoned(request))
        except Exception as error:  # noqa: BLE001 - reported; the other requests go on
            self._on_event(
                RequestFailed(
                    request.method,
                    error,
                    request=request.id,
                    principal=self.principal,
                    session=session.caller.session,
                    trace=trace_of(request.params),
                )
            )
            internal = InternalError("internal error; see onemcp's log")
            await self.outbox.put(Failure(request.id, internal.error))
        finally:
            del self._serving[request.id]
            self._cancelled.discard(request.id)
            session.end(request.id)

    async def _relay(
        self, session: Session, view: View, request: Request, scope: trio.CancelScope
    ) -> None:
        await self._hold(request)
        try:
            reply = await dispatch(session, view, request, scope)
        except RequestCancelled:
            return
        except ProtocolError as error:
            await self.outbox.put(Failure(request.id, error.error))
            return
        while True:
            message = await reply.receive()
            if request.id in self._cancelled:
                return
            await self.outbox.put(message)
            if isinstance(message, Response | Failure):
                return

    def _take_notification(self, note: Notification) -> None:
        if note.method == CANCELLED:
            request_id = cancelled_id(note)
            if request_id is not None:
                self.cancel(request_id)
        elif note.method == ROOTS_CHANGED and self._session is not None:
            self.view.roots_changed(self._session.caller)
        elif note.method == TASK_STATUS and self._session is not None:
            self.view.task_status(note, self._session.caller)


def abandoned(request: Request) -> Failure:
    """Return the answer to a request that there is no time left to serve."""
    error = ShuttingDown(
        f"onemcp is being stopped; {request.method} was cancelled, and may or may not have acted"
    )
    return Failure(request.id, error.error)


def cancelled_id(note: Notification) -> RequestId | None:
    """Return which request a client cancels; None where that is malformed, and to be ignored."""
    try:
        found = plain(split(note.params).get("requestId"))
    except InvalidParams:
        return None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None
