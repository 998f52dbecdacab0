"""Keys that verify the tokens of others: a JSON Web Key Set of public keys (RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import attrs

from onemcp.state import listed_keys

MAX_JWKS_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100


@attrs.frozen(eq=False)
class TrustedKey:
    """A public key, and the only algorithm that it is used with.

    Attributes:
        key_id: The `kid` that tokens name it by.
        algorithm: The `alg` that those tokens must say.
        verifies: Tells, of what is signed and a signature, whether it has made that.
    """

    key_id: str
    algorithm: str
    verifies: Callable[[bytes, bytes], bool] = attrs.field(repr=False)


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
    from onemcp.auth._jwk import parse_jwk  # noqa: PLC0415 - PyJWT, with keys of every kind

    if len(data) > MAX_JWKS_BYTES:
        raise ValueError(f"it is larger than {MAX_JWKS_BYTES} bytes")
    listed = listed_keys(data)
    if len(listed) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    keys = {key.key_id: key for key in map(parse_jwk, listed) if key is not None}
    if not keys:
        raise ValueError('none of its keys has a "kid" and can verify signatures')
    return tuple(keys.values())
