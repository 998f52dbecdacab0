"""A connection over streamable HTTP, in both eras.

Implements 2026-07-28, Streamable HTTP, and 2025-11-25 (to 2025-03-26), Transports.

Theory of operation: every request is a task of its own in the connection's nursery, which POSTs
it and delivers what comes back; `open` starts it and never waits. A legacy connection has one
more, for the standalone stream. The task of `run` agrees on a revision and then waits for the
end. What ends the connection is recorded by `_lose`, which cancels everything; exchanges in
flight are failed before `run` raises it. Tasks are started in a context copied when `run` began,
so that none inherits that of a client's request.

A single failed request ends nothing, for one client's request must not disturb the others. What
makes it doubtful whether the backend still speaks this era or knows this session is verified with
a request of onemcp's own; backends that can't be reached several times in a row are given up.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Final, TypeVarTuple, Unpack

import trio

from onemcp.backend.call import Call, outgoing_params
from onemcp.backend.connection import (
    BESIDES,
    ConnectionLost,
    HandshakeFailed,
    LoginRequired,
    NotificationHandler,
    ServerDescription,
)
from onemcp.backend.exchange import Answer, Exchange
from onemcp.backend.handshake import Terms, negotiate
from onemcp.backend.inbound import Inbound
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    HEADER_MISMATCH,
    BackendLost,
    BackendUnavailable,
    Overloaded,
)
from onemcp.protocol.fields import Fields, join, raw
from onemcp.protocol.methods import CANCELLED, DISCOVER, INITIALIZE, PING, TOOLS_CALL
from onemcp.protocol.revisions import Era, era_of
from onemcp.protocol.tracecontext import to_headers

from ._client import SPARE_CONNECTIONS, HeaderList, HttpClient, Peer
from ._courier import Courier
from ._problems import UNAUTHORIZED, Problem, as_loss
from ._session import Tools, modern_headers

Ts = TypeVarTuple("Ts")

MAX_UNREACHABLE: Final = 3
"""How many requests in a row may find no connection before the backend is given up."""

MAX_BACKGROUND: Final = 256
"""How many notifications and answers may be on their way at once."""

TELL_TIMEOUT: Final = 10.0
"""How long a backend may take to accept a notification or an answer, in seconds."""

END_TIMEOUT: Final = 2.0
"""How long a backend may take to end the session, in seconds."""

VERIFY_TIMEOUT: Final = 10.0
"""How long a backend may take to prove that it still speaks as agreed, in seconds."""


class StreamableConnection:
    """A live connection over streamable HTTP; see :class:`onemcp.backend.connection.Connection`."""

    def __init__(
        self,
        peer: Peer,
        terms: Terms,
        on_notification: NotificationHandler,
        tools: Tools,
    ) -> None:
        """Prepare a connection; `run` makes it.

        Args:
            peer: How to reach the backend.
            terms: How to talk to it for the first time.
            on_notification: Takes what belongs to no exchange.
            tools: What is known of the backend's tools.
        """
        self.server: ServerDescription | None = None
        self.is_shared = False
        self._peer = peer
        self._terms = terms
        self._tools = tools
        self.inbound = Inbound(self._send_answer, on_notification, peer.throttle)
        self._client = HttpClient(peer, peer.limits.in_flight + BESIDES + SPARE_CONNECTIONS)
        self._courier = Courier(self._client, self.inbound, self._on_contact)
        self._context = contextvars.Context()
        self._nursery: trio.Nursery | None = None
        self._lost: ConnectionLost | None = None
        self._next_id = 0
        self._early: list[bytes] = []
        self._background = 0
        self._contacted = False
        self._unreachable = 0
        self._verifying = False

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect, agree on a revision, acknowledge, and serve until the end."""
        self._context = contextvars.copy_context()
        async with self._client:
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._peer.throttle.run)
                    await self._serve(task_status)
            finally:
                self._nursery = self.server = None
                self._lost = self._lost or ConnectionLost("it is being stopped")
                self.inbound.fail_all(self._lost)
                with trio.move_on_after(min(END_TIMEOUT, self._peer.timeouts.stop), shield=True):
                    await self._courier.end_session()
        raise self._lost

    def open(self, call: Call) -> Exchange:
        """Send a request."""
        if self.server is None:
            raise BackendUnavailable("the connection is not up")
        return self.open_as(call, self.server.revision)

    def open_as(self, call: Call, revision: str) -> Exchange:
        """Send a request in a given revision."""
        if self._lost is not None or self._nursery is None:
            raise BackendUnavailable("the connection is not up")
        if len(self.inbound.exchanges) >= self._peer.limits.in_flight + BESIDES:
            limit = self._peer.limits.in_flight
            raise Overloaded(f"more than {limit} requests are in flight, the limit")
        request_id = self._next_id + 1
        params, token = outgoing_params(call, revision, request_id)
        exchange = Exchange(request_id, call, self, token)
        exchange.scope = trio.CancelScope()
        self._next_id = request_id
        self.inbound.add(exchange)
        body = jsonrpc.encode_request(request_id, call.method, params)
        headers = self._headers(call, revision)
        self._spawn(self._nursery, self._carry, exchange, exchange.scope, body, headers)
        return exchange

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; the modern era has none over HTTP."""
        body = jsonrpc.encode_notification(method, join(params))
        if self._lost is not None:
            return
        if self.server is None:
            self._early.append(body)
        elif self.server.era is Era.LEGACY:
            self._start(self._tell, body, None)

    def abandon(self, exchange: Exchange) -> None:
        """Cancel a request at the backend."""
        if not self.inbound.drop(exchange) or exchange.scope is None:
            return
        if not self._courier.session.is_legacy or not self._start(self._cancel, exchange):
            exchange.scope.cancel()

    def forget(self, exchange: Exchange) -> None:
        """Drop a request without telling the backend."""
        if self.inbound.drop(exchange):
            self.inbound.last_violation = f"it didn't answer {exchange.call.method} in time"
        exchange.close()
        if exchange.scope is not None:
            exchange.scope.cancel()

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        """Send a client's answer to a question."""
        claimed = self.inbound.claim(exchange, answer)
        if claimed is not None:
            self._start(self._tell, jsonrpc.encode(claimed), exchange)

    def __repr__(self) -> str:
        state = "lost" if self._lost else "up" if self.server else "connecting"
        return f"<StreamableConnection {state} in_flight={self.inbound.in_flight}>"

    # --- tasks -------------------------------------------------------------------------------

    async def _serve(self, task_status: trio.TaskStatus[ServerDescription]) -> None:
        known = self._terms.memory.era
        try:
            server = await negotiate(self, self._terms)
            self._courier.session.revision = server.revision
            for body in self._early:
                await self._introduce(body)
            self.server = server
        except ConnectionLost as reason:
            self._lose(reason)
            return
        finally:
            if self.server is None:
                # Nothing was found out, and an address that is down says nothing of its era.
                self._terms.memory.era = None if self._contacted else known
        task_status.started(server)
        if server.era is Era.LEGACY:
            await self._listen()
        await trio.sleep_forever()

    async def _introduce(self, body: bytes) -> None:
        """Send a notification of the handshake, before any request."""
        try:
            await self._courier.tell(body)
        except Problem as problem:
            if problem.status is None or problem.ends is not None or problem.wants_login:
                raise as_loss(problem) from problem
            # Some backends refuse notifications, and work all the same.
            self.inbound.last_violation = f"it refused a notification: {problem.reason}"

    async def _carry(
        self, exchange: Exchange, scope: trio.CancelScope, body: bytes, headers: HeaderList
    ) -> None:
        with scope:
            try:
                await self._ask(exchange, body, headers)
            except Problem as problem:
                self.inbound.drop(exchange)
                if self.server is None and self._lost is None:
                    self._on_handshake_problem(problem, exchange.call.method)
                    exchange.fail(problem.error)
                else:
                    self._on_problem(problem)
                    exchange.fail(problem.for_client)

    async def _ask(self, exchange: Exchange, body: bytes, headers: HeaderList) -> None:
        """Send a request, and again where a changed tool wants other headers (Client Behavior).

        The backend has refused the first one, so it may have the same id.
        """
        call, revision = exchange.call, self._courier.session.revision
        try:
            await self._courier.ask(exchange, body, headers)
        except Problem as problem:
            if problem.code != HEADER_MISMATCH or call.method != TOOLS_CALL or revision is None:
                raise
            refused = problem
        else:
            return
        await self._tools.relist_tools()
        corrected = self._headers(call, revision)
        if corrected == headers:
            raise refused
        await self._courier.ask(exchange, body, corrected)

    async def _listen(self) -> None:
        try:
            await self._courier.listen(self._on_problem)
        except Problem as problem:
            self._on_problem(problem)

    async def _tell(self, body: bytes, exchange: Exchange | None) -> None:
        with trio.move_on_after(TELL_TIMEOUT) as patience:
            try:
                await self._courier.tell(body)
            except Problem as problem:
                self._on_problem(problem)
                if exchange is not None and self.inbound.drop(exchange):
                    exchange.fail(BackendLost(f"it could not be told the answer: {problem.reason}"))
        if patience.cancelled_caught:
            self.inbound.last_violation = "it doesn't take what it is sent"

    async def _cancel(self, exchange: Exchange) -> None:
        params = join({"requestId": raw(exchange.id)})
        try:
            await self._tell(jsonrpc.encode_notification(CANCELLED, params), None)
        finally:
            if exchange.scope is not None:
                exchange.scope.cancel()

    async def _verify(self) -> None:
        """Find out whether the backend still speaks as agreed; give the connection up if not."""
        revision = self._courier.session.revision
        if revision is None:  # pragma: no cover - verified only after the handshake
            return
        method = PING if self._courier.session.is_legacy else DISCOVER
        self._next_id += 1
        call = Call(method, {}, self._terms.caller(revision))
        exchange = Exchange(self._next_id, call, self)
        params, _ = outgoing_params(call, revision, exchange.id)
        body = jsonrpc.encode_request(exchange.id, method, params)
        try:
            with trio.move_on_after(VERIFY_TIMEOUT):
                await self._courier.ask(exchange, body, self._headers(call, revision))
        except Problem as problem:
            self._on_verified(problem)
        finally:
            self._verifying = False

    # --- decisions ---------------------------------------------------------------------------

    def _start(self, run: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts) -> bool:
        """Start something that nobody waits for, within bounds."""
        if self._nursery is None or self._background >= MAX_BACKGROUND:
            self.inbound.last_violation = "it doesn't take what it is sent"
            return False
        self._background += 1
        self._spawn(self._nursery, self._in_background, run, *args)
        return True

    def _spawn(
        self, nursery: trio.Nursery, run: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts
    ) -> None:
        # From a client's request, but not in its context.
        self._context.run(lambda: nursery.start_soon(run, *args))

    def _headers(self, call: Call, revision: str) -> HeaderList:
        if era_of(revision) is Era.MODERN:
            headers = modern_headers(call, revision, self._tools)
        else:
            headers = self._courier.session.post()
        headers.extend(to_headers(call.params))
        return headers

    async def _in_background(
        self, run: Callable[[Unpack[Ts]], Awaitable[None]], *args: *Ts
    ) -> None:
        try:
            await run(*args)
        finally:
            self._background -= 1

    def _send_answer(self, answer: Answer) -> None:
        self._start(self._tell, jsonrpc.encode(answer), None)

    def _on_contact(self) -> None:
        self._contacted = True
        self._unreachable = 0

    def _on_handshake_problem(self, problem: Problem, method: str) -> None:
        """Decide whether a failed step of the handshake leaves something else to try."""
        final = problem.unreachable or problem.redirects or problem.status == UNAUTHORIZED
        if final or method == INITIALIZE:
            self._lose(as_loss(problem))
        elif self._terms.pin != "auto" and not problem.is_modern:
            self._lose(HandshakeFailed(f"it refused {method}: {problem.reason}"))

    def _on_problem(self, problem: Problem) -> None:
        """Decide what a failed request means for the connection."""
        if problem.unreachable:
            self._unreachable += 1
            if self._unreachable >= MAX_UNREACHABLE:
                self._lose(ConnectionLost(problem.reason))
        elif problem.ends is not None:
            self._courier.session.id = None
            self._lose(problem.ends)
        elif self._courier.session.is_legacy and problem.is_modern:
            self._terms.memory.era = None
            self._lose(ConnectionLost("it speaks another era than it did"))
        elif problem.doubtful and not self._verifying:
            self._verifying = self._start(self._verify)

    def _on_verified(self, problem: Problem) -> None:
        if problem.wants_login:
            self._lose(LoginRequired(problem.reason))
        elif problem.ends is not None or problem.doubtful:
            self._terms.memory.era = None
            self._lose(
                problem.ends
                or ConnectionLost(f"it doesn't speak as agreed any more: {problem.reason}")
            )
        else:
            self._on_problem(problem)

    def _lose(self, reason: ConnectionLost) -> None:
        self._lost = self._lost or reason
        self.server = None  # whoever calls from here on waits for the next connection
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
