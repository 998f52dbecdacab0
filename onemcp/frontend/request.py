"""One HTTP request to an MCP endpoint: what its head says, and who has sent it.

Theory of operation: a client sends the same head again and again, and the server keeps a memo for
what follows from it (:data:`.http1.exchange.MEMO`). An :class:`Arrival` is that: it depends on the
head and on the gate, which is another one as soon as the configuration changes, and on nothing
else. Who the sender is, and what they may do by now, is asked of the gate for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final, Self

import attrs
from msgspec import Raw

from onemcp.auth import Gate, Presented, resource_path
from onemcp.multiplexer import View
from onemcp.protocol import headers as mcp_headers
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import Overloaded
from onemcp.protocol.headers import Repeated
from onemcp.protocol.httpheaders import Headers, IndexedHeaders, values_of
from onemcp.protocol.jsonrpc import RequestId
from onemcp.protocol.tracecontext import TRACEPARENT

from . import cors
from .asgi import (
    EVENT_STREAM,
    JSON,
    Bounds,
    Scope,
    Send,
    Wire,
    accepts,
    is_json,
    overloaded,
)
from .http1.exchange import MEMO
from .wellknown import PATH

STREAMS: Final = "/sse"
"""Where streams are opened; ``/sse/NAME`` is one backend."""

MESSAGES: Final = "/messages"
"""Where messages are sent."""

_ENDPOINTS: Final = (PATH, STREAMS, MESSAGES)


@attrs.frozen(eq=False)
class Arrival:
    """What is known of a request by its head alone.

    Attributes:
        gate: The gate that has let it pass: its Host is this server's, and its Origin may call.
        headers: Its headers; without the length of its body, where they may come again.
        cors: What lets the page read the answer that has sent it, if one has.
        base: Where its path leads: one of the endpoints of MCP, or anything else.
        name: What of that is to be shown; None for everything.
        resource: What its token has to be good for.
        is_preflight: Whether a browser asks what a page may send.
        is_json: Whether its body says that it is JSON.
        takes_answers: Whether its sender takes what a POST is answered with.
    """

    gate: Gate
    headers: Headers
    cors: Headers
    base: str
    name: str | None
    resource: str
    is_preflight: bool
    is_json: bool
    takes_answers: bool
    _repeated: set[Repeated] = attrs.field(factory=set, init=False, repr=False)

    @classmethod
    def of(cls, scope: Scope, gate: Gate) -> Self:
        """Look at the head of a request; where that has been looked at before, not again.

        Raises:
            RequestRefused: The client didn't mean this server, or its page may not call.
        """
        memo = scope.get("extensions", {}).get(MEMO)
        if memo is None:
            return cls._read(scope, IndexedHeaders(scope["headers"]), gate)
        arrival: Self | None = memo.get(cls)
        if arrival is None or arrival.gate is not gate:
            same = ((name, value) for name, value in scope["headers"] if name != b"content-length")
            arrival = memo[cls] = cls._read(scope, IndexedHeaders(same), gate)
        return arrival

    @classmethod
    def _read(cls, scope: Scope, headers: Headers, gate: Gate) -> Self:
        gate.check_host(headers)
        gate.check_origin(headers)
        base, name = _split(scope["path"])
        return cls(
            gate=gate,
            headers=headers,
            cors=cors.response_headers(headers),
            base=base,
            name=name,
            resource=resource_path(scope["path"], PATH) or "",
            is_preflight=cors.is_preflight(scope["method"], headers),
            is_json=is_json(headers),
            takes_answers=accepts(headers, JSON, EVENT_STREAM),
        )

    @cached_property
    def presented(self) -> Presented:
        """What its sender wants to be let in with.

        Raises:
            RequestRefused: Nothing that could let anybody in.
        """
        return self.gate.presented(self.headers, self.resource)

    @cached_property
    def revision(self) -> str | None:
        """The revision that its headers name, if they name one.

        Raises:
            HeaderMismatch: They name several.
        """
        return _text(mcp_headers.single(self.headers, mcp_headers.PROTOCOL_VERSION))

    @cached_property
    def session(self) -> str | None:
        """The id of the legacy session that it says it belongs to, if it does.

        Raises:
            HeaderMismatch: There are several.
        """
        return _text(mcp_headers.single(self.headers, mcp_headers.SESSION_ID))

    def check_repeated(self, repeated: Repeated) -> None:
        """Check that its headers repeat what the body says.

        Raises:
            HeaderMismatch: They don't.
        """
        if repeated not in self._repeated:
            mcp_headers.check_request(self.headers, repeated)
            self._repeated.add(repeated)  # the same head agrees with hardly anything else

    @cached_property
    def is_traced(self) -> bool:
        """Whether its headers may bring the context of a trace."""
        return bool(values_of(self.headers, TRACEPARENT.encode()))

    @cached_property
    def is_at_endpoint(self) -> bool:
        """Whether its path is one where MCP can be served."""
        is_odd = self.name == "" or (self.base == MESSAGES and self.name is not None)
        return self.base in _ENDPOINTS and not is_odd


@attrs.define(eq=False)
class HttpRequest:
    """One HTTP request to an MCP endpoint, from somebody who may come in.

    Attributes:
        arrival: What its head says.
        view: What the endpoint shows.
        principal: Who sent it.
        wire: The client's end.
        bounds: How much it may be, and hold open.
        grant: What its sender's rights come from.
        check_scope: Refuses content whose sender lacks a scope for it, where a view is shown.
    """

    arrival: Arrival
    view: View
    principal: str
    wire: Wire
    bounds: Bounds
    grant: Hashable = None
    check_scope: Callable[[jsonrpc.Message | list[Raw], View], None] = lambda _content, _view: None

    @property
    def headers(self) -> Headers:
        """Its headers."""
        return self.arrival.headers

    @property
    def send(self) -> Send:
        """The ASGI callable to answer with."""
        return self.wire.send

    @contextmanager
    def streaming(
        self, request_id: RequestId | None = None, *, is_new: bool = False
    ) -> Iterator[None]:
        """Hold a place for a stream of events.

        Args:
            request_id: What it answers, if that has an id.
            is_new: Whether it is no part of anything that was there before, nor an answer.

        Raises:
            HttpRefusal: There is none, or there can be no new streams just now.
        """
        streams = self.bounds.streams
        if is_new:
            try:
                streams.check_open()
            except Overloaded as error:
                raise overloaded(error, request_id) from error
        if not streams.has_room(self.principal):
            raise overloaded(streams.refuse(self.principal), request_id)
        with streams.held(self.principal):
            yield


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _split(path: str) -> tuple[str, str | None]:
    """Split a path into where it leads, and the name of what is to be shown there."""
    base = path.rstrip("/")
    if base in _ENDPOINTS:
        return base, None
    base, _, name = path.rpartition("/")
    return base, name
