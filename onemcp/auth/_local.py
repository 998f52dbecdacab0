"""Tokens for this gateway, signed by its own key: what mode ``local`` issues and accepts."""

from __future__ import annotations

import time
from typing import Final

from onemcp.auth._keys import KeyStore
from onemcp.auth._tokens import TokenVerifier, issue_token

ISSUER: Final = "onemcp"
"""The issuer of tokens that the gateway's own key signs."""

AUDIENCE: Final = "onemcp"
"""Whom such tokens are for."""


def new_token(keys: KeyStore, subject: str, lifetime: float) -> str:
    """Issue a token for this gateway, valid from now on.

    Args:
        keys: What it is signed with.
        subject: Whom it is for.
        lifetime: How long it is valid, in seconds.

    Raises:
        ValueError: The subject is empty or the lifetime not positive.
    """
    return issue_token(
        keys, subject=subject, lifetime=lifetime, audience=AUDIENCE, issuer=ISSUER, now=time.time()
    )


def local_verifier(keys: KeyStore) -> TokenVerifier:
    """Return what accepts the tokens of `new_token`."""
    return TokenVerifier(keys, AUDIENCE, ISSUER)
