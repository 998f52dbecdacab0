"""The ASGI application: who may come in, and which era serves a request.

A plain ASGI callable: the MCP endpoint has no framework under it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

import attrs
import trio
from msgspec import Raw

from onemcp.auth import (
    Gate,
    Principal,
    RequestRefused,
)
from onemcp.multiplexer import EVERYTHING, NOTHING, Multiplexer, Selection, View, lacking
from onemcp.protocol import jsonrpc, meta, tracecontext
from onemcp.protocol.errors import (
    HeaderMismatch,
    InternalError,
    InvalidParams,
    InvalidRequest,
    LocalError,
)
from onemcp.protocol.jsonrpc import Message, Request
from onemcp.protocol.methods import DISCOVER, INITIALIZE
from onemcp.protocol.revisions import LEGACY_REVISIONS

from . import cors, wellknown
from .asgi import (
    Bounds,
    HttpRefusal,
    Receive,
    Scope,
    Send,
    Wire,
    respond,
    respond_error,
)
from .content import check_type, read_content
from .events import RequestDenied, RequestFailed, TokenAccepted
from .forwarded import TrustedProxies
from .http_sse import HttpSse
from .legacy import LegacyFrontend
from .modern import serve_modern
from .oauth import PREFIX, OAuth, address_of
from .pages import Pages, serve_upstream
from .reporting import Reporter
from .request import STREAMS, Arrival, HttpRequest
from .wellknown import CONTROL, PATH, STATUS

_METHODS: Final = ((b"allow", b"POST, GET, DELETE"),)

Route: TypeAlias = Callable[[Scope, Wire, Gate], Awaitable[None]]
"""Serves a path that is none of MCP's; who may come in is for itself to say, with the gate."""

OWNER: Final = "onemcp.owner"
"""The member of an ASGI scope that holds a principal whom the kernel vouches for."""

Operate: TypeAlias = Callable[[Scope, Wire, str], Awaitable[None]]
"""Serves an operator, who is named."""

Page: TypeAlias = Callable[[Scope, Wire], Awaitable[None]]
"""Serves people who look after the gateway; who may is for itself to say."""


@attrs.define
class Application:
    """Serves MCP over HTTP.

    Attributes:
        multiplexer: What requests are dispatched to.
        legacy: What serves legacy clients.
        gate: Who may come in; replaced when the configuration changes.
        bounds: How much clients may send, and hold open.
        on_event: Takes what goes wrong.
        oauth: What serves clients and people that want tokens, if they can get any here.
        routes: What serves other paths.
        callback: What serves people who log in at backends, if that is possible here.
        operate: What serves operators, if anything does.
        status: What serves the status page, if anything does.
        proxies: Whom to believe where requests come from, if not only who is connected.
        http_sse: What serves clients of the transport of 2024-11-05.
    """

    multiplexer: Multiplexer
    legacy: LegacyFrontend
    gate: Gate
    bounds: Bounds
    on_event: Callable[[RequestFailed | RequestDenied | TokenAccepted], object]
    oauth: OAuth | None = None
    callback: Pages | None = None
    routes: Mapping[str, Route] = attrs.field(factory=dict)
    operate: Operate | None = None
    status: Page | None = None
    proxies: TrustedProxies | None = None
    http_sse: HttpSse = attrs.field(init=False)
    _live: dict[Wire, Callable[[], bool]] = attrs.field(init=False, factory=dict, repr=False)
    _reporter: Reporter = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.http_sse = HttpSse(self.legacy.sessions, self.on_event)
        self._reporter = Reporter(self.on_event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            if self.proxies is not None:
                scope["client"] = self.proxies.origin(address_of(scope), scope["headers"]), 0
            await self._serve(scope, Wire(scope, receive, send))
        else:
            await send({"type": "websocket.close"})

    async def _serve(self, scope: Scope, wire: Wire) -> None:
        try:
            await self._let_in(scope, wire)
        except HttpRefusal as refusal:
            await respond_error(
                wire.send, refusal.status, refusal.error, refusal.request_id, refusal.headers
            )
        except RequestRefused as refused:
            self._reporter.denied(refused, scope)
            challenge = refused.www_authenticate
            more = [] if challenge is None else [(b"www-authenticate", challenge.encode())]
            error = InvalidRequest(str(refused))
            await respond_error(wire.send, refused.status, error, headers=more)
        except trio.BrokenResourceError:
            return  # the client has gone: nobody is there to be answered
        except Exception as error:  # noqa: BLE001 - reported, and answered where still possible
            self._reporter.failed(error, scope, wire)
            if not wire.started:
                internal = InternalError("internal error; see onemcp's log")
                await respond_error(wire.send, 500, internal)

    async def _let_in(self, scope: Scope, wire: Wire) -> None:
        """Check where a request comes from and whose it is, and serve it.

        Raises:
            RequestRefused: It may not come in.
            HttpRefusal: It is refused for something else.
        """
        route = self.routes.get(scope["path"])
        if route is not None:
            await route(scope, wire, self.gate)
            return
        arrival = Arrival.of(scope, self.gate)
        wire.headers = arrival.cors
        if arrival.is_preflight:
            await respond(wire.send, 204, headers=cors.preflight_headers(arrival.headers))
            return
        if not arrival.is_at_endpoint and await self._serve_others(scope, wire):
            return
        principal = scope.get(OWNER) or self._authenticate(arrival)
        user = wire.principal = principal.identity
        self._reporter.accepted(principal, scope)
        http = HttpRequest(
            arrival,
            self._view(arrival, principal, user),
            user,
            wire,
            self.bounds,
            principal,
            partial(self._check_scope, principal, arrival),
        )
        may_go_on = partial(self._still_sees, principal, arrival.name)
        await self._while_allowed(wire, may_go_on, self._serve_known(scope, http))
        if wire.life.cancelled_caught and not (wire.started or wire.is_gone):
            self._authenticate(arrival)

    def _authenticate(self, arrival: Arrival) -> Principal:
        """Tell who has sent a request.

        Raises:
            RequestRefused: It can't be told, or it is nobody who may come in.
        """
        gate, presented = self.gate, arrival.presented
        if gate is not arrival.gate:  # the configuration has changed meanwhile
            presented = gate.presented(arrival.headers, arrival.resource)
        return gate.admit(presented, time.time())

    def recheck(self) -> None:
        """Let everybody who is being served see no more than they may by now.

        What is served to those who would no longer be let in ends, and so do their sessions, with
        the calls that are under way in them. What is served at an endpoint that is gone comes to
        its own end.
        """
        for wire, may_go_on in self._live.items():
            if not may_go_on():
                wire.life.cancel()
        self.legacy.sessions.end(
            lambda grant: isinstance(grant, Principal) and self._selection(grant) == NOTHING
        )
        self.multiplexer.regrant(
            lambda caller: (
                self._selection(caller.grant) if isinstance(caller.grant, Principal) else None
            )
        )

    async def _serve_operator(self, operate: Operate, scope: Scope, wire: Wire) -> None:
        """Serve somebody who may administer the gateway, for as long as that is so.

        Raises:
            RequestRefused: It is nobody who may.
        """
        principal = scope.get(OWNER)
        if principal is None:
            principal = self.gate.authenticate_admin(scope["headers"], time.time(), PATH)
        may_go_on = partial(self._still_operates, principal)
        await self._while_allowed(wire, may_go_on, operate(scope, wire, principal.subject))

    async def _while_allowed(
        self, wire: Wire, may_go_on: Callable[[], bool], work: Awaitable[None]
    ) -> None:
        """Do something for a request for as long as that is allowed."""
        self._live[wire] = may_go_on
        try:
            with wire.life:
                await work
        finally:
            del self._live[wire]

    def _still_operates(self, principal: Principal) -> bool:
        return self.gate.is_admin(principal)

    def _still_sees(self, principal: Principal, name: str | None) -> bool:
        selection = self._selection(principal)
        is_hidden = self.multiplexer.view(name, selection, principal.identity) is None
        is_gone = self.multiplexer.endpoint(name) is None
        return selection != NOTHING and (is_gone or not is_hidden)

    def _selection(self, principal: Principal) -> Selection:
        """Return what somebody may see by now."""
        return self.multiplexer.granted(frozenset(self.gate.standing_rights(principal)))

    def _check_scope(
        self,
        principal: Principal,
        arrival: Arrival,
        content: Message | list[Raw],
        view: View,
    ) -> None:
        """Check that nobody asks for what could be theirs, but isn't yet.

        Raises:
            InsufficientScope: They do; it names all that they lack for it.
        """
        if view.is_whole:
            return
        attainable = frozenset(self.gate.attainable(principal))
        asked = _requests(content)
        found = [lacking(each, view, attainable, principal.identity) for each in asked]
        needed = frozenset().union(*found)
        if needed:
            raise self.gate.insufficient(arrival.headers, arrival.resource, needed, principal)

    def _serve_known(self, scope: Scope, http: HttpRequest) -> Awaitable[None]:
        if http.arrival.base == PATH:
            return self._route(scope["method"], http)
        if http.arrival.base == STREAMS:
            return self.http_sse.open(scope["method"], http)
        return self.http_sse.post(scope["method"], scope["query_string"], http)

    async def _serve_others(self, scope: Scope, wire: Wire) -> bool:
        """Serve strangers and operators, if it is one of them."""
        if await self._serve_strangers(scope, wire):
            return True
        if self.operate is None or not f"{scope['path']}/".startswith(f"{CONTROL}/"):
            return False
        await self._serve_operator(self.operate, scope, wire)
        return True

    async def _serve_strangers(self, scope: Scope, wire: Wire) -> bool:
        """Serve what clients and people need before they have a token, if it is that."""
        oauth = self.oauth if self.gate.own_issuer else None
        if scope["path"].startswith(wellknown.PREFIX):
            server = None if oauth is None else oauth.server
            name = self.multiplexer.identity.name
            await wellknown.serve(self.gate, scope, wire.send, name, server)
            return True
        if self.status is not None and scope["path"].startswith(STATUS):
            await self.status(scope, wire)
            return True
        if not scope["path"].startswith(PREFIX):
            return False
        callback, public_url = self.callback, self.gate.public_url
        if callback is not None and await serve_upstream(callback, public_url, scope, wire):
            return True
        if oauth is None:
            return False
        await oauth.serve(self.gate.resource(scope["headers"], "").origin, scope, wire)
        return True

    def _route(self, method: str, http: HttpRequest) -> Awaitable[None]:
        match method:
            case "POST":
                return self._post(http)
            case "GET":
                return self.legacy.get(http)
            case "DELETE":
                return self.legacy.delete(http)
            case _:
                raise HttpRefusal(405, InvalidRequest(f"{method} is not served here"), _METHODS)

    def _view(self, arrival: Arrival, principal: Principal, user: str) -> View:
        """Return what somebody may see of an endpoint.

        Raises:
            InsufficientScope: Nothing, of one that there may or may not be.
            HttpRefusal: There is no such endpoint.
        """
        selection = self.multiplexer.granted(frozenset(self.gate.current_rights(principal)))
        is_known = arrival.is_at_endpoint
        view = self.multiplexer.view(arrival.name, selection, user) if is_known else None
        if view is not None and view.is_whole:
            return view
        if selection == NOTHING or (is_known and view is None and selection != EVERYTHING):
            raise self.gate.insufficient(arrival.headers, arrival.resource, principal=principal)
        if view is None:
            names = self.multiplexer.endpoints
            seen = (
                each for each in names if self.multiplexer.view(each, selection, user) is not None
            )
            known = ", ".join([PATH, *(f"{PATH}/{each}" for each in seen)])
            raise HttpRefusal(404, InvalidRequest(f"no such endpoint; there is {known}"))
        return view

    async def _post(self, http: HttpRequest) -> None:
        check_type(http)
        if not http.arrival.takes_answers:
            error = InvalidRequest("POST needs Accept: application/json, text/event-stream")
            raise HttpRefusal(406, error)
        content = await read_content(http)
        http.check_scope(content, http.view)
        if isinstance(content, Request):
            content = http.wire.request = _traced(content, http.arrival)
        if isinstance(content, list):
            await self.legacy.post_batch(content, http)
        elif is_modern(content, http.arrival):
            await serve_modern(content, http)
        else:
            await self.legacy.post(content, http)


def _traced(request: Request, arrival: Arrival) -> Request:
    """Return a request with the context of the trace that its HTTP headers name."""
    if not arrival.is_traced:
        return request
    with suppress(InvalidParams):  # which is answered later, as what it is
        params = tracecontext.adopt(request.params, arrival.headers)
        if params is not request.params:
            return Request(request.id, request.method, params)
    return request


def _requests(content: Message | list[Raw]) -> Iterator[Request]:
    """Return the requests of a message, or of a batch; what is malformed is refused elsewhere."""
    for item in content if isinstance(content, list) else ():
        with suppress(LocalError):
            yield from _requests(jsonrpc.decode(item))
    if isinstance(content, Request):
        yield content


def is_modern(message: Message, arrival: Arrival) -> bool:
    """Tell which era serves a message (Versioning, Backward Compatibility).

    A request with the per-request fields is modern, whatever its headers say, and ``initialize``
    without them opens a legacy session. Of the others, the modern ones name a revision that isn't
    a legacy one, or a method that only exists there.
    """
    if isinstance(message, Request):
        if meta.is_modern(message.params):
            return True
        if message.method == INITIALIZE:
            return False
    try:
        revision = arrival.revision
    except HeaderMismatch:
        return True  # which refuses it
    if revision is not None:
        return revision not in LEGACY_REVISIONS
    return isinstance(message, Request) and message.method == DISCOVER


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
