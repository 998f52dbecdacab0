"""JSON Web Key Sets, as far as every kind of key is written alike (RFC 7517)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode


def listed_keys(data: bytes) -> list[object]:
    """Return what a key set lists, unchecked (RFC 7517, section 5).

    Raises:
        ValueError: It is no key set; the message says why, and nothing of the content.
    """
    try:
        jwks = json.loads(data)
    except (ValueError, RecursionError):
        # `from None`: a JSON error carries the document, which may be secret.
        raise ValueError("it is not JSON") from None
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list):
        raise ValueError('it has no list of "keys"')  # noqa: TRY004  (one kind of error for a file)
    return keys


def to_base64url(data: bytes) -> str:
    """Write bytes as members of keys are written: base64url without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: object) -> bytes:
    """Read what `to_base64url` wrote.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(text, str):
        raise ValueError("not a string")  # noqa: TRY004  (likewise)
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
