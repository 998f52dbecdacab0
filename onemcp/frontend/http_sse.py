"""Clients of the oldest transport, HTTP+SSE: a stream for what they get, a POST for what they say.

Implements 2024-11-05, Transports, HTTP with SSE. The stream is the session: it begins with the
address that the client is to send its messages to, and its end is the end of the session and of
everything in it. There is nothing to come back to.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import attrs
import trio

from onemcp.protocol import sse
from onemcp.protocol.errors import InvalidRequest

from .asgi import (
    EVENT_STREAM,
    HttpRefusal,
    Send,
    accepts,
    respond,
    send_part,
    start_stream,
)
from .content import check_type, read_content
from .conversation import Conversation
from .events import RequestFailed
from .request import MESSAGES, STREAMS, HttpRequest
from .resumable import KEEP_ALIVE
from .session import Sessions
from .streams import Reader

PATIENCE: Final = 60.0
"""How long a stream is kept open for a client that doesn't send ``initialize``, in seconds."""

_ONLY_GET: Final = ((b"allow", b"GET"),)
_ONLY_POST: Final = ((b"allow", b"POST"),)
_MAX_FIELDS: Final = 8


@attrs.frozen
class _Door:
    """One open stream.

    Attributes:
        id: What the client names it by.
        conversation: What is said.
        opened: When it was opened, by Trio's clock.
    """

    id: str = attrs.field(repr=False)
    conversation: Conversation
    opened: float = attrs.field(factory=trio.current_time)


class HttpSse:
    """Serves ``GET /sse`` and ``POST /messages``."""

    def __init__(self, sessions: Sessions, on_event: Callable[[RequestFailed], object]) -> None:
        """Open sessions in `sessions`."""
        self._sessions = sessions
        self._on_event = on_event
        self._doors: dict[str, _Door] = {}

    def __len__(self) -> int:
        return len(self._doors)

    async def open(self, method: str, http: HttpRequest) -> None:
        """Serve a request for a stream, until the client goes away or the session ends.

        Raises:
            HttpRefusal: It isn't accepted.
            trio.BrokenResourceError: The client has gone.
        """
        if method != "GET":
            raise HttpRefusal(405, InvalidRequest("open a stream here with GET"), _ONLY_GET)
        if not accepts(http.headers, EVENT_STREAM):
            raise HttpRefusal(406, InvalidRequest("GET needs Accept: text/event-stream"))
        conversation = Conversation(self._sessions, http.view, http.principal, self._on_event)
        conversation.look_at(http.view, http.grant)
        door = _Door(secrets.token_urlsafe(24), conversation)
        reader = conversation.outbox.read()
        self._doors[door.id] = door
        try:
            with http.streaming(is_new=True):
                await http.wire.while_connected(_stream, door, reader, http.send)
        finally:
            del self._doors[door.id]
            reader.close()
            conversation.close()

    async def post(self, method: str, query: bytes, http: HttpRequest) -> None:
        """Take a message; what comes of it goes to the stream.

        Args:
            method: The HTTP method.
            query: The query string, which names the stream.
            http: The request; its view tells what its sender may see.

        Raises:
            HttpRefusal: It isn't accepted.
            InsufficientScope: Its sender lacks a scope.
            trio.BrokenResourceError: The client went away.
        """
        if method != "POST":
            raise HttpRefusal(405, InvalidRequest("send messages here with POST"), _ONLY_POST)
        conversation = self._find(query, http.principal)
        check_type(http)
        content = await read_content(http)
        view = http.view.multiplexer.view(
            conversation.view.name, http.view.selection, http.view.user
        )
        if view is None:
            raise _unknown_session()
        http.check_scope(content, view)
        conversation.look_at(view, http.grant)
        try:
            if isinstance(content, list):
                await conversation.take_batch(content)
            else:
                await conversation.take(content)
        except InvalidRequest as error:
            request_id = None if isinstance(content, list) else getattr(content, "id", None)
            raise HttpRefusal(400, error, (), request_id) from error
        await respond(http.send, 202)

    def _find(self, query: bytes, principal: str) -> Conversation:
        try:
            fields = parse_qs(query.decode("latin-1"), max_num_fields=_MAX_FIELDS)
        except ValueError:
            fields = {}
        named = fields.get("session", [])
        door = self._doors.get(named[0]) if len(named) == 1 else None
        if door is None or door.conversation.principal != principal:
            raise _unknown_session()
        return door.conversation


def _unknown_session() -> HttpRefusal:
    error = InvalidRequest(f"Session not found: open a stream with GET {STREAMS}")
    return HttpRefusal(404, error)


async def _stream(door: _Door, reader: Reader, send: Send) -> None:
    address = f"{MESSAGES}?session={door.id}".encode()
    await start_stream(send, sse.encode_event(address, event="endpoint"))
    while True:
        data = sse.KEEP_ALIVE
        with trio.move_on_after(KEEP_ALIVE):
            event = await reader.receive()
            if event is None:
                break
            data = sse.encode_event(event.data, event="message")
        await send_part(send, data)
        if not door.conversation.has_begun and trio.current_time() >= door.opened + PATIENCE:
            break
    await send_part(send, b"", more=False)
