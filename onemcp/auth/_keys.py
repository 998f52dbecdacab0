"""The signing keys: a JSON Web Key Set in the state directory (RFC 7517, RFC 8037)."""

import base64
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onemcp.state import StateError, read_or_create

FILE_NAME = "keys.json"
MAX_KEYS = 32
MAX_KEY_ID_CHARACTERS = 128


@attrs.frozen(eq=False)
class SigningKey:
    """One Ed25519 key pair.

    Attributes:
        key_id: The `kid` that tokens name it by.
        created: When it was made, in seconds since the epoch.
        private: What signs.
        public: What verifies.
    """

    key_id: str
    created: int
    private: Ed25519PrivateKey = attrs.field(repr=False)
    public: Ed25519PublicKey = attrs.field(init=False, repr=False)

    @public.default
    def _derive_public(self) -> Ed25519PublicKey:
        return self.private.public_key()

    @classmethod
    def generate(cls, created: int) -> "SigningKey":
        """Make a key, named by its thumbprint (RFC 7638)."""
        private = Ed25519PrivateKey.generate()
        members = {"crv": "Ed25519", "kty": "OKP", "x": _public_member(private)}
        canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
        return cls(_encode(hashlib.sha256(canonical.encode()).digest()), created, private)


def _as_tuple(keys: Iterable[SigningKey]) -> tuple[SigningKey, ...]:
    return tuple(keys)


@attrs.frozen(eq=False)
class KeyStore:
    """The keys of this onemcp: the newest signs, all verify.

    Attributes:
        keys: At least one key; no two with the same id.
    """

    keys: tuple[SigningKey, ...] = attrs.field(converter=_as_tuple)
    _by_id: Mapping[str, SigningKey] = attrs.field(init=False, repr=False)

    @keys.validator
    def _check_keys(self, _attribute: "attrs.Attribute[Any]", keys: tuple[SigningKey, ...]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"it must hold 1 to {MAX_KEYS} keys")
        if len({key.key_id for key in keys}) < len(keys):
            raise ValueError('two of its keys have the same "kid"')

    @_by_id.default
    def _index(self) -> Mapping[str, SigningKey]:
        return MappingProxyType({key.key_id: key for key in self.keys})

    @property
    def newest(self) -> SigningKey:
        """The key that signs: the one made last; of equals, the one that stands last."""
        return max(enumerate(self.keys), key=lambda item: (item[1].created, item[0]))[1]

    def public_jwks(self) -> dict[str, Any]:
        """Return the public keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [_public_jwk(key) for key in self.keys]}

    def find(self, key_id: str) -> SigningKey | None:
        """Find the key that a token names."""
        return self._by_id.get(key_id)


def load_or_create_keys(state_directory: Path) -> KeyStore:
    """Read the keys from `keys.json` in the state directory; at the first start, make them.

    Of several processes that start at once, one makes the keys and all get the same. Blocks on the
    disk: call it before the run starts, or in a thread.

    Args:
        state_directory: Where onemcp keeps what must survive it. Made if need be.

    Raises:
        StateError: The keys cannot be read, trusted or written.
    """
    path = state_directory / FILE_NAME
    data = read_or_create(path, lambda: _dump(KeyStore([SigningKey.generate(int(time.time()))])))
    try:
        return _parse(data)
    except ValueError as error:
        # `from None`: a JSON error carries the document, which is the secret.
        raise StateError(
            f"{path} is damaged: {error}. Restore it from a backup; or move it away, and onemcp "
            "makes new keys when it starts, which ends every token issued so far."
        ) from None


def _dump(keys: KeyStore) -> bytes:
    jwks = {
        "keys": [
            {
                **_public_jwk(key),
                "iat": key.created,
                "d": _encode(key.private.private_bytes_raw()),
            }
            for key in keys.keys
        ]
    }
    return json.dumps(jwks, indent=2).encode() + b"\n"


def _public_jwk(key: SigningKey) -> dict[str, Any]:
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": key.key_id,
        "x": _public_member(key.private),
    }


def _parse(data: bytes) -> KeyStore:
    try:
        jwks = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise ValueError('it has no list of "keys"')  # noqa: TRY004  (one kind of error for a file)
    return KeyStore(_parse_key(jwk, f"key {number}") for number, jwk in enumerate(jwks["keys"], 1))


def _parse_key(jwk: object, what: str) -> SigningKey:
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise ValueError(f"{what} is not an Ed25519 key")
    key_id, created = jwk.get("kid"), jwk.get("iat")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARACTERS:
        raise ValueError(f'{what} has no proper "kid"')
    if type(created) is not int or created < 0:
        raise ValueError(f'{what} has no proper "iat"')
    try:
        private = Ed25519PrivateKey.from_private_bytes(_decode(jwk.get("d")))
    except ValueError:
        raise ValueError(f'{what} has no proper "d"') from None
    if jwk.get("x") != _public_member(private):
        raise ValueError(f'"x" and "d" of {what} do not belong together')
    return SigningKey(key_id, created, private)


def _public_member(private: Ed25519PrivateKey) -> str:
    return _encode(private.public_key().public_bytes_raw())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a string")  # noqa: TRY004  (likewise)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
