"""Password hashes, in the PHC string format: scrypt (RFC 7914) and argon2id (RFC 9106).

These functions take a while and as much memory as they are meant to: call them in a thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

from cryptography.exceptions import InvalidKey, UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

LOG_N: Final = 15
BLOCK: Final = 8
PARALLEL: Final = 3
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MAX_PASSWORD: Final = 1024
MEMORY: Final = 256 * 1024 * 1024
"""What one verification may use, in bytes."""

SCRYPT: Final = re.compile(
    r"\$scrypt\$ln=(1[0-7]),r=([1-9]|1[0-6]),p=([1-9]|1[0-6])"
    r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)
ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{1,5}),t=([1-9][0-9]?),p=([1-9][0-9]?)"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}"
)

NOBODY: Final = (
    f"$scrypt$ln={LOG_N},r={BLOCK},p={PARALLEL}"
    "$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)
"""The hash of no password: checked for users who don't exist, so that it takes as long."""


def is_hash(text: str) -> bool:
    """Tell whether a text is a hash that can be verified here."""
    argon = ARGON2ID.fullmatch(text)
    if argon is not None:
        return int(argon[1]) * 1024 <= MEMORY
    return SCRYPT.fullmatch(text) is not None


def hash_password(password: str) -> str:
    """Hash a password with scrypt.

    Raises:
        ValueError: It is empty or too long, or has a NUL in it.
    """
    if "\0" in password:
        raise ValueError("a password has no NUL in it")
    if not 1 <= len(password) <= MAX_PASSWORD:
        raise ValueError(f"a password has 1 to {MAX_PASSWORD} characters")
    salt = secrets.token_bytes(SALT_BYTES)
    made = _scrypt(password, salt, (LOG_N, BLOCK, PARALLEL), HASH_BYTES)
    return f"$scrypt$ln={LOG_N},r={BLOCK},p={PARALLEL}${_encode(salt)}${_encode(made)}"


def verify_password(password: str, stored: str) -> bool:
    """Tell whether a password is the one that was hashed."""
    # To HMAC, and so to scrypt, NULs at the end make no difference.
    if len(password) > MAX_PASSWORD or "\0" in password:
        return False
    match = SCRYPT.fullmatch(stored)
    if match is not None:
        log_n, block, parallel = (int(match[number]) for number in (1, 2, 3))
        expected = _decode(match[5])
        made = _scrypt(password, _decode(match[4]), (log_n, block, parallel), len(expected))
        return hmac.compare_digest(made, expected)
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except (InvalidKey, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int], length: int) -> bytes:
    log_n, block, parallel = cost
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        data, salt=salt, n=1 << log_n, r=block, p=parallel, maxmem=2 * MEMORY, dklen=length
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
