"""What clients say about themselves: registration (RFC 7591) and metadata documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from onemcp.auth._ids import new_id
from onemcp.auth.server._clients import CODE, REFRESH, Client, Origin
from onemcp.auth.server._errors import (
    INVALID_CLIENT,
    INVALID_CLIENT_METADATA,
    INVALID_REDIRECT_URI,
    OAuthError,
)
from onemcp.auth.server._records import Registration, digest, new_secret
from onemcp.auth.server._redirects import fault_of

MAX_DOCUMENT_BYTES: Final = 16 * 1024
MAX_REDIRECT_URIS: Final = 16
MAX_NAME: Final = 100
UNNAMED: Final = "a client without a name"
PUBLIC: Final = "none"
AUTH_METHODS: Final = (PUBLIC, "client_secret_basic", "client_secret_post")


def read_object(data: bytes) -> Mapping[str, Any]:
    """Read a JSON object of bounded size.

    Raises:
        OAuthError: It is none.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise OAuthError(INVALID_CLIENT_METADATA, "the metadata is too large", status=413)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise OAuthError(INVALID_CLIENT_METADATA, "the metadata is no JSON object")
    return document


def register(document: Mapping[str, Any], now: float) -> tuple[Registration, dict[str, Any]]:
    """Register a client (RFC 7591, section 3).

    Args:
        document: What it says about itself.
        now: The time, in seconds since the epoch.

    Returns:
        What is remembered, and what the client is told: its id, and its secret if it has one.

    Raises:
        OAuthError: It can't be registered like that.
    """
    method = _text(document, "token_endpoint_auth_method", "client_secret_basic")
    if method not in AUTH_METHODS:
        raise _bad("token_endpoint_auth_method must be one of " + ", ".join(AUTH_METHODS))
    grants = _grant_types(document)
    secret = "" if method == PUBLIC else new_secret()
    registration = Registration(
        id=new_id(),
        name=_name(document),
        redirect_uris=_redirect_uris(document),
        grant_types=grants,
        secret=digest(secret) if secret else "",
        created=int(now),
    )
    answer: dict[str, Any] = {
        "client_id": registration.id,
        "client_id_issued_at": registration.created,
        "client_name": registration.name,
        "redirect_uris": list(registration.redirect_uris),
        "grant_types": list(grants),
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if secret:
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    return registration, answer


def described(client_id: str, document: Mapping[str, Any]) -> Client:
    """Return the client that a metadata document describes.

    Implements the checks of OAuth Client ID Metadata Document, sections 4 and 4.1.

    Raises:
        OAuthError: The document is not one of this client.
    """
    if document.get("client_id") != client_id:
        raise OAuthError(INVALID_CLIENT, "the metadata document is about another client")
    if not isinstance(document.get("client_name"), str):
        raise OAuthError(INVALID_CLIENT, "the metadata document has no client_name")
    if "client_secret" in document or "client_secret_expires_at" in document:
        raise OAuthError(INVALID_CLIENT, "the metadata document has a secret in it")
    if _text(document, "token_endpoint_auth_method", PUBLIC) != PUBLIC:
        raise OAuthError(INVALID_CLIENT, "only public clients may be described by a document")
    return Client(
        id=client_id,
        name=_name(document),
        origin=Origin.DOCUMENT,
        redirect_uris=_redirect_uris(document),
        grant_types=_grant_types(document),
    )


def _bad(description: str) -> OAuthError:
    return OAuthError(INVALID_CLIENT_METADATA, description)


def _text(document: Mapping[str, Any], name: str, default: str) -> str:
    value = document.get(name, default)
    if not isinstance(value, str):
        raise _bad(f"{name} must be a string")
    return value


def _texts(document: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    values = document.get(name, list(default))
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _bad(f"{name} must be a list of strings")
    return tuple(dict.fromkeys(values))


def _name(document: Mapping[str, Any]) -> str:
    name = _text(document, "client_name", "").strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise _bad(f"client_name must be at most {MAX_NAME} printable characters")
    return name or UNNAMED


def _redirect_uris(document: Mapping[str, Any]) -> tuple[str, ...]:
    uris = _texts(document, "redirect_uris", ())
    if not 1 <= len(uris) <= MAX_REDIRECT_URIS:
        raise OAuthError(
            INVALID_REDIRECT_URI, f"redirect_uris must be 1 to {MAX_REDIRECT_URIS} URIs"
        )
    for uri in uris:
        fault = fault_of(uri)
        if fault is not None:
            raise OAuthError(INVALID_REDIRECT_URI, f"a redirect URI is refused: {fault}")
    return uris


def _grant_types(document: Mapping[str, Any]) -> tuple[str, ...]:
    asked = _texts(document, "grant_types", (CODE,))
    # What is not served to strangers is left out, and the client is told what it got.
    grants = tuple(grant for grant in (CODE, REFRESH) if grant in asked)
    if CODE not in grants:
        raise _bad("grant_types must have authorization_code")
    if "code" not in _texts(document, "response_types", ("code",)):
        raise _bad("response_types must have code")
    return grants
