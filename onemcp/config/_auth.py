"""Who may call, as the configuration says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._rules import InvalidOption

AuthMode: TypeAlias = Literal["local", "external", "none"]
TokenType: TypeAlias = Literal["at+jwt", "JWT"]

ACCOUNT = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?")
LEAST_SECRET = 24
DAY = 86_400
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def https(_instance: object, attribute: Any, value: str) -> None:
    """Require an absolute URL that nobody on the way can read, or one on this machine."""
    rules.url(_instance, attribute, value)
    parts = urlsplit(value)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise InvalidOption(attribute.name, "must be an https:// URL", "Use https")


def _issuers(issuers: Iterable[Issuer]) -> tuple[Issuer, ...]:
    return tuple(issuers)


@attrs.frozen(kw_only=True)
class Issuer:
    """An authorization server elsewhere whose tokens let in.

    Attributes:
        issuer: Its issuer identifier, as its tokens say it.
        jwks: The file with its public keys, or None.
        jwks_url: Where its public keys are fetched, or None.
        token_types: What the `typ` of its tokens may be.
        scopes: What each of its tokens is good for, besides what it says itself.
        admins: The subjects whose tokens may say that they are good for administration.
    """

    issuer: str = attrs.field(validator=https)
    jwks: Path | None = attrs.field(default=None, validator=rules.without_nul)
    jwks_url: str | None = attrs.field(default=None, validator=attrs.validators.optional(https))
    token_types: tuple[TokenType, ...] = attrs.field(default=("at+jwt",), converter=rules.strings)
    scopes: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, validator=rules.scopes
    )
    admins: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)

    def __attrs_post_init__(self) -> None:
        if (self.jwks is None) == (self.jwks_url is None):
            raise InvalidOption(
                "jwks",
                'needs either "jwks" or "jwksUrl"',
                "Name a file with its public keys, or the address to fetch them from",
            )


@attrs.frozen(kw_only=True)
class User:
    """Somebody who may log in, and let clients in.

    Attributes:
        password: The hash that `onemcp user hash` makes. Hidden from `repr`.
        scopes: What the user may do, and let clients do.
    """

    password: str = attrs.field(repr=False, validator=rules.not_blank)
    scopes: tuple[str, ...] = attrs.field(
        default=("mcp",), converter=rules.strings, validator=rules.scopes
    )


@attrs.frozen(kw_only=True)
class OAuthClient:
    """A program that is known beforehand: for people if it has redirect URIs, else a service.

    Attributes:
        name: What people are told it is called; None for its id.
        redirect_uris: Where browsers may be sent on its behalf.
        secret: Its secret, if it can keep one. Hidden from `repr`.
        scopes: What it may do at most; None for whatever its users may.
    """

    name: str | None = None
    redirect_uris: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)
    secret: str | None = attrs.field(default=None, repr=False)
    scopes: tuple[str, ...] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(rules.strings),
        validator=attrs.validators.optional(rules.scopes),
    )

    def __attrs_post_init__(self) -> None:
        if self.secret is not None and len(self.secret) < LEAST_SECRET:
            raise InvalidOption(
                "secret", f"has less than {LEAST_SECRET} characters", "Make a longer one at random"
            )
        if not self.redirect_uris and (self.secret is None or not self.scopes):
            raise InvalidOption(
                "redirect_uris",
                'is missing, which makes it a service, but a service needs "secret" and "scopes"',
                'Add "redirectUris", or both of the others',
            )


def _by_name(values: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(values))


def _names(_instance: object, attribute: Any, values: Mapping[str, Any]) -> None:
    for name in values:
        if not ACCOUNT.fullmatch(name):
            raise InvalidOption(
                attribute.name, f"{name!r} is no name", "Use 1 to 128 printable ASCII characters"
            )


def _zero_or_a_day(_instance: object, attribute: Any, value: float) -> None:
    if value and not value >= DAY:  # so that NaN fails too
        raise InvalidOption(
            attribute.name, f"must be 0 or at least {DAY}", "Write 0 to keep a key for ever"
        )


@attrs.frozen(kw_only=True)
class Auth:
    """Who may call.

    Attributes:
        mode: `local` asks for tokens of onemcp itself, `external` for those of `issuers`, `none`
            for nothing.
        issuers: Whose tokens let in.
        users: Who may log in, by name.
        clients: Programs that are known beforehand, by client id.
        registration: Whether clients may register themselves.
        documents: Whether clients may be described by a document whose address is their id.
        registrations: How many of those are kept.
        access_token_lifetime: How long an access token is good for, in seconds.
        refresh_token_lifetime: How long a client may leave a login unused, in seconds.
        consent_lifetime: After how long people are asked again, in seconds.
        key_file: The keys that tokens are signed with, if not onemcp's own.
        key_lifetime: After how long there is a new one of onemcp's own, in seconds; 0 for never.
    """

    mode: AuthMode = attrs.field(default="local", validator=rules.one_of(get_args(AuthMode)))
    issuers: tuple[Issuer, ...] = attrs.field(default=(), converter=_issuers)
    users: Mapping[str, User] = attrs.field(
        factory=dict, converter=_by_name, hash=False, validator=_names
    )
    clients: Mapping[str, OAuthClient] = attrs.field(
        factory=dict, converter=_by_name, hash=False, validator=_names
    )
    registration: bool = True
    documents: bool = False
    registrations: int = attrs.field(default=1000, validator=rules.at_least(1))
    access_token_lifetime: float = attrs.field(default=900.0, validator=rules.at_least(1))
    refresh_token_lifetime: float = attrs.field(default=2_592_000.0, validator=rules.at_least(1))
    consent_lifetime: float = attrs.field(default=7_776_000.0, validator=rules.at_least(1))
    key_file: Path | None = attrs.field(default=None, validator=rules.without_nul)
    key_lifetime: float = attrs.field(default=7_776_000.0, validator=_zero_or_a_day)

    def __attrs_post_init__(self) -> None:
        names = [issuer.issuer for issuer in self.issuers]
        if len(names) != len(set(names)):
            raise InvalidOption("issuers", "names an issuer twice", "Remove one")
        if self.mode == "external" and not names:
            raise InvalidOption(
                "issuers",
                'is empty, but "mode" is "external"',
                'Add {"issuer": "https://...", "jwks": "keys.json"}',
            )
        if self.mode != "external" and names:
            raise InvalidOption(
                "issuers",
                f'goes with "mode": "external", not "{self.mode}"',
                'Remove "issuers", or set "mode" to "external"',
            )
        services = {name for name, client in self.clients.items() if client.secret is not None}
        if taken := sorted(services & self.users.keys()):
            raise InvalidOption(
                "clients",
                f"{taken[0]!r} is the name of a user, too: with tokens of its own it would be "
                "taken for that user",
                "Rename one of the two",
            )
