"""The signing keys (RFC 8037), and how they are shown to others (RFC 7517)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onemcp.state import to_base64url

MAX_KEYS: Final = 32

ANNOUNCED_SECONDS: Final = 30.0
"""How long a key is known before it signs: who else verifies with it has seen it by then."""


@attrs.frozen(eq=False)
class SigningKey:
    """One Ed25519 key pair.

    Attributes:
        ALGORITHM: What its signatures are called (RFC 8037, section 3.1).
        key_id: The `kid` that tokens name it by.
        created: When it was made, in seconds since the epoch.
        private: What signs.
        public: What verifies.
    """

    ALGORITHM: ClassVar = "EdDSA"
    key_id: str
    created: int
    private: Ed25519PrivateKey = attrs.field(repr=False)
    public: Ed25519PublicKey = attrs.field(init=False, repr=False)

    @public.default
    def _derive_public(self) -> Ed25519PublicKey:
        return self.private.public_key()

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Tell whether a signature was made with this key."""
        try:
            self.public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    @classmethod
    def generate(cls, created: int) -> SigningKey:
        """Make a key, named by its thumbprint (RFC 7638)."""
        private = Ed25519PrivateKey.generate()
        members = {"crv": "Ed25519", "kty": "OKP", "x": public_member(private)}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
        return cls(to_base64url(hashlib.sha256(canonical.encode()).digest()), created, private)


def _as_tuple(keys: Iterable[SigningKey]) -> tuple[SigningKey, ...]:
    return tuple(keys)


@attrs.frozen(eq=False)
class KeyStore:
    """The keys of this onemcp: the newest signs, once it has been known for a while; all verify.

    Attributes:
        keys: At least one key; no two with the same id.
    """

    keys: tuple[SigningKey, ...] = attrs.field(converter=_as_tuple)
    _by_id: Mapping[str, SigningKey] = attrs.field(init=False, repr=False)

    @keys.validator
    def _check_keys(self, _attribute: attrs.Attribute[Any], keys: tuple[SigningKey, ...]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"it must hold 1 to {MAX_KEYS} keys")
        if len({key.key_id for key in keys}) < len(keys):
            raise ValueError('two of its keys have the same "kid"')

    @_by_id.default
    def _index(self) -> Mapping[str, SigningKey]:
        return MappingProxyType({key.key_id: key for key in self.keys})

    @property
    def newest(self) -> SigningKey:
        """The key that was made last; of equals, the one that stands last."""
        return self.by_age[-1]

    @property
    def by_age(self) -> tuple[SigningKey, ...]:
        """The keys, the newest last."""
        return tuple(sorted(self.keys, key=lambda key: key.created))

    def signer(self, now: float) -> SigningKey:
        """Return the key that signs: the newest that has been announced for long enough.

        Args:
            now: The time, in seconds since the epoch.
        """
        known = [key for key in self.by_age if key.created + ANNOUNCED_SECONDS <= now]
        return known[-1] if known else self.by_age[0]

    def public_jwks(self) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [public_jwk(key) for key in self.keys]}

    def find(self, key_id: str) -> SigningKey | None:
        """Find the key that a token names."""
        return self._by_id.get(key_id)


def public_jwk(key: SigningKey) -> dict[str, Any]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": key.ALGORITHM,
        "use": "sig",
        "kid": key.key_id,
        "x": public_member(key.private),
    }


def public_member(private: Ed25519PrivateKey) -> str:
    return to_base64url(private.public_key().public_bytes_raw())
