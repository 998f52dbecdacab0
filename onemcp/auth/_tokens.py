"""Access tokens: JSON Web Tokens with everything pinned (RFC 9068, RFC 8725).

Verification is in two parts. Who signed what never changes, so it is worked out once a token and
remembered by the token's SHA-256; whether the token is valid *now* is asked on every use. The hot
path is one hash and one look into a dict.
"""

import hashlib
import json
import math
import re
import secrets
from collections import OrderedDict
from typing import Any, Final, NamedTuple

import attrs
import jwt

from onemcp.auth._errors import InvalidToken, Reason
from onemcp.auth._keys import KeyStore
from onemcp.auth._principal import Principal

ALGORITHM: Final = "EdDSA"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105  (a media type)
HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
STRING_CLAIMS: Final = ("iss", "sub", "client_id", "jti", "scope")
TIME_CLAIMS: Final = ("iat", "nbf", "exp")

MAX_TOKEN_BYTES: Final = 8192
MAX_SKEW: Final = 120.0
DEFAULT_SKEW: Final = 30.0
DEFAULT_REMEMBERED: Final = 4096
LOCAL_CLIENT_ID: Final = "onemcp"

COMPACT_FORM = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# RFC 6749, section 3.3
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")


def issue_token(
    keys: KeyStore,
    *,
    subject: str,
    lifetime: float,
    audience: str,
    issuer: str,
    now: float,
    scope: str = "mcp",
    client_id: str = LOCAL_CLIENT_ID,
) -> str:
    """Sign an access token (RFC 9068, section 2).

    Args:
        keys: The newest of them signs.
        subject: Whom it is for.
        lifetime: How long it is valid, in seconds; rounded up to whole ones.
        audience: The resource it is good for.
        issuer: Who issues it.
        now: The time, in seconds since the epoch.
        scope: What it is good for, in words separated by single spaces.
        client_id: The program it is for.

    Returns:
        The token, a secret.

    Raises:
        ValueError: An argument that would make a token nobody accepts.
    """
    if not (subject and client_id):
        raise ValueError("a token needs a subject and a client")
    if not (math.isfinite(lifetime) and lifetime > 0):
        raise ValueError("the lifetime of a token must be positive")
    if not SCOPE.fullmatch(scope):
        raise ValueError("a scope is made of words separated by single spaces")
    issued_at = int(now)
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "client_id": client_id,
        "scope": scope,
        "jti": secrets.token_urlsafe(16),
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + math.ceil(lifetime),
    }
    key = keys.newest
    headers = {"typ": TOKEN_TYPE, "kid": key.key_id}
    token = jwt.encode(claims, key.private, algorithm=ALGORITHM, headers=headers)
    if len(token) > MAX_TOKEN_BYTES:
        raise ValueError(f"the token would be longer than {MAX_TOKEN_BYTES} bytes")
    return token


class _Verified(NamedTuple):
    principal: Principal
    not_before: int


@attrs.define(eq=False)
class TokenVerifier:
    """Tells whom a token lets in. Owned by one task.

    Attributes:
        keys: Whose signatures count.
        audience: The resource that tokens must be good for.
        issuer: Who must have issued them.
        skew: How far clocks may be apart, in seconds.
        capacity: How many verified tokens are remembered; the longest unused goes first.
    """

    keys: KeyStore = attrs.field(on_setattr=attrs.setters.frozen)
    audience: str = attrs.field(on_setattr=attrs.setters.frozen)
    issuer: str = attrs.field(on_setattr=attrs.setters.frozen)
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
    _remembered: OrderedDict[bytes, _Verified] = attrs.field(
        init=False, factory=OrderedDict, repr=lambda remembered: f"<{len(remembered)} tokens>"
    )
    _jws: jwt.PyJWS = attrs.field(
        init=False, factory=lambda: jwt.PyJWS(algorithms=[ALGORITHM]), repr=False
    )

    def verify(self, token: str, now: float) -> Principal:
        """Tell whom the token lets in.

        Args:
            token: What the client presented.
            now: The time, in seconds since the epoch.

        Raises:
            InvalidToken: It lets nobody in.
        """
        encoded = _encode(token)
        digest = hashlib.sha256(encoded).digest()
        verified = self._remembered.get(digest)
        if verified is None:
            verified = self._check(encoded)
            self._check_times(verified, now)
            if len(self._remembered) >= self.capacity:
                self._remembered.popitem(last=False)
            self._remembered[digest] = verified
        else:
            try:
                self._check_times(verified, now)
            except InvalidToken:
                del self._remembered[digest]
                raise
            self._remembered.move_to_end(digest)
        return verified.principal

    def _check_times(self, verified: _Verified, now: float) -> None:
        # Written so that integers of any size are compared, never converted.
        if now - self.skew >= verified.principal.expires_at:
            raise InvalidToken(Reason.EXPIRED)
        if now + self.skew < verified.not_before:
            raise InvalidToken(Reason.NOT_YET_VALID)

    def _check(self, token: bytes) -> _Verified:
        """Check all that does not depend on the time."""
        if not COMPACT_FORM.fullmatch(token):
            raise InvalidToken(Reason.MALFORMED)
        # `from None` throughout: foreign errors may quote what they choke on.
        try:
            header = self._jws.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidToken(Reason.MALFORMED) from None
        key = self.keys.find(_checked_key_id(header))
        if key is None:
            raise InvalidToken(Reason.KEY)
        try:
            payload = json.loads(self._jws.decode(token, key.public, algorithms=[ALGORITHM]))
        except jwt.InvalidSignatureError:
            raise InvalidToken(Reason.SIGNATURE) from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise InvalidToken(Reason.MALFORMED) from None
        return self._check_claims(payload)

    def _check_claims(self, claims: Any) -> _Verified:
        if not isinstance(claims, dict) or not _is_complete(claims):
            raise InvalidToken(Reason.CLAIMS)
        if claims["iss"] != self.issuer:
            raise InvalidToken(Reason.ISSUER)
        if not _names(claims.get("aud"), self.audience):
            raise InvalidToken(Reason.AUDIENCE)
        principal = Principal(
            subject=claims["sub"],
            scopes=frozenset(claims["scope"].split(" ")),
            client_id=claims["client_id"],
            token_id=claims["jti"],
            expires_at=claims["exp"],
        )
        return _Verified(principal, claims["nbf"])


def _encode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(Reason.OVERSIZE)
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidToken(Reason.MALFORMED) from None


def _checked_key_id(header: dict[str, Any]) -> str:
    if header.get("alg") != ALGORITHM:
        raise InvalidToken(Reason.ALGORITHM)
    if header.get("typ") != TOKEN_TYPE:
        raise InvalidToken(Reason.TYPE)
    key_id = header.get("kid")
    # Tokens of our own have these members and no others: no `crit`, no `jwk`, no `b64`.
    if header.keys() != HEADER_MEMBERS or not isinstance(key_id, str):
        raise InvalidToken(Reason.MALFORMED)
    return key_id


def _is_complete(claims: dict[str, Any]) -> bool:
    return (
        all(isinstance(claims.get(name), str) and claims[name] for name in STRING_CLAIMS)
        # bool is an int, but no time
        and all(type(claims.get(name)) is int for name in TIME_CLAIMS)
        and SCOPE.fullmatch(claims["scope"]) is not None
    )


def _names(claim: Any, audience: str) -> bool:
    # RFC 7519, section 4.1.3: one string, or a list of them
    return audience in claim if isinstance(claim, list) else bool(claim == audience)
