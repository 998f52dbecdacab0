"""The little of ASGI that the frontend needs, typed.

Theory of operation: a :class:`Wire` stands between the frontend and the server. What a client still
sends is read, within bounds, before the response ends, so that the client gets to see it. Where the
server tells of the client's disconnect on its own (:data:`.http1.exchange.TELLS`), nothing has to
wait for that; with others a task does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple, Unpack

import attrs
import trio

from onemcp.admission import Places, Rate
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    CircuitOpen,
    InvalidRequest,
    LocalError,
    Overloaded,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.httpheaders import Headers, values_of
from onemcp.protocol.jsonrpc import Failure, Request, RequestId, Response

from .http1 import scopes
from .http1.exchange import RESPOND, SCOPES, TELLS, WHOLE_BODY

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"

STREAM_HEADERS: Final = (
    (b"content-type", EVENT_STREAM),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
"""Headers of a server-sent event stream (2026-07-28, Streamable HTTP, Receiving Messages)."""

READ_SECONDS: Final = 30.0
"""How long a client may take between two parts of a body."""

LINGER_SECONDS: Final = 5.0
"""How long the rest of a body that nobody wants is read, so that the client sees the answer."""

LINGER_BYTES: Final = 16 * 1024 * 1024
"""How much of it is read."""

_NO_CONTENT: Final = 204

_STATUS: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_CLIENT_CAPABILITY: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}


class HttpRefusal(Exception):
    """A request that is refused as HTTP, before any method is looked at.

    Attributes:
        status: The HTTP status.
        error: What is said about it in the body.
        headers: More headers for the answer.
        request_id: The id of the request that is refused, where it could be read.
    """

    def __init__(
        self,
        status: int,
        error: ProtocolError,
        headers: Sequence[tuple[bytes, bytes]] = (),
        request_id: RequestId | None = None,
    ) -> None:
        """Refuse with a status and an explanation."""
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error
        self.headers = headers
        self.request_id = request_id


@attrs.define
class Bounds:
    """How much clients may send, and hold open; all of it may change at any time.

    Attributes:
        body_bytes: The largest body of a request.
        streams: Where a stream of events takes its place.
        notifications: How many notifications each principal may send.
    """

    body_bytes: int
    streams: Places
    notifications: Rate


class Wire:
    """The client's end of one HTTP request.

    Attributes:
        head: The request's headers, as the server gives them.
        headers: What every response to it carries.
        life: What everything that is done for the request happens in, once its sender is known.
        started: Whether a response has begun.
        is_gone: Whether the client is known to have gone.
        whole_body: The request's body, where all of it has come with its head.
        principal: Who has sent it, once that is known.
        request: The message that it carries, once it is read, where that is a request.
    """

    __slots__ = (
        "_body_read",
        "_receive",
        "_respond",
        "_scopes",
        "_send",
        "_tell",
        "head",
        "headers",
        "is_gone",
        "life",
        "principal",
        "request",
        "started",
        "whole_body",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap what an ASGI server gives."""
        extensions = scope.get("extensions", {})
        self.head: Headers = scope.get("headers", ())
        self.headers: Headers = ()
        self.principal: str | None = None
        self.request: Request | None = None
        self.started = False
        self.is_gone = False
        self.whole_body: bytes | None = extensions.get(WHOLE_BODY)
        self._scopes = extensions.get(SCOPES)
        self.life = self.new_scope()
        self._receive = receive
        self._send = send
        self._respond = extensions.get(RESPOND)
        self._tell = extensions.get(TELLS)
        self._body_read = self.whole_body is not None

    def new_scope(self) -> scopes.Scope:
        """Return a scope for something that is done for the request, directly within its `life`."""
        return trio.CancelScope() if self._scopes is None else scopes.Use(self._scopes)

    async def receive(self) -> MutableMapping[str, Any]:
        """Receive a part of the body, or the client's disconnect."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._body_read = True
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the response.

        Raises:
            trio.BrokenResourceError: The client has gone.
        """
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": [*message["headers"], *self.headers]}
        elif not message["more_body"] and not self._body_read:
            with trio.move_on_after(LINGER_SECONDS):
                await self._discard()
        try:
            await self._send(message)
        except OSError as error:
            raise self._broken() from error

    async def respond(
        self, status: int, body: bytes = b"", headers: Headers = (), kind: bytes = JSON
    ) -> None:
        """Send a whole response, at once where the server takes it so.

        Raises:
            trio.BrokenResourceError: The client has gone.
        """
        if self._respond is None or not self._body_read:
            await respond(self.send, status, body, headers, kind)
            return
        self.started = True
        fields = _fields(status, body, (*headers, *self.headers), kind)
        try:
            await self._respond(status, fields, body)
        except OSError as error:
            raise self._broken() from error

    def _broken(self) -> trio.BrokenResourceError:
        self.is_gone = True
        return trio.BrokenResourceError("the client went away")

    async def while_connected(self, work: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> T:
        """Do some work, unless the client goes away before it is done.

        Where the server tells of that, the request's whole `life` is cancelled with the work.

        Raises:
            trio.BrokenResourceError: The client has gone, and the work was cancelled.
        """
        if self._tell is None:
            return await self._watching(partial(work, *args))
        self._tell(self._hang_up)
        try:
            return await work(*args)
        finally:
            self._tell(None)

    def _hang_up(self) -> None:
        self.is_gone = True
        self.life.cancel()

    async def _watching(self, work: Callable[[], Awaitable[T]]) -> T:
        done: list[T] = []
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_on_disconnect, nursery.cancel_scope)
            try:
                done.append(await work())
            except Exception as error:  # noqa: BLE001 - raised below, where no nursery wraps it
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not done:
            raise trio.BrokenResourceError("the client went away")
        return done[0]

    async def _cancel_on_disconnect(self, scope: trio.CancelScope) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        scope.cancel()

    async def _discard(self) -> None:
        left = LINGER_BYTES
        while not self._body_read and left > 0:
            left -= len((await self.receive()).get("body", b""))


def status_of(answer: Response | Failure) -> int:
    """Return the HTTP status that goes with an answer to a modern request.

    One table, whether the error is onemcp's own or a backend's (Streamable HTTP, Protocol Version
    Header and Server Validation; Overview, Per-request protocol fields).
    """
    if isinstance(answer, Response):
        return 200
    return _STATUS.get(RemoteError(answer.error).code, 200)


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of a header, or None."""
    values = values_of(headers, name)
    return values[0] if values else None


def accepts(headers: Headers, *kinds: bytes) -> bool:
    """Tell whether the client takes answers of media types; without ``Accept`` it takes all."""
    values = values_of(headers, b"accept")
    return not values or all(any(_accepts(value, kind) for value in values) for kind in kinds)


def is_json(headers: Headers) -> bool:
    """Tell whether a body says that it is JSON."""
    return _media_type(header(headers, b"content-type") or b"") == JSON


@lru_cache(maxsize=64)
def _media_type(value: bytes) -> bytes:
    return value.partition(b";")[0].strip().lower()


@lru_cache(maxsize=64)
def _accepts(value: bytes, kind: bytes) -> bool:
    family = kind.partition(b"/")[0] + b"/*"
    offered = {_media_type(part) for part in value.split(b",")}
    return not offered.isdisjoint({kind, family, b"*/*"})


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read a request's body.

    Raises:
        HttpRefusal: It has more than `limit` bytes, or comes too slowly.
        trio.BrokenResourceError: The client went away before it had sent all of it.
    """
    declared = header(headers, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await _receive_part(receive)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(limit: int) -> HttpRefusal:
    """Refuse a body for its size."""
    error = LocalError(f"the body has more than {limit} bytes, the limit (limits.bodyBytes)")
    return HttpRefusal(413, error, [(b"connection", b"close")])


async def _receive_part(receive: Receive) -> MutableMapping[str, Any]:
    with trio.move_on_after(READ_SECONDS):
        message = await receive()
        if message["type"] != "http.request":
            raise trio.BrokenResourceError("the client went away")
        return message
    error = InvalidRequest(f"nothing of the body has come for {READ_SECONDS:g} s")
    raise HttpRefusal(408, error, [(b"connection", b"close")])


async def start_stream(send: Send, first: bytes = b"") -> None:
    """Begin a response of server-sent events, so that the client gets to know."""
    headers = list(STREAM_HEADERS)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send_part(send, first)


async def send_part(send: Send, data: bytes, *, more: bool = True) -> None:
    """Send a part of a response that has begun."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    kind: bytes = JSON,
) -> None:
    """Send a whole response."""
    fields = _fields(status, body, headers, kind)
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send_part(send, body, more=False)


def _fields(status: int, body: bytes, headers: Headers, kind: bytes) -> Headers:
    """Return the headers of a whole response."""
    fields = list(headers)
    if status != _NO_CONTENT:
        fields.append((b"content-length", b"%d" % len(body)))
    if body:
        fields.append((b"content-type", kind))
    return fields


async def respond_refusal(send: Send, error: ProtocolError, request_id: RequestId) -> None:
    """Refuse a modern request; where there is too much of it, say when to come back."""
    if isinstance(error, Overloaded | CircuitOpen):
        refused = overloaded(error, request_id)
        await respond_error(send, refused.status, error, request_id, refused.headers)
    else:
        await respond_error(send, status_of(Failure(request_id, error.error)), error, request_id)


def overloaded(error: Overloaded | CircuitOpen, request_id: RequestId | None = None) -> HttpRefusal:
    """Refuse what is too much, and say when to come back (RFC 9110, section 10.2.3)."""
    headers = [(b"retry-after", b"%d" % error.retry_after)]
    status = 429 if isinstance(error, Overloaded) and error.is_own else 503
    return HttpRefusal(status, error, headers, request_id)


async def respond_error(
    send: Send,
    status: int,
    error: ProtocolError,
    request_id: RequestId | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send an error as a whole response."""
    await respond(send, status, jsonrpc.encode_failure(request_id, error.error), headers)
