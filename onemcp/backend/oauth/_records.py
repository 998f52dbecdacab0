"""What is known of a login, and kept between two runs."""

from __future__ import annotations

from typing import Final

import attrs

FRESH_FOR: Final = 60.0
"""How long before its end a token is replaced, in seconds, or a fifth of its life if less."""


@attrs.frozen
class Registration:
    """onemcp as an authorization server knows it; never used at any other.

    Attributes:
        issuer: That authorization server.
        client_id: onemcp's id there.
        client_secret: The secret that goes with it, or None.
        method: How onemcp proves that it is this client (RFC 7591, token_endpoint_auth_method).
        redirect_uri: Where browsers may come back to; "" where none do.
        scopes: What it was registered for; None for anything.
        dynamic: Whether onemcp has registered itself.
    """

    issuer: str
    client_id: str
    client_secret: str | None = attrs.field(default=None, repr=False)
    method: str = "none"
    redirect_uri: str = ""
    scopes: tuple[str, ...] | None = None
    dynamic: bool = False


@attrs.frozen
class Tokens:
    """What an authorization server has issued.

    Attributes:
        access: The access token.
        refresh: What it is renewed with, or None.
        issued_at: When, in seconds since the epoch.
        lifetime: How long it is good for, in seconds, or None where that was not said.
        scopes: What it is good for.
    """

    access: str = attrs.field(repr=False)
    refresh: str | None = attrs.field(default=None, repr=False)
    issued_at: float = 0.0
    lifetime: float | None = None
    scopes: tuple[str, ...] = ()

    @property
    def renew_at(self) -> float | None:
        """When it is time to replace it, in seconds since the epoch, or None if never."""
        if self.lifetime is None:
            return None
        return self.issued_at + self.lifetime - min(FRESH_FOR, self.lifetime / 5)


@attrs.frozen
class LoginRecord:
    """A login at one backend.

    Attributes:
        backend: Its name.
        url: Its address: a login is no good for any other.
        resource: The identifier that its tokens are for.
        token_endpoint: Where they are renewed.
        registration: Who onemcp is there.
        tokens: What was issued; None once that is no good any more.
        asked: The scopes that were asked for.
        wanted: Those that the backend has asked for since.
        user: Whose login it is; "" for the one that everybody shares.
    """

    backend: str
    url: str
    resource: str
    token_endpoint: str
    registration: Registration
    tokens: Tokens | None = None
    asked: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    user: str = ""
