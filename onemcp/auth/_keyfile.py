"""The files that signing keys are in: JSON Web Key Sets, for their owner only (RFC 7517)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from onemcp.auth._keys import KeyStore, SigningKey, public_jwk, public_member
from onemcp.auth._rotation import renewed
from onemcp.state import (
    StateError,
    from_base64url,
    listed_keys,
    read_or_create,
    read_private,
    read_shared,
    to_base64url,
    update,
)

FILE_NAME: Final = "keys.json"
MAX_KEY_ID_CHARACTERS: Final = 128


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
    return _parsed(path, read_or_create(path, lambda: _dump(renewed(time.time()))))


def load_keys(path: Path) -> KeyStore:
    """Read the keys from a file that is shared with other instances, and made by nobody here.

    Blocks on the disk, like `load_or_create_keys`.

    Raises:
        StateError: It is not there, or cannot be read or trusted.
    """
    data = read_shared(path, FILE_NAME, "auth.keyFile")
    return _parsed(path, data)


def reload_keys(path: Path) -> KeyStore:
    """Read the keys again that `load_or_create_keys` has made or read; never anew.

    Blocks on the disk, like `load_or_create_keys`.

    Raises:
        StateError: They are not there any more, or cannot be read or trusted.
    """
    data = read_private(path)
    if data is None:
        raise StateError(
            f"{path} is gone. Put it back from a backup: without it onemcp makes new keys when it "
            "starts, which ends every token issued so far."
        )
    return _parsed(path, data)


def change_keys(path: Path, change: Callable[[KeyStore], KeyStore]) -> KeyStore:
    """Change the keys in a file, as the only one to do so meanwhile; without a file, make one.

    Who is killed at any byte has made the change or not. Blocks on the disk.

    Args:
        path: The file.
        change: Gives the new keys, or the same where nothing is to change; what it raises leaves
            the file as it is.

    Returns:
        The keys, which are on the disk.

    Raises:
        StateError: They cannot be read, trusted or written.
    """

    def change_file(data: bytes | None) -> tuple[bytes | None, KeyStore]:
        old = None if data is None else _parsed(path, data)
        new = change(old or renewed(time.time()))
        return (None if new is old else _dump(new)), new

    return update(path, change_file)


def _parsed(path: Path, data: bytes) -> KeyStore:
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
                **public_jwk(key),
                "iat": key.created,
                "d": to_base64url(key.private.private_bytes_raw()),
            }
            for key in keys.keys
        ]
    }
    return json.dumps(jwks, indent=2).encode() + b"\n"


def _parse(data: bytes) -> KeyStore:
    return KeyStore(_parse_key(jwk, f"key {n}") for n, jwk in enumerate(listed_keys(data), 1))


def _parse_key(jwk: object, what: str) -> SigningKey:
    if not isinstance(jwk, dict) or (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
        raise ValueError(f"{what} is not an Ed25519 key")
    key_id, created = jwk.get("kid"), jwk.get("iat")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARACTERS:
        raise ValueError(f'{what} has no proper "kid"')
    if type(created) is not int or created < 0:
        raise ValueError(f'{what} has no proper "iat"')
    try:
        private = Ed25519PrivateKey.from_private_bytes(from_base64url(jwk.get("d")))
    except ValueError:
        raise ValueError(f'{what} has no proper "d"') from None
    if jwk.get("x") != public_member(private):
        raise ValueError(f'"x" and "d" of {what} do not belong together')
    return SigningKey(key_id, created, private)
