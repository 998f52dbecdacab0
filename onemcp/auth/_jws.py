"""JSON Web Signatures in their compact form (RFC 7515, section 7.1).

What makes and checks a signature is with the keys. For those of onemcp's own that is Ed25519 and
nothing else. PyJWT is for the keys of others, and imported for the first of those: with it come
X.509 and keys of every kind, which were a tenth of what it takes to start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from onemcp.auth._keys import SigningKey
from onemcp.state import from_base64url, to_base64url


class Jws(NamedTuple):
    """A signed document, taken apart; nothing of it has been checked.

    Attributes:
        header: What it says of its signature.
        payload: The document.
        signed: The bytes that are signed.
        signature: The signature of those.
    """

    header: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


def take_apart(token: bytes) -> Jws:
    """Read a signed document.

    Raises:
        ValueError: It is none.
    """
    signed, _, signature = token.rpartition(b".")
    header, _, payload = signed.partition(b".")
    try:
        members = json.loads(_decoded(header))
    except RecursionError:
        raise ValueError("the header is too deep") from None
    if not isinstance(members, dict):
        raise ValueError("the header is not an object")  # noqa: TRY004  (a value from outside)
    return Jws(members, _decoded(payload), signed, _decoded(signature))


def sign(claims: Mapping[str, Any], key: SigningKey, **header: str) -> str:
    """Return claims, signed.

    Args:
        claims: What is signed.
        key: What signs.
        header: What is said of the signature besides the key and the algorithm.
    """
    members = {"alg": key.ALGORITHM, "kid": key.key_id, **header}
    signed = b".".join(map(_encoded, (members, claims)))
    return f"{signed.decode()}.{to_base64url(key.private.sign(signed))}"


def _encoded(members: Mapping[str, Any]) -> bytes:
    return to_base64url(json.dumps(members, separators=(",", ":")).encode()).encode()


def _decoded(part: bytes) -> bytes:
    """Read base64url in its only form: without padding, and with no bit to spare."""
    text = part.decode("ascii")
    data = from_base64url(text)
    if to_base64url(data) != text:
        raise ValueError("not base64url")
    return data
