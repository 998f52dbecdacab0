"""Requests for tokens, and their answers (RFC 6749, sections 4, 5 and 6; RFC 7523; RFC 8707). Pure.

Whatever an authorization server says about a failure, only the code of it is repeated.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import attrs
import jwt
import msgspec

from ._challenge import scopes_of
from ._errors import LoginNeeded, NotNow, OAuthError
from ._metadata import ServerMetadata, read
from ._records import Registration, Tokens

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME: Final = 60
"""How long onemcp's own signature is good for, in seconds."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_CODE: Final = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}")
_OK: Final = 200
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
_ENDED: Final = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
"""Errors that say that a login is over, or its client gone."""


@attrs.frozen
class TokenRequest:
    """What is sent to a token endpoint.

    Attributes:
        form: The body.
        headers: Headers besides the usual ones.
    """

    form: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def prove(
    request: Mapping[str, str], registration: Registration, assertion: Callable[[], str] | None
) -> TokenRequest:
    """Add what proves who onemcp is.

    Args:
        request: The rest of the body.
        registration: Who it is.
        assertion: Makes its signature, where it has a key instead of a secret.
    """
    client_id, secret = registration.client_id, registration.client_secret or ""
    if assertion is not None:
        proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion()}
        return TokenRequest({**request, "client_id": client_id, **proof})
    if registration.method == "client_secret_basic":
        # Each is form-encoded first: RFC 6749, section 2.3.1.
        pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}".encode()
        basic = "Basic " + base64.b64encode(pair).decode()
        return TokenRequest(dict(request), {"authorization": basic})
    if registration.method == "client_secret_post":
        return TokenRequest({**request, "client_id": client_id, "client_secret": secret})
    return TokenRequest({**request, "client_id": client_id})


def method_for(server: ServerMetadata, secret: str | None) -> str:
    """Choose how to prove who onemcp is, where the registration leaves that open."""
    if secret is None:
        return "none"
    known = ("client_secret_basic", "client_secret_post", "none")
    return next((each for each in known if each in server.auth_methods), known[0])


def sign_assertion(key: bytes, algorithm: str, client_id: str, issuer: str, now: float) -> str:
    """Sign that onemcp is a client (RFC 7523, section 3).

    Raises:
        OAuthError: The key is no private key for this algorithm.
    """
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "jti": uuid.uuid4().hex,
        "iat": int(now),
        "exp": int(now) + ASSERTION_LIFETIME,
    }
    try:
        return jwt.encode(claims, key.decode(), algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise OAuthError(
            f'"auth.privateKeyFile" holds no private key in PEM for {algorithm}'
        ) from None


class _TokenAnswer(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: float | str | None = None
    refresh_token: str | None = None
    scope: str | None = None


class _TokenFailure(msgspec.Struct):
    error: str


def read_tokens(status: int, body: bytes, *, asked: tuple[str, ...], now: float) -> Tokens:
    """Read the answer to a request for tokens.

    Args:
        status: Its HTTP status.
        body: Its body.
        asked: The scopes that were asked for: what it grants if it does not say.
        now: The time, in seconds since the epoch.

    Raises:
        LoginNeeded: The login is over.
        NotNow: It may succeed later.
        OAuthError: It was refused, or makes no sense.
    """
    if status != _OK:
        raise _failure(status, body)
    answer = read(body, _TokenAnswer, "the answer of its authorization server")
    if answer.token_type.lower() != "bearer":
        raise OAuthError("its authorization server issues tokens that are not bearer tokens")
    for token in (answer.access_token, answer.refresh_token):
        if token is not None and not _TOKEN.fullmatch(token):
            raise OAuthError("its authorization server issues tokens that no header can hold")
    granted = asked if answer.scope is None else scopes_of(answer.scope)
    lifetime = _seconds(answer.expires_in)
    return Tokens(answer.access_token, answer.refresh_token, now, lifetime, granted)


def _seconds(value: float | str | None) -> float | None:
    try:
        seconds = None if value is None else float(value)
    except ValueError:
        return None
    return seconds if seconds is not None and 0 < seconds < float("inf") else None


def _failure(status: int, body: bytes) -> OAuthError:
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        return NotNow(f"its authorization server is not available (HTTP {status})")
    try:
        code = msgspec.json.decode(body, type=_TokenFailure).error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        code = ""
    if code in _ENDED:
        return LoginNeeded(f"its authorization server has ended the login ({code})")
    said = code if _CODE.fullmatch(code) else f"HTTP {status}"
    return OAuthError(f"its authorization server refuses to issue a token ({said})")
