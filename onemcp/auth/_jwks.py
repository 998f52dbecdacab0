"""Keys that verify the tokens of others: a JSON Web Key Set of public keys (RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import attrs
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from onemcp.state import listed_keys

ALGORITHMS: Final = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
)
"""Asymmetric ones: whoever can verify must not be able to sign (RFC 8725, section 3.1)."""

MAX_JWKS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
MAX_KEY_ID_CHARACTERS: Final = 256
MIN_RSA_BITS: Final = 2048


@attrs.frozen(eq=False)
class TrustedKey:
    """A public key, and the only algorithm that it is used with.

    Attributes:
        key_id: The `kid` that tokens name it by.
        algorithm: The `alg` that those tokens must say.
        public: What verifies.
    """

    key_id: str
    algorithm: str
    public: Any = attrs.field(repr=False)


class Keys(Protocol):
    """Where the keys of an issuer are looked up."""

    def find(self, key_id: str) -> TrustedKey | None:
        """Find the key that a token names."""


class KeySet:
    """Keys that may be replaced while they are in use."""

    def __init__(
        self, keys: Iterable[TrustedKey] = (), on_miss: Callable[[], object] = lambda: None
    ) -> None:
        """Hold some keys.

        Args:
            keys: The keys.
            on_miss: Called when a key is asked for that isn't among them.
        """
        self._on_miss = on_miss
        self.replace(keys)

    def __repr__(self) -> str:
        return f"<KeySet of {len(self._by_id)}>"

    def find(self, key_id: str) -> TrustedKey | None:
        """Find the key that a token names."""
        key = self._by_id.get(key_id)
        if key is None:
            self._on_miss()
        return key

    def replace(self, keys: Iterable[TrustedKey]) -> None:
        """Put other keys in the place of these."""
        self._by_id: Mapping[str, TrustedKey] = MappingProxyType({key.key_id: key for key in keys})


def parse_jwks(data: bytes) -> tuple[TrustedKey, ...]:
    """Read the keys of a set that can verify signatures; others are passed over.

    Raises:
        ValueError: It is no key set, or none of its keys is of use; the message says so.
    """
    if len(data) > MAX_JWKS_BYTES:
        raise ValueError(f"it is larger than {MAX_JWKS_BYTES} bytes")
    listed = listed_keys(data)
    if len(listed) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    keys = {key.key_id: key for key in map(_parse_key, listed) if key is not None}
    if not keys:
        raise ValueError('none of its keys has a "kid" and can verify signatures')
    return tuple(keys.values())


def _parse_key(jwk: object) -> TrustedKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return None
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARACTERS:
        return None
    public = {name: value for name, value in jwk.items() if name != "d"}
    try:
        key = jwt.PyJWK(public)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    small = isinstance(key.key, RSAPublicKey) and key.key.key_size < MIN_RSA_BITS
    if key.algorithm_name not in ALGORITHMS or small:
        return None
    return TrustedKey(key_id, key.algorithm_name, key.key)
