"""One request to one of a few addresses that have been checked."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final

import httpx
import trio

from ._addresses import Address
from ._answer import Answer
from ._errors import AnswerTooLarge, Unreachable

CLOSE_PATIENCE: Final = 2.0
"""How long a connection may take to close, in seconds."""

_TIMEOUT: Final = httpx.Timeout(None, connect=10.0).as_dict()


async def fetch(
    request: httpx.Request,
    addresses: Sequence[Address],
    context: ssl.SSLContext,
    *,
    max_body: int,
) -> Answer:
    """Send a request over a connection of its own, to the first address that takes one.

    The caller bounds how long that takes.

    Args:
        request: The request; its `Host` and what its certificate must say are those of its URL.
        addresses: Where to, in order.
        context: Verifies the certificate.
        max_body: How large the answer may be, in bytes.

    Raises:
        Unreachable: No address takes the connection, or it broke.
        AnswerTooLarge: The answer is larger than that.
    """
    transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    try:
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await _ask(transport, _addressed(request, address), max_body)
        return await _ask(transport, _addressed(request, addresses[-1]), max_body)
    except httpx.HTTPError:
        raise Unreachable("can't be reached") from None
    finally:
        with trio.move_on_after(CLOSE_PATIENCE, shield=True):
            await transport.aclose()


def _addressed(request: httpx.Request, address: Address) -> httpx.Request:
    """Return a request that goes to an address, whatever its host resolves to by now."""
    headers = [pair for pair in request.headers.raw if pair[0].lower() != b"host"]
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=[(b"Host", request.url.netloc), *headers],
        content=request.content,
        extensions={"timeout": _TIMEOUT, "sni_hostname": request.url.host},
    )


async def _ask(
    transport: httpx.AsyncHTTPTransport, request: httpx.Request, max_body: int
) -> Answer:
    response = await transport.handle_async_request(request)
    chunks = aiter(response.stream)  # type: ignore[arg-type]  # httpx types both kinds
    try:
        body = await _body(response, chunks, max_body)
    finally:
        with trio.move_on_after(CLOSE_PATIENCE, shield=True):
            await _end(chunks)
            await response.aclose()
    return Answer(response.status_code, response.headers, body)


async def _body(response: httpx.Response, chunks: AsyncIterator[bytes], max_body: int) -> bytes:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return b""
    parts, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_body:
            raise AnswerTooLarge(f"answers with more than {max_body} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def _end(chunks: AsyncIterator[bytes]) -> None:
    """End a body that was given up: httpx leaves generators behind, which a cancelled read ends."""
    with trio.CancelScope() as scope, contextlib.suppress(httpx.HTTPError):
        scope.cancel()
        async for _ in chunks:
            pass
