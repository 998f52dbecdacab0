"""How onemcp makes itself known to one backend over HTTP, as the configuration says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._auth import https
from onemcp.config._rules import InvalidOption

Per: TypeAlias = Literal["server", "user"]
SigningAlgorithm: TypeAlias = Literal["ES256", "ES384", "RS256", "PS256", "EdDSA"]


def _document(_instance: object, attribute: Any, value: str | None) -> None:
    """Require an address that a Client ID Metadata Document can have (section 3 of its draft)."""
    if value is None:
        return
    rules.url(_instance, attribute, value)
    parts = urlsplit(value)
    if parts.scheme != "https" or parts.path in {"", "/"} or parts.username is not None:
        raise InvalidOption(
            attribute.name,
            "must be an https:// URL with a path, and without a user",
            "Write the address that the document is served at, which is its client_id as well",
        )


@attrs.frozen(kw_only=True)
class BearerLogin:
    """A token that somebody else sees to.

    Attributes:
        token_variable: The environment variable that holds it, or None.
        token_file: The file that holds it, read again whenever it changes, or None.
    """

    token_variable: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.matches(rules.VARIABLE_NAME))
    )
    token_file: Path | None = attrs.field(default=None, validator=rules.without_nul)

    def __attrs_post_init__(self) -> None:
        if (self.token_variable is None) == (self.token_file is None):
            raise InvalidOption(
                "token_variable",
                'needs either "tokenVariable" or "tokenFile"',
                "Name the environment variable or the file that holds the token",
            )


def _scopes() -> Any:
    return attrs.field(
        default=None,
        converter=attrs.converters.optional(rules.strings),
        validator=attrs.validators.optional(rules.scopes),
    )


def _issuer() -> Any:
    return attrs.field(default=None, validator=attrs.validators.optional(https))


@attrs.frozen(kw_only=True)
class ClientCredentialsLogin:
    """onemcp gets tokens on its own behalf (RFC 6749, section 4.4).

    Attributes:
        client_id: Its id at the authorization server.
        client_secret: Its secret there. Hidden from `repr`.
        private_key_file: The private key in PEM that it proves itself with instead (RFC 7523).
        algorithm: What that key signs with.
        scopes: What to ask for; None for what the backend names.
        issuer: The authorization server that the id belongs to; None for the one that the backend
            names.
    """

    client_id: str = attrs.field(validator=rules.not_blank)
    client_secret: str | None = attrs.field(default=None, repr=False)
    private_key_file: Path | None = attrs.field(default=None, validator=rules.without_nul)
    algorithm: SigningAlgorithm = attrs.field(
        default="ES256", validator=rules.one_of(get_args(SigningAlgorithm))
    )
    scopes: tuple[str, ...] | None = _scopes()
    issuer: str | None = _issuer()

    def __attrs_post_init__(self) -> None:
        if (not self.client_secret) == (self.private_key_file is None):
            raise InvalidOption(
                "client_secret",
                'needs either "clientSecret" or "privateKeyFile"',
                "Say how onemcp proves that it is this client",
            )


@attrs.frozen(kw_only=True)
class AuthorizationCodeLogin:
    """Somebody lets onemcp in with a browser, by `onemcp login` (RFC 6749, section 4.1).

    Attributes:
        client_id: onemcp's id at the authorization server, if it has been registered by hand.
        client_secret: The secret that goes with it, if any. Hidden from `repr`.
        client_metadata_url: Where a Client ID Metadata Document of this onemcp is, or None.
        callback_port: The port that the browser comes back to; 0 takes a free one.
        scopes: What to ask for; None for what the backend names.
        issuer: The authorization server that the id belongs to; None for the one that the backend
            names.
        per: Whether there is one login for everybody, or one for each user of onemcp.
        max_users: With one for each: how many users may be connected at once.
        user_idle: With one for each: after how many seconds a user's connections end that nobody
            uses.
    """

    client_id: str | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.not_blank)
    )
    client_secret: str | None = attrs.field(default=None, repr=False)
    client_metadata_url: str | None = attrs.field(default=None, validator=_document)
    callback_port: int = attrs.field(default=0, validator=rules.port)
    scopes: tuple[str, ...] | None = _scopes()
    issuer: str | None = _issuer()
    per: Per = attrs.field(default="server", validator=rules.one_of(get_args(Per)))
    max_users: int = attrs.field(default=256, validator=rules.at_least(1))
    user_idle: float = attrs.field(default=600.0, validator=rules.at_least(1))

    def __attrs_post_init__(self) -> None:
        if self.client_secret is not None and self.client_id is None:
            raise InvalidOption(
                "client_secret", 'goes with "clientId", which is missing', 'Add "clientId"'
            )


Login: TypeAlias = BearerLogin | ClientCredentialsLogin | AuthorizationCodeLogin

LOGINS: Final[Mapping[str, type[Login]]] = MappingProxyType(
    {
        "bearer": BearerLogin,
        "client_credentials": ClientCredentialsLogin,
        "authorization_code": AuthorizationCodeLogin,
    }
)
"""The kinds, by what `type` says."""
