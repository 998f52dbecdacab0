"""The body of a POST: one message, or a batch of several."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from onemcp.admission import refusal
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import InvalidRequest, LocalError
from onemcp.protocol.jsonrpc import Message, Notification, Request
from onemcp.protocol.methods import CANCELLED

from .asgi import HttpRefusal, overloaded, read_body, too_large
from .request import HttpRequest

MAX_BATCH: Final = 100
"""How many messages one batch may hold."""


def check_type(http: HttpRequest) -> None:
    """Make sure that a body says that it is JSON.

    Raises:
        HttpRefusal: It doesn't.
    """
    if not http.arrival.is_json:
        raise HttpRefusal(415, InvalidRequest("POST needs Content-Type: application/json"))


async def read_content(http: HttpRequest) -> Message | list[Raw]:
    """Read the body of a POST.

    Returns:
        The message, or the undecoded messages of a batch.

    Raises:
        HttpRefusal: The body is too large, too slow, or no JSON-RPC; or it carries notifications,
            and the client sends too many.
        trio.BrokenResourceError: The client went away before it had sent all of it.
    """
    body, limit = http.wire.whole_body, http.bounds.body_bytes
    if body is None:
        body = await read_body(http.wire.head, http.wire.receive, limit)
    elif len(body) > limit:
        raise too_large(limit)
    try:
        content = jsonrpc.decode_batch(body, MAX_BATCH) or jsonrpc.decode(body)
    except LocalError as error:
        raise HttpRefusal(400, error, (), jsonrpc.peek_id(body)) from error
    if not isinstance(content, Request):
        _check_rate(content, http)
    return content


def _check_rate(content: Message | list[Raw], http: HttpRequest) -> None:
    """Make sure that a client doesn't send too many notifications.

    Cancellations don't count: they end what is under way, of which there are only so many.

    Raises:
        HttpRefusal: It does; nothing of a batch is served then.
    """
    messages = content if isinstance(content, list) else [content]
    count = sum(_is_limited(each) for each in messages)
    rate = http.bounds.notifications
    if count and not rate.take(http.principal, count):
        said = f"you send more than {rate.per_second:g} notifications a second"
        raise overloaded(refusal(said, "limits.notificationsPerPrincipal", is_own=True))


def _is_limited(message: Message | Raw) -> bool:
    if isinstance(message, Raw):
        try:
            message = jsonrpc.decode(message)
        except LocalError:
            return False  # which is answered later, as what it is
    return isinstance(message, Notification) and message.method != CANCELLED
