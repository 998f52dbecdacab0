"""What onemcp seals into a ``requestState``, so that only onemcp can have written it.

Implements 2026-07-28, Multi Round-Trip Requests, Server Requirements. Pure: no clock, no I/O; that
a state is used once is for the registry to see to.

A sealed state is ``onemcp1.KEY.DATA``, where KEY tells states of this key from those of another
onemcp, which may well be a backend of this one and has its states passed through. DATA is
encrypted and authenticated together with what stands before it.
"""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Raw

from onemcp.protocol.fields import Fields, plain

MAGIC: Final = "onemcp1."
"""What every state of every onemcp begins with."""

SEALING_KEY_BYTES: Final = 32
"""How long a secret is, at least."""

MAX_STATE: Final = 256 * 1024
"""How long a sealed state may be that is looked into."""

SALIENT: Final = ("name", "uri", "arguments")
"""The parameters that make two requests of one method the same."""

_NONCE: Final = 12
_MARK: Final = 9


class SealBroken(Exception):
    """A state is none that was sealed with this key. Why is nobody's business."""


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a retry must prove.

    Attributes:
        principal: Who was asked.
        request: Which request it was; see `fingerprint`.
        expires: Until when it may be presented, as a Unix time.
        instance: The process that holds the call.
        call: The parked call; empty where nothing is parked and the call is just made again.
        round: How often its client had been asked.
        asked: Which question each key stands for; see `question_digest`.
        given: The answers of earlier rounds, each after its question's digest.
    """

    principal: str
    request: bytes
    expires: float
    instance: str
    call: str
    round: int
    asked: dict[str, bytes] = msgspec.field(default_factory=dict)
    given: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)


_DECODER: Final = msgspec.msgpack.Decoder(State)


class Sealer:
    """Seals states, and opens those that it has sealed."""

    def __init__(self, key: bytes) -> None:
        """Derive what is needed from a secret of 32 bytes or more."""
        if len(key) < SEALING_KEY_BYTES:
            raise ValueError(f"a sealing key has {SEALING_KEY_BYTES} bytes or more")
        self._cipher = ChaCha20Poly1305(_derive(key, b"requestState", SEALING_KEY_BYTES))
        self._mark = MAGIC + _text(_derive(key, b"requestState key id", _MARK)) + "."

    def __repr__(self) -> str:
        return f"<Sealer {self._mark}>"

    def seal(self, state: State) -> str:
        """Return a text that only this key opens."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, msgspec.msgpack.encode(state), self._mark.encode())
        return self._mark + _text(nonce + sealed)

    def owns(self, text: str) -> bool:
        """Tell whether a state claims to be of this key; no one else's does by chance."""
        return text.startswith(self._mark)

    def open(self, text: str) -> State:
        """Return what was sealed.

        Raises:
            SealBroken: It was not sealed like this with this key.
        """
        if not self.owns(text) or len(text) > MAX_STATE:
            raise SealBroken
        sealed = text[len(self._mark) :]
        try:
            data = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            if _text(data) != sealed:  # as it was written, not just as it decodes
                raise SealBroken
            plain_text = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], self._mark.encode())
            return _DECODER.decode(plain_text)
        except (ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise SealBroken from error


def is_onemcps(text: str) -> bool:
    """Tell whether a state claims to be of some onemcp, whatever its key."""
    return text.startswith(MAGIC)


def fingerprint(endpoint: str | None, method: str, params: Fields) -> bytes:
    """Digest what makes a request the same one: where it was sent, its method, what it is about.

    Args:
        endpoint: The view that it was sent to.
        method: Its method.
        params: Its parameters, with names as the client has them.
    """
    salient = {key: plain(params[key], bytes(params[key])) for key in SALIENT if key in params}
    return _digest([endpoint, method, salient])


def question_digest(method: str, params: Raw) -> bytes:
    """Digest a question, to know it again when a backend asks it anew."""
    return _digest([method, plain(params, bytes(params))])


def _digest(value: object) -> bytes:
    # Members in order, for a client may write the same object differently when it retries.
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()


def _derive(key: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, b"onemcp " + purpose).derive(key)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
