"""Clients: in the configuration, registered by themselves, or described by a document of theirs."""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

import attrs

from onemcp.auth._scopes import Scope
from onemcp.auth.server._errors import INVALID_CLIENT, OAuthError
from onemcp.auth.server._forms import Form
from onemcp.auth.server._records import Registration, digest
from onemcp.auth.server._redirects import is_registered

CODE: Final = "authorization_code"
REFRESH: Final = "refresh_token"
SERVICE: Final = "client_credentials"


class Origin(enum.StrEnum):
    """How a client is known."""

    CONFIGURED = "configured"
    REGISTERED = "registered"
    DOCUMENT = "document"


def _strings(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen(kw_only=True)
class Client:
    """A program that asks for access.

    Attributes:
        id: Its client id.
        name: What people are told it is called.
        origin: How it is known.
        redirect_uris: Where browsers may be sent on its behalf.
        grant_types: The grants that it may use.
        secret: The SHA-256 of its secret; empty for public clients.
        scopes: What it may have at most; None for all of MCP.
    """

    id: str
    name: str
    origin: Origin
    redirect_uris: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    grant_types: tuple[str, ...] = attrs.field(default=(CODE, REFRESH), converter=_strings)
    secret: str = attrs.field(default="", repr=False)
    scopes: frozenset[Scope] | None = None

    @classmethod
    def registered(cls, registration: Registration) -> Client:
        """Return a client that has registered itself."""
        return cls(
            id=registration.id,
            name=registration.name,
            origin=Origin.REGISTERED,
            redirect_uris=registration.redirect_uris,
            grant_types=registration.grant_types,
            secret=registration.secret,
        )

    def may_redirect_to(self, uri: str) -> bool:
        """Tell whether browsers may be sent to a URI on its behalf."""
        return is_registered(uri, self.redirect_uris)


@attrs.frozen
class Credentials:
    """What a client says about itself with a request to the token endpoint.

    Attributes:
        client_id: Who it says it is.
        secret: What it proves it with; empty if it doesn't.
        basic: Whether it says so in the Authorization header.
    """

    client_id: str
    secret: str = attrs.field(default="", repr=False)
    basic: bool = False

    @classmethod
    def read(cls, form: Form, authorization: str | None) -> Credentials:
        """Read who a client says it is: in the one way or the other (RFC 6749, section 2.3.1).

        Raises:
            OAuthError: It doesn't say so, or in both ways.
        """
        if authorization is None:
            client_id = form.get("client_id")
            if client_id is None:
                raise refused("the client is not named")
            return cls(client_id, form.get("client_secret") or "")
        if form.get("client_secret") is not None:
            raise refused("the client authenticates in two ways", basic=True)
        found = _basic(authorization)
        if form.get("client_id") not in {None, found.client_id}:
            raise refused("the client is named twice", basic=True)
        return found

    def check(self, client: Client | None) -> Client:
        """Check that it is the client that it says it is.

        Raises:
            OAuthError: There is no such client, or the secret is not its.
        """
        # An unknown client takes as long, and is told the same.
        expected = client.secret if client is not None else ""
        given = digest(self.secret) if self.secret else ""
        if not hmac.compare_digest(given, expected) or client is None:
            raise refused("the client is unknown or its secret is wrong", basic=self.basic)
        return client


def refused(description: str, *, basic: bool = False) -> OAuthError:
    """Refuse a client (RFC 6749, section 5.2)."""
    return OAuthError(INVALID_CLIENT, description, status=401 if basic else 400)


def _basic(authorization: str) -> Credentials:
    scheme, _, encoded = authorization.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(" "), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon or not client_id or not secret:
        raise refused("the Authorization header is malformed", basic=True)
    return Credentials(unquote_plus(client_id), unquote_plus(secret), basic=True)
