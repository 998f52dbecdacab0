"""HTTP servers that are no MCP servers, each in its own way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

PAGE = b"<!doctype html><html><body><h1>Something went wrong</h1></body></html>"
MANNERS = {
    "redirects": b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/elsewhere\r\n"
    b"Content-Length: 0\r\n\r\n",
    "fails": b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/html\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE),
    "shows a page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE),
    "hangs": b"",
}


@asynccontextmanager
async def bad_http(manners: str) -> AsyncIterator[str]:
    """Serve every request alike, and yield the URL."""
    if manners == "refuses":
        with trio.socket.socket() as unused:
            await unused.bind(("127.0.0.1", 0))  # which nobody else can listen on meanwhile
            yield f"http://127.0.0.1:{unused.getsockname()[1]}/mcp"
        return
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    serve = partial(_answer, MANNERS[manners])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"
        nursery.cancel_scope.cancel()


async def _answer(answer: bytes, stream: trio.SocketStream) -> None:
    received = b""
    try:
        while chunk := await stream.receive_some():
            received += chunk
            # Requests of these tests fit in one segment, headers and body.
            if answer and b"\r\n\r\n" in received:
                received = b""
                await stream.send_all(answer)
    except trio.BrokenResourceError:
        return
