"""Hashes of passwords that take no time to verify, for users whose logins are not the matter."""

from __future__ import annotations

import hashlib
from base64 import b64encode

SALT = b"salt" * 4


def hashed(password: str) -> str:
    """Hash a password with scrypt at the least cost that is accepted, a hundredth of the usual."""
    made = hashlib.scrypt(password.encode(), salt=SALT, n=1 << 10, r=1, p=1, dklen=32)
    salt, digest = (b64encode(each).rstrip(b"=").decode() for each in (SALT, made))
    return f"$scrypt$ln=10,r=1,p=1${salt}${digest}"
