"""Who is calling."""

import math
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Principal:
    """Who is calling, as a verified token tells it.

    Attributes:
        subject: Whom the token was issued to.
        scopes: What the token is good for.
        client_id: The program that asked for the token.
        token_id: The token's `jti`; it identifies the token and opens nothing.
        expires_at: When the token expires, in seconds since the epoch.
    """

    subject: str
    scopes: frozenset[str]
    client_id: str
    token_id: str
    expires_at: float


ANONYMOUS: Final = Principal(
    subject="anonymous",
    scopes=frozenset({"mcp"}),
    client_id="anonymous",
    token_id="",
    expires_at=math.inf,
)
"""Everybody, where nobody is asked for a token."""
