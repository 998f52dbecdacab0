"""Requests of the modern era: each one complete in itself.

Implements 2026-07-28, Streamable HTTP. The client's disconnect cancels its request, through to the
backend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

from onemcp.backend import Caller, Incoming
from onemcp.multiplexer import Reply
from onemcp.protocol import headers as mcp_headers
from onemcp.protocol import jsonrpc, meta, sse
from onemcp.protocol.errors import InvalidRequest, ProtocolError, UnsupportedVersion
from onemcp.protocol.fields import split
from onemcp.protocol.headers import Repeated
from onemcp.protocol.jsonrpc import Failure, Message, Notification, Request, Response
from onemcp.protocol.meta import RequestMeta
from onemcp.protocol.methods import LISTEN, TOOLS_CALL
from onemcp.protocol.revisions import MODERN_REVISIONS, REVISIONS

from .asgi import (
    HttpRefusal,
    Send,
    Wire,
    respond,
    respond_refusal,
    send_part,
    start_stream,
    status_of,
)
from .request import HttpRequest
from .resumable import KEEP_ALIVE, receive_within


async def serve_modern(message: Message, http: HttpRequest) -> None:
    """Serve one POST of the modern era.

    Raises:
        HttpRefusal: It carries something that a client must not send.
        trio.BrokenResourceError: The client has gone.
    """
    if isinstance(message, Notification):
        # No notification is defined for clients on this transport; those sent are accepted.
        await respond(http.send, 202)
        return
    if not isinstance(message, Request):
        raise HttpRefusal(400, InvalidRequest("a client sends no responses in this revision"))
    try:
        caller = read_caller(message, http)
    except ProtocolError as error:
        await respond_refusal(http.send, error, message.id)
        return
    await http.wire.while_connected(_answer, message, caller, http)


def read_caller(request: Request, http: HttpRequest) -> Caller:
    """Check a request's headers against its body, and read what it says of its sender.

    Raises:
        ProtocolError: What is wrong with it (Server Validation).
    """
    params = split(request.params)
    about = meta.read_request_meta(meta.meta_of(params))
    repeated = Repeated.of(request.method, params, about.revision)
    http.arrival.check_repeated(repeated)
    caller = caller_of(about, http.principal, http.grant, mirrors=True)
    if request.method == TOOLS_CALL:
        mirrored = http.view.mirrored(repeated.name or "")
        mcp_headers.check_parameters(http.headers, mirrored, params)
    return caller


def caller_of(
    about: RequestMeta, principal: str, grant: Hashable = None, *, mirrors: bool = False
) -> Caller:
    """Return the sender of a modern request, as backends need to know it.

    Args:
        about: What the request says of its sender.
        principal: Who has authenticated.
        grant: What its rights come from.
        mirrors: Whether it repeats parameters in HTTP headers.

    Raises:
        UnsupportedVersion: The request is of a revision that onemcp doesn't speak as a modern one.
    """
    if about.revision not in MODERN_REVISIONS:
        raise UnsupportedVersion(
            "Unsupported protocol version",
            {"supported": list(reversed(REVISIONS)), "requested": about.revision},
        )
    return Caller(
        owner=object(),  # nothing ties this request to any other
        principal=principal,
        revision=about.revision,
        capabilities=about.capabilities,
        client_info=about.client_info,
        log_level=about.log_level,
        mirrors=mirrors,
        grant=grant,
    )


async def _answer(request: Request, caller: Caller, http: HttpRequest) -> None:
    try:
        reply = await http.view.dispatch(request, caller)
    except ProtocolError as error:
        await respond_refusal(http.send, error, request.id)
        return
    try:
        first = await _next(reply, http.wire)
        if isinstance(first, Response | Failure):
            await http.wire.respond(status_of(first), jsonrpc.encode(first))
        elif request.method != LISTEN and not http.bounds.streams.has_room(http.principal):
            # The call has begun: refusing it now would leave its outcome unknown.
            last = await _last(reply)
            await respond(http.send, status_of(last), jsonrpc.encode(last))
        else:
            with http.streaming(request.id, is_new=request.method == LISTEN):
                await _stream(first, reply, http.wire)
    finally:
        reply.close()


async def _next(reply: Reply, wire: Wire) -> Incoming | None:
    """Return the next message, or None after a silence that wants a sign of life."""
    with wire.new_scope() as scope:
        return await receive_within(scope, KEEP_ALIVE, reply)
    return None


async def _last(reply: Reply) -> Response | Failure:
    """Pass over everything that comes before the answer."""
    while True:
        message = await reply.receive()
        if isinstance(message, Response | Failure):
            return message


async def _stream(message: Incoming | None, reply: Reply, wire: Wire) -> None:
    begin: Callable[[Send, bytes], Awaitable[None]] = start_stream
    while not isinstance(message, Response | Failure):
        await begin(wire.send, sse.KEEP_ALIVE if message is None else _event(message))
        message, begin = await _next(reply, wire), send_part
    await send_part(wire.send, _event(message), more=False)


def _event(message: Message) -> bytes:
    """Return a message as an event."""
    return sse.encode_event(jsonrpc.encode(message))
