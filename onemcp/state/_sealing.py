"""What onemcp gives clients to keep, sealed so that only onemcp can read or have written it.

Pure: no clock, no files. That something is used in time, or only once, is for others to see to.

A sealed text is ``onemcp1.MARK.DATA``. MARK is derived from the key and the purpose, and tells what
was sealed with this key for this purpose from anything else: from what serves another purpose, and
from what another onemcp has sealed, which may well be a backend of this one. DATA is encrypted and
authenticated (ChaCha20-Poly1305, RFC 8439) together with what stands before it. It begins with a
salt from which a key for this one text is derived: a key that lives for years seals more texts
than random nonces of 96 bits are good for.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import attrs
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

T = TypeVar("T")

MAGIC: Final = "onemcp1."
"""What everything begins with that any onemcp has sealed."""

KEY_BYTES: Final = 32
"""How long a key is, at least."""

MAX_TEXT: Final = 256 * 1024
"""How long a text may be that is looked into, unless a sealer says otherwise."""

_SALT: Final = 16
_NONCE: Final = bytes(12)
_MARK: Final = 9
_MARK_END: Final = len(MAGIC) + _MARK * 4 // 3 + 1


class SealBroken(Exception):
    """A text is none that was sealed like this with one of these keys. Why is nobody's business."""


def _as_tuple(keys: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(keys)


@attrs.frozen
class Keyring:
    """The secrets that sealing begins with: the first seals, all open.

    Attributes:
        keys: At least one, each of 32 bytes or more; the newest first.
    """

    keys: tuple[bytes, ...] = attrs.field(converter=_as_tuple, repr=False)

    @keys.validator
    def _check(self, _attribute: attrs.Attribute[Any], keys: tuple[bytes, ...]) -> None:
        if not keys:
            raise ValueError("there must be a sealing key")
        if any(len(key) < KEY_BYTES for key in keys):
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes or more")

    @classmethod
    def ephemeral(cls) -> Keyring:
        """Return a new key that nobody else has: what it seals does not outlive the process."""
        return cls([os.urandom(KEY_BYTES)])


class Sealer(Generic[T]):
    """Seals values of one kind for one purpose, and opens those that it has sealed.

    What serves one purpose never opens as another.
    """

    def __init__(
        self,
        keyring: Keyring,
        purpose: str,
        kind: type[T],
        *,
        limit: int = MAX_TEXT,
        is_stable: bool = False,
    ) -> None:
        """Derive what is needed.

        Args:
            keyring: The secrets.
            purpose: What the texts are for; another one for each use.
            kind: The type of what is sealed: anything that msgspec encodes and decodes.
            limit: The longest text that is looked into, in characters.
            is_stable: Whether equal values are to give equal texts, until there is a newer key.
        """
        self.purpose = purpose
        newest = keyring.keys[0]
        self._salting = _derive(newest, f"salt {purpose}", KEY_BYTES) if is_stable else None
        self._keys = {
            MAGIC + _text(_derive(key, f"mark {purpose}", _MARK)) + ".": _derive(
                key, f"key {purpose}", KEY_BYTES
            )
            for key in keyring.keys
        }
        self._newest = next(iter(self._keys))
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._limit = limit

    def __repr__(self) -> str:
        return f"<Sealer of {self.purpose}, {len(self._keys)} keys>"

    def seal(self, value: T) -> str:
        """Return a text that only these keys open: letters, digits, ``-``, ``_`` and ``.``."""
        data = msgspec.msgpack.encode(value)
        # A salt that follows from the value is as good: no other value is sealed with it.
        stable = self._salting and hmac.digest(self._salting, data, "sha256")[:_SALT]
        salt = stable or os.urandom(_SALT)
        cipher = self._cipher(self._newest, salt)
        sealed = cipher.encrypt(_NONCE, data, self._newest.encode())
        return self._newest + _text(salt + sealed)

    def owns(self, text: str) -> bool:
        """Tell whether a text claims to be of these keys; no one else's does by chance."""
        return text[:_MARK_END] in self._keys

    def open(self, text: str) -> T:
        """Return what was sealed.

        Raises:
            SealBroken: It was not sealed like this with one of these keys.
        """
        mark, data = text[:_MARK_END], text[_MARK_END:]
        if mark not in self._keys or len(text) > self._limit:
            raise SealBroken
        try:
            sealed = urlsafe_b64decode(data + "=" * (-len(data) % 4))
            if _text(sealed) != data:  # as it was written, not just as it decodes
                raise SealBroken
            cipher = self._cipher(mark, sealed[:_SALT])
            return self._decoder.decode(
                cipher.decrypt(_NONCE, sealed[_SALT:], mark.encode()),
            )
        except (ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise SealBroken from error

    def _cipher(self, mark: str, salt: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(hmac.digest(self._keys[mark], salt, "sha256"))


def is_sealed(text: str) -> bool:
    """Tell whether a text claims that some onemcp has sealed it, whatever its key and purpose."""
    return text.startswith(MAGIC)


def _derive(key: bytes, what: str, length: int) -> bytes:
    return HKDF(SHA256(), length, None, f"onemcp {what}".encode()).derive(key)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
