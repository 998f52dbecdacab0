"""Who may call, as the configuration says it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._rules import InvalidOption

AuthMode: TypeAlias = Literal["local", "external", "none"]
TokenType: TypeAlias = Literal["at+jwt", "JWT"]

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
    """

    issuer: str = attrs.field(validator=https)
    jwks: Path | None = attrs.field(default=None, validator=rules.without_nul)
    jwks_url: str | None = attrs.field(default=None, validator=attrs.validators.optional(https))
    token_types: tuple[TokenType, ...] = attrs.field(default=("at+jwt",), converter=rules.strings)
    scopes: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, validator=rules.scopes
    )

    def __attrs_post_init__(self) -> None:
        if (self.jwks is None) == (self.jwks_url is None):
            raise InvalidOption(
                "jwks",
                'needs either "jwks" or "jwksUrl"',
                "Name a file with its public keys, or the address to fetch them from",
            )


@attrs.frozen(kw_only=True)
class Auth:
    """Who may call.

    Attributes:
        mode: `local` asks for tokens of onemcp itself, `external` for those of `issuers`, `none`
            for nothing.
        issuers: Whose tokens let in.
    """

    mode: AuthMode = attrs.field(default="local", validator=rules.one_of(get_args(AuthMode)))
    issuers: tuple[Issuer, ...] = attrs.field(default=(), converter=_issuers)

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
