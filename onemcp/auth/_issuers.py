"""Whose tokens count, and what the tokens of each must look like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from onemcp.auth._errors import InvalidToken, Reason
from onemcp.auth._jwks import Keys, TrustedKey
from onemcp.auth._keys import KeyStore, SigningKey
from onemcp.auth._principal import ISSUER, Principal
from onemcp.auth._resource import Resource, canonical
from onemcp.auth._scopes import ADMIN

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (a media type)
AUDIENCE: Final = "onemcp"
"""What tokens made with `onemcp token` are good for: everything here, whatever its address."""

HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
STRING_CLAIMS: Final = ("iss", "sub", "client_id", "jti", "scope")
TIME_CLAIMS: Final = ("iat", "nbf", "exp")
MAX_AUDIENCES: Final = 64

# RFC 6749, section 3.3
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")

Claims = Mapping[str, Any]


class Issuer(Protocol):
    """Somebody whose tokens may let in."""

    def check_header(self, header: Mapping[str, Any]) -> TrustedKey:
        """Tell which key must have signed.

        Raises:
            InvalidToken: No key of this issuer can have.
        """

    def read(self, claims: Claims) -> Principal:
        """Tell whom a token with these claims is for; the signature has been checked.

        Raises:
            InvalidToken: Something is missing or of the wrong kind.
        """

    def check_use(self, principal: Principal, resource: Resource) -> None:
        """Check that a token is good for a resource (RFC 9068, section 4).

        Raises:
            InvalidToken: It is for something else.
        """


@attrs.frozen(eq=False)
class OwnIssuer:
    """This gateway: `onemcp token`, and its authorization server.

    Attributes:
        keys: What it signs with.
    """

    keys: KeyStore

    def check_header(self, header: Mapping[str, Any]) -> TrustedKey:
        """Tell which key must have signed; see `Issuer`."""
        if header.get("alg") != SigningKey.ALGORITHM:
            raise InvalidToken(Reason.ALGORITHM)
        if header.get("typ") != TOKEN_TYPE:
            raise InvalidToken(Reason.TYPE)
        key_id = header.get("kid")
        # Tokens of our own have these members and no others: no `crit`, no `jwk`, no `b64`.
        if header.keys() != HEADER_MEMBERS or not isinstance(key_id, str):
            raise InvalidToken(Reason.MALFORMED)
        key = self.keys.find(key_id)
        if key is None:
            raise InvalidToken(Reason.KEY)
        return TrustedKey(key_id, key.ALGORITHM, key.verifies)

    def read(self, claims: Claims) -> Principal:
        """Tell whom a token is for; see `Issuer`."""
        grant = claims.get("grant", "")
        if not _is_complete(claims) or not isinstance(grant, str):
            raise InvalidToken(Reason.CLAIMS)
        return Principal(
            subject=claims["sub"],
            scopes=frozenset(claims["scope"].split(" ")),
            client_id=claims["client_id"],
            token_id=claims["jti"],
            expires_at=claims["exp"],
            issued_at=claims["iat"],
            issuer=claims["iss"],
            audiences=_audiences(claims.get("aud")),
            grant_id=grant,
        )

    def check_use(self, principal: Principal, resource: Resource) -> None:
        """Check that a token is good for a resource; see `Issuer`."""
        if principal.issuer == ISSUER:
            if AUDIENCE not in principal.audiences:
                raise InvalidToken(Reason.AUDIENCE)
            return
        if principal.issuer != resource.origin:
            raise InvalidToken(Reason.ISSUER)
        _check_audience(principal, resource)


def _types(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower().removeprefix("application/") for name in names)


def _words(words: Iterable[str]) -> frozenset[str]:
    return frozenset(words)


@attrs.frozen(kw_only=True, eq=False)
class ExternalIssuer:
    """An authorization server elsewhere (RFC 9068, RFC 8725).

    Attributes:
        name: Its issuer identifier, compared exactly.
        keys: Its public keys.
        token_types: What `typ` may be, without ``application/``.
        scopes: What each of its tokens is good for, besides what it says itself.
        admins: Of whom a token that says it is good for administration is believed.
    """

    name: str
    keys: Keys
    token_types: frozenset[str] = attrs.field(default=(TOKEN_TYPE,), converter=_types)
    scopes: frozenset[str] = attrs.field(default=(), converter=_words)
    admins: frozenset[str] = attrs.field(default=(), converter=_words)

    def check_header(self, header: Mapping[str, Any]) -> TrustedKey:
        """Tell which key must have signed; see `Issuer`."""
        kind, key_id = header.get("typ"), header.get("kid")
        if not isinstance(kind, str) or not _types([kind]) <= self.token_types:
            raise InvalidToken(Reason.TYPE)
        # Keys that a token brings along (`jwk`, `jku`, `x5u`) are never looked at.
        if "crit" in header or "b64" in header or not isinstance(key_id, str):
            raise InvalidToken(Reason.MALFORMED)
        key = self.keys.find(key_id)
        if key is None:
            raise InvalidToken(Reason.KEY)
        if header.get("alg") != key.algorithm:
            raise InvalidToken(Reason.ALGORITHM)
        return key

    def read(self, claims: Claims) -> Principal:
        """Tell whom a token is for; see `Issuer`.

        Where issuers differ from RFC 9068 in what they call the client and the scopes (`azp`,
        `scp`), they are understood; what is missing grants nothing.
        """
        subject, expires = claims.get("sub"), claims.get("exp")
        client = claims.get("client_id", claims.get("azp", ""))
        token_id = claims.get("jti", "")
        texts = all(isinstance(text, str) for text in (subject, client, token_id))
        if not texts or not subject or not _is_time(expires):
            raise InvalidToken(Reason.CLAIMS)
        if not all(_is_time(claims.get(name, 0)) for name in ("nbf", "iat")):
            raise InvalidToken(Reason.CLAIMS)
        assert isinstance(expires, int | float)  # noqa: S101  (for mypy)
        scopes = _scopes(claims.get("scope", claims.get("scp", ""))) | self.scopes
        if subject not in self.admins:
            scopes -= {str(ADMIN)}  # elsewhere the word may mean anything
        return Principal(
            subject=str(subject),
            scopes=scopes,
            client_id=client,
            token_id=token_id,
            expires_at=expires,
            issued_at=claims.get("iat", 0),
            issuer=self.name,
            audiences=_audiences(claims.get("aud")),
        )

    def check_use(self, principal: Principal, resource: Resource) -> None:
        """Check that a token is good for a resource; see `Issuer`."""
        _check_audience(principal, resource)


def _check_audience(principal: Principal, resource: Resource) -> None:
    if not any(resource.is_within(audience) for audience in principal.audiences):
        raise InvalidToken(Reason.AUDIENCE)


def _audiences(claim: Any) -> frozenset[str]:
    # RFC 7519, section 4.1.3: one string, or a list of them
    named = claim if isinstance(claim, list) else [claim]
    if len(named) > MAX_AUDIENCES or not all(isinstance(name, str) for name in named):
        raise InvalidToken(Reason.AUDIENCE)
    return frozenset(canonical(name) or name for name in named)


def _scopes(claim: Any) -> frozenset[str]:
    words = claim.split(" ") if isinstance(claim, str) else claim
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidToken(Reason.CLAIMS)
    return frozenset(filter(None, words))


def _is_time(value: Any) -> bool:
    # bool is an int, but no time
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_complete(claims: Claims) -> bool:
    return (
        all(isinstance(claims.get(name), str) and claims[name] for name in STRING_CLAIMS)
        and all(type(claims.get(name)) is int for name in TIME_CLAIMS)
        and SCOPE.fullmatch(claims["scope"]) is not None
    )
