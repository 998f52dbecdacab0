"""The little of ASGI that the frontend needs, typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import trio

from onemcp.multiplexer import View
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    LocalError,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.jsonrpc import Failure, RequestId, Response

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"

STREAM_HEADERS: Final = (
    (b"content-type", EVENT_STREAM),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
"""Headers of a server-sent event stream (2026-07-28, Streamable HTTP, Receiving Messages)."""

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


@attrs.frozen
class HttpRequest:
    """One HTTP request to an MCP endpoint, from somebody who may come in.

    Attributes:
        headers: Its headers.
        view: What the endpoint shows.
        principal: Who sent it.
        receive: The ASGI callable that gives the body and tells of the client's disconnect.
        send: The ASGI callable to answer with.
    """

    headers: Headers
    view: View
    principal: str
    receive: Receive
    send: Send


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
    for key, value in headers:
        if key == name:
            return value
    return None


def accepts(headers: Headers, kind: bytes) -> bool:
    """Tell whether the client takes answers of a media type; without ``Accept`` it takes all."""
    values = [value for key, value in headers if key == b"accept"]
    if not values:
        return True
    family = kind.partition(b"/")[0] + b"/*"
    offered = {
        part.partition(b";")[0].strip().lower() for value in values for part in value.split(b",")
    }
    return not offered.isdisjoint({kind, family, b"*/*"})


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Read a request's body.

    Raises:
        HttpRefusal: It has more than `limit` bytes.
        trio.BrokenResourceError: The client went away before it had sent all of it.
    """
    declared = header(headers, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise trio.BrokenResourceError("the client went away")
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


async def cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancel a scope once the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def start_stream(send: Send) -> None:
    """Begin a response of server-sent events."""
    headers = list(STREAM_HEADERS)
    await send({"type": "http.response.start", "status": 200, "headers": headers})


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
    fields = [(b"content-length", b"%d" % len(body)), *headers]
    if body:
        fields.append((b"content-type", kind))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def respond_error(
    send: Send,
    status: int,
    error: ProtocolError,
    request_id: RequestId | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send an error as a whole response."""
    await respond(send, status, jsonrpc.encode_failure(request_id, error.error), headers)
