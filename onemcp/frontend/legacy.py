"""Requests of the legacy era: a handshake, a session, and streams that survive disconnects.

Implements the streamable HTTP transport of 2025-03-26 to 2025-11-25. A disconnect is no
cancellation: the request goes on, and its messages wait on its stream for the client to come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import Final

import trio
from msgspec import Raw

from onemcp.backend import Caller, Incoming
from onemcp.multiplexer import Immediate, Reply, View
from onemcp.protocol import headers as mcp_headers
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    HeaderMismatch,
    InvalidParams,
    InvalidRequest,
    LocalError,
    Overloaded,
    ProtocolError,
    RequestCancelled,
)
from onemcp.protocol.fields import plain, split, text
from onemcp.protocol.jsonrpc import Failure, Message, Notification, Request, RequestId, Response
from onemcp.protocol.methods import CANCELLED, INITIALIZE, ROOTS_CHANGED, TASK_STATUS
from onemcp.protocol.revisions import (
    LEGACY_REVISIONS,
    V2025_11_25,
    allows_batches,
    negotiate_legacy,
)

from .asgi import (
    EVENT_STREAM,
    HttpRefusal,
    accepts,
    header,
    overloaded,
    respond,
    respond_error,
)
from .own import OWN, Handler
from .request import HttpRequest
from .resumable import KEEP_ALIVE, receive_within, send_log
from .session import Opening, Session, Sessions, name_of
from .streams import EventLog

EMPTY: Final = Raw(b"{}")
_ONLY_POST: Final = ((b"allow", b"POST"),)


class LegacyFrontend:
    """Serves POST, GET and DELETE of legacy clients.

    Attributes:
        sessions: The sessions of all clients.
        poll_after: After so many seconds of silence the connection of a request is closed and
            the client polls its stream (2025-11-25 only), or None to keep it open.
    """

    def __init__(self, sessions: Sessions, poll_after: float | None = None) -> None:
        """Keep sessions in `sessions`."""
        self.sessions = sessions
        self.poll_after = poll_after

    # --- POST --------------------------------------------------------------------------------

    def post(self, message: Message, http: HttpRequest) -> Awaitable[None]:
        """Serve a POST of one message.

        Raises:
            HttpRefusal: It isn't accepted.
        """
        if not isinstance(message, Request):
            return self._accept(message, http)
        if message.method == INITIALIZE:
            return self._initialize(message, http)
        return self._serve_request(message, http)

    async def _accept(self, message: Notification | Response | Failure, http: HttpRequest) -> None:
        if not _take(await self._session(http), message):
            raise HttpRefusal(400, InvalidRequest("no question with this id is open"))
        await respond(http.send, 202)

    async def post_batch(self, batch: list[Raw], http: HttpRequest) -> None:
        """Serve a POST of several messages; all answers go to one stream (2025-03-26, Transports).

        What is no message among them is answered by an error of its own (JSON-RPC 2.0, section 6).

        Raises:
            HttpRefusal: It isn't accepted.
        """
        version = header(http.headers, mcp_headers.PROTOCOL_VERSION)
        if version is not None:
            _check_batches(version.decode("latin-1"))
        session = await self._session(http)
        _check_batches(session.opening.revision)
        requests: list[Request] = []
        failures: list[Failure] = []
        for item in batch:
            try:
                message = jsonrpc.decode(item)
            except LocalError as error:
                failures.append(Failure(jsonrpc.peek_id(item), error.error))
                continue
            if isinstance(message, Request):
                requests.append(message)
            else:
                _take(session, message)
        if not requests and not failures:
            await respond(http.send, 202)
            return
        with http.streaming():
            log = session.streams.new([each.id for each in requests], len(failures))
            for failure in failures:
                await log.write_answer(failure)
            for request in requests:
                session.start_soon(log, _serve_batched, session, http.view, request, log)
            await self._send(session, log, http)

    async def _initialize(self, request: Request, http: HttpRequest) -> None:
        try:
            opening = read_opening(request, http.view, http.principal, http.grant)
            session, answer = await open_session(self.sessions, request, opening)
        except Overloaded as error:
            raise overloaded(error, request.id) from error
        except ProtocolError as error:
            await respond_error(http.send, 400, error, request.id)
            return
        headers = [(mcp_headers.SESSION_ID, session.id.encode())]
        await respond(http.send, 200, jsonrpc.encode(answer), headers)

    async def _session(self, http: HttpRequest, request_id: RequestId | None = None) -> Session:
        """Find the session that a request belongs to.

        Raises:
            HttpRefusal: It names none, or one that isn't there for its sender, or can't be now.
        """
        try:
            session_id, revision = http.arrival.session, http.arrival.revision
        except HeaderMismatch as twice:
            raise HttpRefusal(400, InvalidRequest(str(twice)), (), request_id) from twice
        if revision is not None and revision not in LEGACY_REVISIONS:
            error = InvalidRequest("the MCP-Protocol-Version is none that sessions exist in")
            raise HttpRefusal(400, error, (), request_id)
        if session_id is None:
            error = InvalidRequest(
                "no Mcp-Session-Id: open a session with initialize, "
                "or send the _meta that revision 2026-07-28 asks for"
            )
            raise HttpRefusal(400, error, (), request_id)
        try:
            session = await self.sessions.find(session_id, http.principal, http.view, http.grant)
        except Overloaded as full:
            raise overloaded(full, request_id) from full
        if session is None:
            error = InvalidRequest("Session not found: it has ended; send initialize again")
            raise HttpRefusal(404, error, (), request_id)
        return session

    # --- requests ----------------------------------------------------------------------------

    async def _serve_request(self, request: Request, http: HttpRequest) -> None:
        session = await self._session(http, request.id)
        try:
            reply, first = await self._begin(session, request, http)
        except ProtocolError as error:
            await respond_error(http.send, 200, error, request.id)
            return
        if isinstance(first, Response | Failure):
            session.end(request.id)
            await http.wire.respond(200, jsonrpc.encode(first))
            return
        try:
            with http.streaming(request.id):
                log = session.streams.new([request.id])
                session.pump(request.id, reply, log, first=first)
                await self._send(session, log, http)
        except HttpRefusal:
            session.end(request.id)
            raise

    async def _begin(
        self, session: Session, request: Request, http: HttpRequest
    ) -> tuple[Reply, Incoming | None]:
        """Dispatch a request, and wait for what comes back first.

        Returns:
            The reply, and its first message; None where the client has waited for long.

        Raises:
            ProtocolError: What is wrong with the request, or that it was cancelled.
        """
        reply: Reply | None = None
        first: Incoming | None = None
        try:
            # Until the request is dispatched the client can cancel this, then its patience does.
            with session.reserve(request.id, http.wire.new_scope()) as scope:
                reply = await _dispatch(session, http.view, request)
                patience = self._patience(session)
                first = await http.wire.while_connected(receive_within, scope, patience, reply)
        except BaseException:
            if reply is not None and http.wire.is_gone:  # but the client may come back
                session.pump(request.id, reply, session.streams.new([request.id]))
            elif reply is not None:
                session.end(request.id)
            raise
        if reply is None:
            raise RequestCancelled("the client cancelled the request")
        return reply, first

    def _patience(self, session: Session) -> float:
        if self.poll_after is None or not _is_resumable(session):
            return KEEP_ALIVE
        return self.poll_after

    # --- streams -----------------------------------------------------------------------------

    async def get(self, http: HttpRequest) -> None:
        """Serve a GET: the standalone stream, or one that the client comes back to.

        Raises:
            HttpRefusal: It isn't accepted.
        """
        session = await self._session_of(http, "GET")
        if not accepts(http.headers, EVENT_STREAM):
            raise HttpRefusal(406, InvalidRequest("GET needs Accept: text/event-stream"))
        last = header(http.headers, b"last-event-id")
        if last is None:
            log, reader = session.streams.standalone, session.streams.standalone.read()
        else:
            place = await session.streams.come_back(last.decode("latin-1"))
            if place is None:
                error = InvalidRequest("the Last-Event-ID names no event of this session")
                raise HttpRefusal(400, error)
            log, reader = place[0], place[0].read(after=place[1])
        try:
            with http.streaming():
                await send_log(log, reader, http.wire, primed=_is_resumable(session))
        finally:
            reader.close()
            session.touch()

    async def delete(self, http: HttpRequest) -> None:
        """Serve a DELETE: the end of a session.

        Raises:
            HttpRefusal: There is no such session.
        """
        session = await self._session_of(http, "DELETE")
        session.close()
        await session.wait_forgotten()  # and noted: a restart does not bring it back
        await respond(http.send, 204)

    async def _session_of(self, http: HttpRequest, method: str) -> Session:
        if header(http.headers, mcp_headers.SESSION_ID) is None:
            error = InvalidRequest(f"{method} needs the Mcp-Session-Id of a session")
            raise HttpRefusal(405, error, _ONLY_POST)
        return await self._session(http)

    async def _send(self, session: Session, log: EventLog, http: HttpRequest) -> None:
        primed = _is_resumable(session)
        poll_after = self.poll_after if primed else None
        reader = log.read()
        try:
            await send_log(log, reader, http.wire, primed=primed, poll_after=poll_after)
        finally:
            session.touch()


def _is_resumable(session: Session) -> bool:
    """Tell whether a session's revision has priming events and polling."""
    return session.opening.revision == V2025_11_25


def _check_batches(revision: str) -> None:
    if not allows_batches(revision):
        raise HttpRefusal(400, InvalidRequest("batches exist only in revision 2025-03-26"))


async def _serve_batched(session: Session, view: View, request: Request, log: EventLog) -> None:
    try:
        scope = session.reserve(request.id, trio.CancelScope())
        reply = await dispatch(session, view, request, scope)
    except ProtocolError as error:
        await log.write_answer(Failure(request.id, error.error))
    else:
        session.pump(request.id, reply, log)


def read_opening(request: Request, view: View, principal: str, grant: Hashable = None) -> Opening:
    """Read what a client says in ``initialize``.

    Raises:
        InvalidParams: It is malformed.
    """
    params = split(request.params)
    capabilities = params.get("capabilities", EMPTY)
    split(capabilities, "params.capabilities")
    version = text(params, "protocolVersion", "params.protocolVersion")
    return Opening(
        view=view,
        principal=principal,
        revision=negotiate_legacy(version),
        capabilities=capabilities.copy(),
        client_info=_copied(params.get("clientInfo")),
        grant=grant,
    )


async def open_session(
    sessions: Sessions, request: Request, opening: Opening
) -> tuple[Session, Response]:
    """Open a session, and answer ``initialize``.

    Raises:
        ProtocolError: It can't be opened.
    """
    caller = Caller(
        owner=None,
        principal=opening.principal,
        revision=opening.revision,
        capabilities=opening.capabilities,
    )
    with opening.view.attend(request, caller) as watch:
        session = await sessions.open(opening)
        watch.of_session(name_of(session.id))
        answer = Response(request.id, opening.view.initialize(opening.revision))
        watch.saw(answer)
    return session, answer


async def dispatch(
    session: Session, view: View, request: Request, scope: trio.CancelScope
) -> Reply:
    """Dispatch a request of a session, unless it is cancelled before that is done.

    Args:
        session: The session.
        view: What whoever sends the request may see of the session's endpoint.
        request: The request.
        scope: What the session has reserved for it.

    Raises:
        ProtocolError: What is wrong with it.
    """
    with scope:
        return await _dispatch(session, view, request)
    raise RequestCancelled("the client cancelled the request")


async def _dispatch(session: Session, view: View, request: Request) -> Reply:
    try:
        own = OWN.get(request.method)
        if own is None:
            reply = await view.dispatch(request, session.caller)
        else:
            reply = await _serve_own(own, session, view, request)
        session.begin(request.id, reply)
    except BaseException:
        session.end(request.id)
        raise
    return reply


async def _serve_own(serve: Handler, session: Session, view: View, request: Request) -> Reply:
    session.look_at(view)
    answer = Response(request.id, EMPTY)
    with view.attend(request, session.caller) as watch:
        await serve(session, split(request.params))
        watch.saw(answer)
    return Immediate(answer)


def _take(session: Session, message: Notification | Response | Failure) -> bool:
    """Take something that wants no answer; False where it answers a question never asked."""
    session.touch()
    if not isinstance(message, Notification):
        return session.take_answer(message)
    if message.method == CANCELLED:
        try:
            session.cancel(plain(split(message.params).get("requestId")))
        except InvalidParams:
            return True  # malformed cancellations are ignored (Cancellation, Error Handling)
    elif message.method == ROOTS_CHANGED:
        session.view.roots_changed(session.caller)
    elif message.method == TASK_STATUS:
        session.view.task_status(message, session.caller)
    return True


def _copied(source: Raw | None) -> Raw | None:
    # What outlives its request must not keep the request's whole body alive.
    return None if source is None else source.copy()
