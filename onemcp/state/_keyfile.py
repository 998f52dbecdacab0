"""The sealing keys: a JSON Web Key Set of symmetric keys (RFC 7517; RFC 7518, section 6.4).

The key with the greatest ``iat`` seals, all open. So keys are changed without a break: add one,
start again, and take the old one away when nothing that it has sealed is of use any more.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from onemcp.state._errors import StateError
from onemcp.state._files import read_or_create, read_shared
from onemcp.state._jwks import from_base64url, listed_keys, to_base64url
from onemcp.state._sealing import KEY_BYTES, Keyring

FILE_NAME: Final = "sealing.json"
MAX_KEYS: Final = 32


def load_or_create_keyring(state_directory: Path) -> Keyring:
    """Read the keys from `sealing.json` in the state directory; at the first start, make one.

    Blocks on the disk: call it before the run starts, or in a thread.

    Raises:
        StateError: They cannot be read, trusted or written.
    """
    path = state_directory / FILE_NAME
    return _parse(path, read_or_create(path, _new_file))


def load_keyring(path: Path) -> Keyring:
    """Read the keys from a file that is shared with other instances, and made by nobody here.

    Blocks on the disk, like `load_or_create_keyring`.

    Raises:
        StateError: It is not there, or cannot be read or trusted.
    """
    data = read_shared(path, FILE_NAME, "server.sealingKeyFile")
    return _parse(path, data)


def _new_file() -> bytes:
    key = to_base64url(os.urandom(KEY_BYTES))
    jwk = {"kty": "oct", "use": "enc", "iat": int(time.time()), "k": key}
    return json.dumps({"keys": [jwk]}, indent=2).encode() + b"\n"


def _parse(path: Path, data: bytes) -> Keyring:
    try:
        return _keyring(data)
    except ValueError as error:
        # `from None`: a JSON error carries the document, which is the secret.
        raise StateError(
            f"{path} is damaged: {error}. Restore it from a backup; or move it away, and onemcp "
            "makes a new key when it starts, which ends every session opened so far."
        ) from None


def _keyring(data: bytes) -> Keyring:
    keys = [_key(jwk, f"key {number}") for number, jwk in enumerate(listed_keys(data), 1)]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise ValueError(f"it must hold 1 to {MAX_KEYS} keys")
    # Of equals the one that stands last is the newest, as for the signing keys.
    return Keyring(key for _, _, key in sorted(map(_placed, enumerate(keys)), reverse=True))


def _placed(item: tuple[int, tuple[int, bytes]]) -> tuple[int, int, bytes]:
    place, (issued, key) = item
    return issued, place, key


def _key(jwk: object, what: str) -> tuple[int, bytes]:
    if not isinstance(jwk, dict) or jwk.get("kty") != "oct":
        raise ValueError(f"{what} is not a symmetric key")
    issued, text = jwk.get("iat"), jwk.get("k")
    if type(issued) is not int or issued < 0:
        raise ValueError(f'{what} has no proper "iat"')
    if not isinstance(text, str) or len(text) > 10 * KEY_BYTES:
        raise ValueError(f'{what} has no proper "k"')
    try:
        key = from_base64url(text)
    except ValueError:
        raise ValueError(f'{what} has no proper "k"') from None
    if len(key) < KEY_BYTES:
        raise ValueError(f'"k" of {what} has less than {KEY_BYTES} bytes')
    return issued, key
