"""Who is calling."""

import json
import math
from functools import cached_property
from typing import Final

import attrs

ISSUER: Final = "onemcp"
"""The issuer of tokens that an operator makes with `onemcp token`."""


@attrs.frozen(kw_only=True, cache_hash=True)
class Principal:
    """Who is calling, as a verified token tells it.

    Attributes:
        subject: Whom the token was issued to.
        scopes: What the token is good for.
        client_id: The program that asked for the token.
        token_id: The token's `jti`; it identifies the token and opens nothing.
        expires_at: When the token expires, in seconds since the epoch.
        issued_at: When it was issued, in seconds since the epoch; 0 where that is not known.
        issuer: Who issued it.
        audiences: What it was issued for, in canonical form.
        grant_id: The consent that it came from, if it came from one.
    """

    subject: str
    scopes: frozenset[str]
    client_id: str
    token_id: str
    expires_at: float
    issued_at: float = 0
    issuer: str = ISSUER
    audiences: frozenset[str] = frozenset()
    grant_id: str = ""

    @cached_property
    def identity(self) -> str:
        """What sessions and parked calls belong to: the subject, as this issuer and client say."""
        if self.issuer == ISSUER:
            return self.subject
        return json.dumps([self.issuer, self.client_id, self.subject])

    @cached_property
    def is_owner(self) -> bool:
        """Whether it is a user of this machine whom the kernel vouches for."""
        return self.issuer == OWNER_ISSUER


OWNER_ISSUER: Final = "onemcp:socket"
"""Who says who is at the control socket: the kernel. No token can name it as its issuer."""


def owner(uid: int) -> Principal:
    """Return a user of this machine who may do everything."""
    return Principal(
        subject=f"uid {uid}",
        scopes=frozenset({"mcp", "admin"}),
        client_id="onemcp",
        token_id="",
        expires_at=math.inf,
        issuer=OWNER_ISSUER,
    )


ANONYMOUS: Final = Principal(
    subject="anonymous",
    scopes=frozenset({"mcp"}),
    client_id="anonymous",
    token_id="",
    expires_at=math.inf,
)
"""Everybody, where nobody is asked for a token."""
