"""Web pages as clients: what a browser must be told before it lets a page read an answer.

Implements the server's part of the CORS protocol (Fetch standard, section 3.3). Which origins may
call at all is for :class:`onemcp.auth.Gate` to say; the pages of those may send what they like.
"""

from __future__ import annotations

from typing import Final

from onemcp.protocol import headers as mcp_headers
from onemcp.protocol.httpheaders import Headers

from .asgi import header

METHODS: Final = b"POST, GET, DELETE"
EXPOSED: Final = b"retry-after, www-authenticate, " + mcp_headers.SESSION_ID
"""Headers of answers that pages need and browsers would keep from them."""

MAX_AGE: Final = 600
"""How long a browser remembers what a preflight has told it, in seconds."""


def is_preflight(method: str, headers: Headers) -> bool:
    """Tell whether a browser asks whether a page may send a request."""
    return (
        method == "OPTIONS"
        and header(headers, b"access-control-request-method") is not None
        and header(headers, b"origin") is not None
    )


def response_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return what lets a page of an allowed origin read the answer; nothing for other clients."""
    origin = header(headers, b"origin")
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED),
        (b"vary", b"origin"),
    ]


def preflight_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return what lets a page of an allowed origin send its request."""
    fields = [
        (b"access-control-allow-methods", METHODS),
        (b"access-control-max-age", b"%d" % MAX_AGE),
    ]
    wanted = header(headers, b"access-control-request-headers")
    if wanted is not None:
        fields.append((b"access-control-allow-headers", wanted))
    return fields
