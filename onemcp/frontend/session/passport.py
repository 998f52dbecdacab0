"""What a session id says: everything that makes the session, sealed.

Implements 2025-11-25, Transports, Session Management: an id is visible ASCII, and nobody can guess
or alter it. It is no key into memory, so whoever has the sealing key can serve its session: onemcp
after a restart, or another instance.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Raw

from onemcp.multiplexer import View
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import join, split
from onemcp.protocol.revisions import LEGACY_REVISIONS
from onemcp.state import Keyring, SealBroken, Sealer

from .terms import Opening

PURPOSE: Final = "session"
"""What session ids are sealed for."""

MAX_ID: Final = 3072
"""How long an id may be, in characters: proxies and clients bound the headers of a response."""

MAX_INFO: Final = 512
"""How much of what a client says about itself is kept whole, in bytes; of more the gist is."""

_GIST: Final = ("name", "title", "version")
_KEY: Final = 16


class SessionRefused(Exception):
    """A session id leads nowhere; the text says why, for the log alone."""


class Passport(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed into a session id.

    Attributes:
        key: What the session is noted by.
        holder: Who may use it, and where; see `holder_of`.
        revision: The revision agreed on.
        capabilities: The client's capabilities, undecoded.
        client_info: The client's name and version, undecoded, or None.
        opened: When the session was opened, as a Unix time.
        expires: When it ends, busy or not.
    """

    key: bytes
    holder: bytes
    revision: str
    capabilities: bytes
    client_info: bytes | None
    opened: float
    expires: float


class Passports:
    """Issues session ids, and reads those that have been issued with the same keys."""

    def __init__(self, keyring: Keyring, wall_clock: Callable[[], float] = time.time) -> None:
        """Seal with the keys of `keyring`; `wall_clock` tells the Unix time."""
        self._sealer = Sealer(keyring, PURPOSE, Passport, limit=MAX_ID)
        self.now = wall_clock

    def issue(self, opening: Opening, lifetime: float) -> tuple[str, Passport]:
        """Return the id of a session that is being opened, and what it says.

        Raises:
            InvalidParams: The client says more of itself than an id can hold.
        """
        now = self.now()
        passport = Passport(
            key=os.urandom(_KEY),
            holder=holder_of(opening.principal, opening.view),
            revision=opening.revision,
            capabilities=bytes(opening.capabilities),
            client_info=None if opening.client_info is None else bytes(opening.client_info),
            opened=now,
            expires=now + lifetime,
        )
        session_id = self._sealer.seal(passport)
        if len(session_id) > MAX_ID:
            raise InvalidParams(
                f"params.capabilities and params.clientInfo are too large for a session id, by "
                f"{len(session_id) - MAX_ID} characters; declare less"
            )
        return session_id, passport

    def read(self, session_id: str, principal: str, view: View) -> Passport:
        """Return what an id says that is used by a principal at an endpoint.

        Raises:
            SessionRefused: It says nothing, or nothing to this principal, here and now.
        """
        try:
            passport = self._sealer.open(session_id)
        except SealBroken:
            raise SessionRefused("it does not verify") from None
        if passport.holder != holder_of(principal, view):
            raise SessionRefused("it is of another principal or another endpoint")
        if passport.expires <= self.now():
            raise SessionRefused("it has expired")
        if passport.revision not in LEGACY_REVISIONS:
            raise SessionRefused("it is of a revision that is not spoken any more")
        return passport


def opening_of(passport: Passport, principal: str, view: View) -> Opening:
    """Return what a session was opened with, as its id says."""
    info = passport.client_info
    return Opening(
        view=view,
        principal=principal,
        revision=passport.revision,
        capabilities=Raw(passport.capabilities),
        client_info=None if info is None else Raw(info),
    )


def holder_of(principal: str, view: View) -> bytes:
    """Digest who uses a session, and at which endpoint."""
    return sha256(msgspec.msgpack.encode((principal, view.name))).digest()


def gist(client_info: Raw) -> Raw:
    """Return what a client says about itself, without what would make an id too long.

    Raises:
        InvalidParams: It is no object.
    """
    if len(bytes(client_info)) <= MAX_INFO:
        return client_info
    fields = split(client_info, "params.clientInfo")
    return join({name: fields[name] for name in _GIST if name in fields})
