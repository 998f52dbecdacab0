"""Pages for people: handed to whoever makes them, with a body that is bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec
import trio

from onemcp.backend.places import (
    CALLBACK,
    CLIENT_DOCUMENT,
    CONNECT,
    callback_at,
    client_document,
    document_at,
)
from onemcp.protocol.errors import InvalidRequest

from .asgi import HttpRefusal, Receive, Scope, Send, Wire, read_body, respond

MAX_PAGE_BYTES: Final = 32 * 1024
"""How much a form that somebody fills in may hold."""

Pages: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application that serves pages to people."""

_DOCUMENT_HEADERS: Final = (
    (b"cache-control", b"max-age=3600"),
    (b"x-content-type-options", b"nosniff"),
)


async def show(pages: Pages, scope: Scope, wire: Wire) -> None:
    """Serve a page.

    Raises:
        HttpRefusal: The body is too large.
        trio.BrokenResourceError: The client has gone.
    """
    wire.headers = ()  # pages are for people, not for the pages of others
    body = await read_body(scope["headers"], wire.receive, MAX_PAGE_BYTES)
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> MutableMapping[str, Any]:
        # Nobody waits for the client to go: a page is done in no time.
        return next(parts, None) or await trio.sleep_forever()

    await pages(scope, receive, wire.send)


async def serve_upstream(pages: Pages, public_url: str | None, scope: Scope, wire: Wire) -> bool:
    """Serve what logins at backends need of the gateway, if a request is about that.

    Args:
        pages: The pages.
        public_url: The origin that everybody knows the gateway by, or None.
        scope: The request, whose Host and Origin have been checked.
        wire: The client.

    Returns:
        Whether it is.
    """
    if scope["path"] == CALLBACK or scope["path"].startswith(CONNECT):
        await show(pages, scope, wire)
        return True
    if scope["path"] != CLIENT_DOCUMENT:
        return False
    url = document_at(public_url)
    if url is None or public_url is None:
        raise HttpRefusal(404, InvalidRequest("onemcp has no public https:// address"))
    if scope["method"] != "GET":
        allow = ((b"allow", b"GET"),)
        raise HttpRefusal(405, InvalidRequest("this document can only be read"), allow)
    document = client_document(url, callback_at(public_url))
    await respond(wire.send, 200, msgspec.json.encode(document), _DOCUMENT_HEADERS)
    return True
