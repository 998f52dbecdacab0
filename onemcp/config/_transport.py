"""How a backend is reached: as a program of our own, or over HTTP."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import attrs

from onemcp.config import _rules as rules
from onemcp.config._login import AuthorizationCodeLogin, Login
from onemcp.config._rules import InvalidOption

HttpType: TypeAlias = Literal["streamable-http", "sse"]


@attrs.frozen(kw_only=True)
class StdioTransport:
    """A backend that onemcp starts as a child process and speaks to over its stdin and stdout.

    Attributes:
        command: The program, looked up on PATH.
        args: Its arguments. Hidden from `repr`: they may hold secrets.
        env: Variables set for the program, over what it inherits. Values hidden from `repr`.
        cwd: Its working directory; None means onemcp's own.
        inherit: Names of variables handed on from onemcp's environment besides the usual few.
    """

    command: str = attrs.field(validator=rules.not_blank)
    args: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, repr=rules.show_count, validator=rules.without_nul
    )
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=rules.read_only,
        repr=rules.show_keys,
        hash=False,
        validator=rules.variables,
    )
    cwd: Path | None = attrs.field(default=None, validator=rules.without_nul)
    inherit: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)


@attrs.frozen(kw_only=True)
class Tls:
    """How a backend's certificate is verified.

    Attributes:
        ca_file: The file with the certificates of the authorities to trust, in PEM; None trusts
            the usual ones.
    """

    ca_file: Path | None = attrs.field(default=None, validator=rules.without_nul)


@attrs.frozen(kw_only=True)
class HttpTransport:
    """A backend that runs elsewhere and is spoken to over HTTP.

    Attributes:
        url: Its MCP endpoint. `repr` shows the origin only.
        others: The endpoints of its further replicas.
        headers: Sent with every request. Values hidden from `repr`.
        type: The transport it speaks; None when the configuration does not say.
        tls: How its certificate is verified.
        auth: How onemcp logs in at it; None leaves that to `headers` and to `onemcp login`.
        socket: The Unix socket that it listens on instead of what its URL names; for bridges, the
            configuration file can't say it.
    """

    url: str = attrs.field(repr=rules.show_origin, validator=rules.url)
    others: tuple[str, ...] = attrs.field(
        default=(), converter=rules.strings, repr=rules.show_count, validator=rules.urls
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict,
        converter=rules.read_only,
        repr=rules.show_keys,
        hash=False,
        validator=rules.headers,
    )
    type: HttpType | None = attrs.field(
        default=None, validator=attrs.validators.optional(rules.one_of(get_args(HttpType)))
    )
    tls: Tls = attrs.field(factory=Tls)
    auth: Login | None = None
    socket: Path | None = None

    def __attrs_post_init__(self) -> None:
        if self.auth is not None and any(name.lower() == "authorization" for name in self.headers):
            raise InvalidOption(
                "auth", "contradicts the Authorization header", "Keep one of the two"
            )
        has_user = any(urlsplit(url).username for url in self.urls)
        if isinstance(self.auth, AuthorizationCodeLogin) and has_user:
            raise InvalidOption("auth", "contradicts the user in the URL", "Keep one of the two")
        if (
            isinstance(self.auth, AuthorizationCodeLogin)
            and self.auth.per == "user"
            and self.others
        ):
            raise InvalidOption(
                "auth",
                "one login of a user does not serve several addresses",
                'Keep one address in "url", or have one login for everybody at each',
            )
        if self.tls.ca_file is not None and not all(map(_is_https, self.urls)):
            raise InvalidOption(
                "tls", 'needs an "https://" URL, for others have no certificate', "Use https"
            )

    @property
    def urls(self) -> tuple[str, ...]:
        """The endpoints of all replicas."""
        return self.url, *self.others


def _is_https(url: str) -> bool:
    return url.lower().startswith("https:")


Transport: TypeAlias = StdioTransport | HttpTransport
