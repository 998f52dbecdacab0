"""A public key of another issuer, of any kind (RFC 7517, RFC 7518). Imports PyJWT."""

from __future__ import annotations

from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from onemcp.auth._jwks import TrustedKey

ALGORITHMS: Final = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
)
"""Asymmetric ones: whoever can verify must not be able to sign (RFC 8725, section 3.1)."""

MAX_KEY_ID_CHARACTERS: Final = 256
MIN_RSA_BITS: Final = 2048


def parse_jwk(jwk: object) -> TrustedKey | None:
    """Read a key of a set; return None where it can't verify signatures."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARACTERS:
        return None
    members = {name: value for name, value in jwk.items() if name != "d"}
    try:
        key = jwt.PyJWK(members)
        algorithm = key.Algorithm
        public = algorithm.prepare_key(key.key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    small = isinstance(public, RSAPublicKey) and public.key_size < MIN_RSA_BITS
    if key.algorithm_name not in ALGORITHMS or small:
        return None

    def verifies(signed: bytes, signature: bytes) -> bool:
        right: Any = algorithm.verify(signed, public, signature)
        return right is True

    return TrustedKey(key_id, key.algorithm_name, verifies)
