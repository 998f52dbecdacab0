"""Who onemcp is to an authorization server (2026-07-28, Client Registration; RFC 7591). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from onemcp.backend.places import CLIENT_NAME
from onemcp.config import AuthorizationCodeLogin

from ._errors import NotNow, OAuthError
from ._metadata import ServerMetadata, read
from ._records import Registration
from ._tokens import method_for

METHODS: Final = ("none", "client_secret_basic", "client_secret_post")
"""How onemcp can prove who it is, best first, as a program on somebody's machine."""

WEB_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
"""The same for a service that browsers come back to."""

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_CREATED: Final = frozenset({200, 201})
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429
_LONGEST_CODE: Final = 64


def known(
    server: ServerMetadata,
    login: AuthorizationCodeLogin,
    redirect_uri: str,
    scopes: tuple[str, ...],
    before: Sequence[Registration],
) -> Registration | None:
    """Return who onemcp is there without registering, or None where it has to.

    By hand comes first, then a metadata document, then what it has registered itself as before.

    Args:
        server: The authorization server.
        login: What the configuration says.
        redirect_uri: Where the browser is to come back to.
        scopes: What is to be asked for.
        before: The registrations of earlier logins, perhaps at other authorization servers.
    """
    issuer = server.issuer
    if login.client_id is not None:
        secret = login.client_secret
        method = method_for(server, secret)
        return Registration(issuer, login.client_id, secret, method, redirect_uri)
    if login.client_metadata_url is not None and server.client_id_metadata_document_supported:
        return Registration(issuer, login.client_metadata_url, redirect_uri=redirect_uri)
    fitting = (
        each
        for each in before
        if each.dynamic
        and each.issuer == issuer
        and each.redirect_uri == redirect_uri
        and (each.scopes is None or set(scopes) <= set(each.scopes))
    )
    return next(fitting, None)


def registration_request(
    server: ServerMetadata, redirect_uri: str, scopes: tuple[str, ...]
) -> dict[str, object]:
    """Return what onemcp registers itself with.

    Raises:
        OAuthError: That isn't possible there.
    """
    if server.registration_endpoint is None:
        documents = server.client_id_metadata_document_supported
        instead = ', or serve a metadata document and set "auth.clientMetadataUrl"'
        raise OAuthError(
            "its authorization server lets no client register itself: register onemcp by hand "
            f'and set "auth.clientId"{instead if documents else ""}'
        )
    native = is_loopback(redirect_uri)
    known = METHODS if native else WEB_METHODS
    methods = [method for method in known if method in server.auth_methods]
    request: dict[str, object] = {
        "client_name": CLIENT_NAME,
        "application_type": "native" if native else "web",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": methods[0] if methods else known[0],
    }
    if scopes:
        request["scope"] = " ".join(scopes)
    return request


def is_loopback(redirect_uri: str) -> bool:
    """Tell whether browsers come back to a program on their own machine (RFC 8252, section 7.3)."""
    return urlsplit(redirect_uri).hostname in LOOPBACK


class _Answer(msgspec.Struct):
    client_id: str
    client_secret: str | None = None
    token_endpoint_auth_method: str | None = None


class _Failure(msgspec.Struct):
    error: str = ""


def read_registration(
    status: int,
    body: bytes,
    server: ServerMetadata,
    redirect_uri: str,
    scopes: tuple[str, ...],
) -> Registration:
    """Read the answer to it.

    Raises:
        NotNow: It may succeed later.
        OAuthError: It was refused, or makes no sense.
    """
    if status >= _SERVER_ERROR or status == _TOO_MANY:
        raise NotNow(f"its authorization server is not available (HTTP {status})")
    if status not in _CREATED:
        raise OAuthError(
            f"its authorization server refuses to register onemcp ({_code(body) or status}): "
            'register it by hand and set "auth.clientId", and "auth.callbackPort" if the redirect '
            f"URI has to be known; this one was {redirect_uri}"
        )
    answer = read(body, _Answer, "the registration at its authorization server")
    if not answer.client_id:
        raise OAuthError("the registration at its authorization server has no client_id")
    method = answer.token_endpoint_auth_method or method_for(server, answer.client_secret)
    if method not in METHODS:
        raise OAuthError("its authorization server wants a proof that onemcp cannot give")
    return Registration(
        server.issuer,
        answer.client_id,
        answer.client_secret,
        method,
        redirect_uri,
        scopes or None,
        dynamic=True,
    )


def _code(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Failure).error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    return error if error.replace("_", "").isalnum() and len(error) <= _LONGEST_CODE else ""
