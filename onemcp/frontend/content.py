"""The body of a POST: one message, or a batch of several."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import InvalidRequest, LocalError
from onemcp.protocol.jsonrpc import Message

from .asgi import JSON, HttpRefusal, HttpRequest, header, read_body, too_large

MAX_BATCH: Final = 100
"""How many messages one batch may hold."""


def check_type(http: HttpRequest) -> None:
    """Make sure that a body says that it is JSON.

    Raises:
        HttpRefusal: It doesn't.
    """
    kind = header(http.headers, b"content-type") or b""
    if kind.partition(b";")[0].strip().lower() != JSON:
        raise HttpRefusal(415, InvalidRequest("POST needs Content-Type: application/json"))


async def read_content(http: HttpRequest, limit: int) -> Message | list[Raw]:
    """Read the body of a POST.

    Args:
        http: The POST.
        limit: The largest body to accept, in bytes.

    Returns:
        The message, or the undecoded messages of a batch.

    Raises:
        HttpRefusal: The body is too large, too slow, or no JSON-RPC.
        trio.BrokenResourceError: The client went away before it had sent all of it.
    """
    body = http.wire.whole_body
    if body is None:
        body = await read_body(http.headers, http.wire.receive, limit)
    elif len(body) > limit:
        raise too_large(limit)
    try:
        return jsonrpc.decode_batch(body, MAX_BATCH) or jsonrpc.decode(body)
    except LocalError as error:
        raise HttpRefusal(400, error, (), jsonrpc.peek_id(body)) from error
