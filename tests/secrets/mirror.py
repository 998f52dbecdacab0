"""Remote servers that repeat what they were sent, as debug pages and proxies do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias

import trio

Answer: TypeAlias = Callable[[str, bytes], bytes]
"""What is answered at an origin to a request, undecoded."""


def _answer(status: str, body: str, kind: str = "text/plain", *headers: str) -> bytes:
    head = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    return ("\r\n".join((*head, "Connection: close", *headers, "", body))).encode()


def _error(_: str, request: bytes) -> bytes:
    said = {"code": -32603, "message": f"cannot handle {request.decode()}"}
    return _answer(
        "400 Bad Request",
        json.dumps({"jsonrpc": "2.0", "id": None, "error": said}),
        "application/json",
    )


def _target(request: bytes) -> str:
    return request.split()[1].decode()


def _moved(origin: str, request: bytes) -> bytes:
    port = int(origin.rpartition(":")[2])
    elsewhere = f"http://localhost:{port}{_target(request)}"
    return _answer("307 Temporary Redirect", "", "text/plain", f"Location: {elsewhere}")


def _guarded(origin: str, request: bytes) -> bytes:
    """Want a token from an authorization server that repeats the client's secret."""
    path, said = _target(request), request.decode()
    if path.startswith("/.well-known/oauth-protected-resource"):
        resource = f"{origin}/guarded"
        document = {"resource": resource, "authorization_servers": [origin]}
    elif path.startswith("/.well-known/"):
        endpoints = {"token_endpoint": f"{origin}/token", "issuer": origin}
        methods = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
        document = endpoints | methods
    elif path == "/token":
        document = {"error": "invalid_scope", "error_description": said}
        return _answer("400 Bad Request", json.dumps(document), "application/json")
    else:
        return _answer("401 Unauthorized", said, "text/plain", "WWW-Authenticate: Bearer")
    return _answer("200 OK", json.dumps(document), "application/json")


MANNERS: Final[dict[str, Answer]] = {
    "fails": lambda _, request: _answer("500 Internal Server Error", request.decode()),
    "denies": lambda _, request: _answer("401 Unauthorized", request.decode()),
    "missing": lambda _, request: _answer("404 Not Found", f"Cannot POST {_target(request)}"),
    "babbles": lambda _, request: _answer("200 OK", request.decode()),
    "errs": _error,
    "moved": _moved,
    "guarded": _guarded,
}
"""What such servers do, by the first part of the path."""


@asynccontextmanager
async def mirror(manner: str, seen: list[bytes]) -> AsyncIterator[str]:
    """Serve on a free port, and yield `HOST:PORT`.

    Args:
        manner: What it does; see `MANNERS`.
        seen: Takes the requests.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    serve = partial(_serve, MANNERS[manner], f"http://{address}", seen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        yield address
        nursery.cancel_scope.cancel()


async def _serve(answer: Answer, origin: str, seen: list[bytes], stream: trio.SocketStream) -> None:
    request = b""
    try:
        while b"\r\n\r\n" not in request:
            request += (chunk := await stream.receive_some())
            if not chunk:
                return
        seen.append(request)
        await stream.send_all(answer(origin, request))
        await stream.aclose()
    except trio.BrokenResourceError:
        return
