"""Access tokens of this gateway's own: signed JSON Web Tokens (RFC 9068)."""

from __future__ import annotations

import math
import time
from typing import Final

from onemcp.auth._ids import new_id
from onemcp.auth._issuers import AUDIENCE, SCOPE, TOKEN_TYPE
from onemcp.auth._jws import sign
from onemcp.auth._keys import KeyStore
from onemcp.auth._principal import ISSUER
from onemcp.auth._verifier import MAX_TOKEN_BYTES

LOCAL_CLIENT_ID: Final = "onemcp"


def issue_token(
    keys: KeyStore,
    *,
    subject: str,
    lifetime: float,
    audience: str,
    issuer: str,
    now: float,
    scope: str = "mcp",
    client_id: str = LOCAL_CLIENT_ID,
    grant_id: str = "",
) -> str:
    """Sign an access token (RFC 9068, section 2).

    Args:
        keys: One of them signs.
        subject: Whom it is for.
        lifetime: How long it is valid, in seconds; rounded up to whole ones.
        audience: The resource it is good for.
        issuer: Who issues it.
        now: The time, in seconds since the epoch.
        scope: What it is good for, in words separated by single spaces.
        client_id: The program it is for.
        grant_id: The consent that it comes from, if it comes from one.

    Returns:
        The token, a secret.

    Raises:
        ValueError: An argument that would make a token nobody accepts.
    """
    if not (subject and client_id):
        raise ValueError("a token needs a subject and a client")
    if not (math.isfinite(lifetime) and lifetime > 0):
        raise ValueError("the lifetime of a token must be positive")
    if not SCOPE.fullmatch(scope):
        raise ValueError("a scope is made of words separated by single spaces")
    issued_at = int(now)
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": client_id,
        "scope": scope,
        "jti": new_id(),
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + math.ceil(lifetime),
    }
    if grant_id:
        claims["grant"] = grant_id
    token = sign(claims, keys.signer(now), typ=TOKEN_TYPE)
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"the token would be longer than {MAX_TOKEN_BYTES} bytes")
    return token


def new_token(keys: KeyStore, subject: str, lifetime: float, scope: str = "mcp") -> str:
    """Issue a token for everything in this gateway, valid from now on.

    Args:
        keys: What it is signed with.
        subject: Whom it is for.
        lifetime: How long it is valid, in seconds.
        scope: What it is good for, in words separated by single spaces.

    Raises:
        ValueError: The subject is empty, the lifetime not positive, or the scope none.
    """
    return issue_token(
        keys,
        subject=subject,
        lifetime=lifetime,
        audience=AUDIENCE,
        issuer=ISSUER,
        now=time.time(),
        scope=scope,
    )
