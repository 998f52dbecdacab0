"""Checking access tokens: everything pinned (RFC 9068, RFC 8725).

Verification is in two parts. Who signed what never changes, so it is worked out once a token and
remembered by the token's SHA-256; whether the token is valid *now* and *here* is asked on every
use. The hot path is one look into a dict, and a hash where the token has not just been presented.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

import attrs

from onemcp.auth._errors import InvalidToken, Reason
from onemcp.auth._issuers import ExternalIssuer, Issuer, OwnIssuer
from onemcp.auth._jws import Jws, take_apart
from onemcp.auth._keys import KeyStore
from onemcp.auth._principal import Principal
from onemcp.auth._resource import Resource

MAX_TOKEN_BYTES: Final = 8192
MAX_SKEW: Final = 120.0
DEFAULT_SKEW: Final = 30.0
DEFAULT_REMEMBERED: Final = 4096

COMPACT_FORM = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@attrs.frozen(eq=False)
class Token:
    """A token as it was presented, which nothing has been checked of.

    Attributes:
        text: The token.
        digest: By what it is remembered.
    """

    text: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)

    @classmethod
    def of(cls, token: str) -> Self:
        """Prepare a token to be looked up.

        Raises:
            InvalidToken: It can't be one.
        """
        encoded = _encode(token)
        return cls(encoded, hashlib.sha256(encoded).digest())


class _Verified(NamedTuple):
    principal: Principal
    not_before: float
    issuer: Issuer


def _by_name(issuers: Iterable[ExternalIssuer]) -> Mapping[str, ExternalIssuer]:
    return MappingProxyType({issuer.name: issuer for issuer in issuers})


@attrs.define(eq=False)
class TokenVerifier:
    """Tells whom a token lets in. Owned by one task.

    Attributes:
        keys: The gateway's own, or None where tokens that it has signed don't count.
        external: Whose tokens count besides.
        skew: How far clocks may be apart, in seconds.
        capacity: How many verified tokens are remembered; the longest unused goes first.
        stands: Tells whether a token that is right otherwise has not been revoked.
    """

    keys: KeyStore | None = attrs.field(on_setattr=attrs.setters.frozen)
    external: Mapping[str, ExternalIssuer] = attrs.field(
        default=(), kw_only=True, converter=_by_name, on_setattr=attrs.setters.frozen
    )
    skew: float = attrs.field(
        default=DEFAULT_SKEW,
        kw_only=True,
        on_setattr=attrs.setters.frozen,
        validator=[attrs.validators.ge(0), attrs.validators.le(MAX_SKEW)],
    )
    capacity: int = attrs.field(
        default=DEFAULT_REMEMBERED,
        kw_only=True,
        on_setattr=attrs.setters.frozen,
        validator=attrs.validators.ge(1),
    )
    stands: Callable[[Principal], bool] = attrs.field(
        default=lambda _: True, kw_only=True, on_setattr=attrs.setters.frozen, repr=False
    )
    _remembered: OrderedDict[bytes, _Verified] = attrs.field(
        init=False, factory=OrderedDict, repr=lambda remembered: f"<{len(remembered)} tokens>"
    )

    def verify(self, token: Token | str, now: float, resource: Resource) -> Principal:
        """Tell whom the token lets in.

        Args:
            token: What the client presented; prepared, where it may be presented again.
            now: The time, in seconds since the epoch.
            resource: Where the client wants to go.

        Raises:
            InvalidToken: It lets nobody in.
        """
        token = Token.of(token) if isinstance(token, str) else token
        digest = token.digest
        verified = self._remembered.get(digest)
        if verified is None:
            verified = self._check(token.text)
            self._check_use(verified, now, resource)
            if len(self._remembered) >= self.capacity:
                self._remembered.popitem(last=False)
            self._remembered[digest] = verified
        else:
            try:
                self._check_use(verified, now, resource)
            except InvalidToken:
                del self._remembered[digest]
                raise
            self._remembered.move_to_end(digest)
        return verified.principal

    def inspect(self, token: str, now: float) -> Principal:
        """Tell whom a token would let in, wherever it is good (RFC 7662, section 2).

        Raises:
            InvalidToken: It lets nobody in, nowhere.
        """
        verified = self._check(_encode(token))
        self._check_standing(verified, now)
        return verified.principal

    def _check_use(self, verified: _Verified, now: float, resource: Resource) -> None:
        verified.issuer.check_use(verified.principal, resource)
        self._check_standing(verified, now)

    def _check_standing(self, verified: _Verified, now: float) -> None:
        # Written so that integers of any size are compared, never converted.
        if now - self.skew >= verified.principal.expires_at:
            raise InvalidToken(Reason.EXPIRED)
        if now + self.skew < verified.not_before:
            raise InvalidToken(Reason.NOT_YET_VALID)
        if not self.stands(verified.principal):
            raise InvalidToken(Reason.REVOKED)

    def _check(self, token: bytes) -> _Verified:
        """Check all that depends neither on the time nor on the place."""
        if not COMPACT_FORM.fullmatch(token):
            raise InvalidToken(Reason.MALFORMED)
        # `from None` throughout: foreign errors may quote what they choke on.
        try:
            jws = take_apart(token)
        except ValueError:
            raise InvalidToken(Reason.MALFORMED) from None
        issuer = self._issuer_of(jws)
        key = issuer.check_header(jws.header)
        try:
            is_right = key.verifies(jws.signed, jws.signature)
            claims = json.loads(jws.payload) if is_right else None
        except (ValueError, RecursionError):
            raise InvalidToken(Reason.MALFORMED) from None
        if not is_right:
            raise InvalidToken(Reason.SIGNATURE)
        if not isinstance(claims, dict):
            raise InvalidToken(Reason.CLAIMS)
        return _Verified(issuer.read(claims), claims.get("nbf", 0), issuer)

    def _issuer_of(self, jws: Jws) -> Issuer:
        """Tell whose keys to try; the issuer is only believed once one of them has verified."""
        if self.external:
            name = _unverified_issuer(jws)
            if name in self.external:
                return self.external[name]
        if self.keys is None:
            raise InvalidToken(Reason.ISSUER)
        return OwnIssuer(self.keys)


def _unverified_issuer(jws: Jws) -> str:
    try:
        claims = json.loads(jws.payload)
    except (ValueError, RecursionError):
        raise InvalidToken(Reason.MALFORMED) from None
    issuer: Any = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def _encode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(Reason.OVERSIZE)
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidToken(Reason.MALFORMED) from None
