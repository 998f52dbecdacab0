"""The gate: what a request's headers must say before anything else looks at it. Sans-IO.

The frontend asks in this order, and answers a `RequestRefused` with its `status` and challenge:

1. `check_host` and `check_origin`, against DNS rebinding: a web page of somebody else's, whose name
   was made to point at this machine, still sends its own name as Host and as Origin.
2. `authenticate`, which takes a token from the Authorization header and from nowhere else.

Whoever may not come in is told where to get a token, if there is an authorization server: by the
address of the resource's metadata (RFC 9728, section 5.1) and the scope to ask for.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

import attrs

from onemcp.auth._errors import BadRequest, Forbidden, InsufficientScope, InvalidToken, Unauthorized
from onemcp.auth._metadata import scopes_of
from onemcp.auth._principal import ANONYMOUS, Principal
from onemcp.auth._resource import Resource
from onemcp.auth._scopes import ADMIN, Scope, in_words, rights_of
from onemcp.auth._verifier import Token, TokenVerifier
from onemcp.protocol.httpheaders import Headers, values_of

Mode: TypeAlias = Literal["local", "external", "none"]

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
WILDCARDS: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104  (left out, not bound)
DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
QUOTED_CHARACTERS: Final = 80

AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
WEB_ORIGIN = re.compile(r"(https?)://(.+)")
ANY_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s*]+")

INSUFFICIENT: Final = (
    'error="insufficient_scope", error_description="The access token is good for less than this"'
)
CHALLENGE: Final = 'Bearer realm="onemcp"'
REFUSED: Final = (
    'error="invalid_token", error_description="The access token is invalid or has expired"'
)


class _Authority(NamedTuple):
    name: str
    port: str

    @classmethod
    def parse(cls, text: str) -> "_Authority | None":
        """Read `host[:port]` (RFC 9112, section 3.2); None for anything else."""
        return _authority(text)

    def with_port(self, scheme: str) -> "_Authority":
        return self._replace(port=self.port or DEFAULT_PORTS[scheme])


@lru_cache(maxsize=256)
def _authority(text: str) -> _Authority | None:
    match = AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    name, port = match.group(1), match.group(2) or ""
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1]).compressed}]"
        except ValueError:
            return None
    return _Authority(name, port)


def no_more(principal: Principal) -> tuple[Scope, ...]:
    """Tell that somebody can't come to have anything: a token is good for what it is good for."""
    del principal
    return ()


def _as_tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _read_entry(entry: str) -> _Authority | None:
    # An IPv6 address may stand without brackets, as sockets and people write it.
    return _Authority.parse(f"[{entry}]" if entry.count(":") > 1 and entry[0] != "[" else entry)


def _read_allowed_hosts(entries: Iterable[str]) -> frozenset[_Authority]:
    hosts = set()
    for entry in entries:
        authority = _read_entry(entry)
        if authority is None:
            raise ValueError(
                f"{entry!r} is no host: write a name or an address, without a scheme, a path "
                'or wildcards, such as "mcp.example.com"'
            )
        hosts.add(authority)
    return frozenset(hosts)


def _read_bound_hosts(entries: Iterable[str]) -> frozenset[str]:
    """Keep the names that a client can mean: a wildcard address is none."""
    authorities = (_read_entry(entry.partition("%")[0]) for entry in entries)
    return frozenset(authority.name for authority in authorities if authority) - WILDCARDS


def _read_allowed_origins(entries: Iterable[str]) -> frozenset[str]:
    origins = set()
    for entry in entries:
        origin = entry.lower().removesuffix("/")
        if not ANY_ORIGIN.fullmatch(origin):
            raise ValueError(
                f"{entry!r} is no origin: write the scheme, the host and the port if any, "
                'such as "https://app.example.com"'
            )
        scheme = origin.partition(":")[0]
        # Browsers leave the default port out.
        origins.add(origin.removesuffix(f":{DEFAULT_PORTS.get(scheme, '')}"))
    return frozenset(origins)


class Presented(NamedTuple):
    """What somebody wants to be let in with, as the headers of a request say.

    Attributes:
        token: The token; None where nobody is asked for one.
        resource: Where it has to be good.
    """

    token: Token | None
    resource: Resource


@attrs.frozen(kw_only=True, eq=False)
class Gate:
    """Decides, by its headers, whether a request may come in and as whom.

    Attributes:
        mode: `local` and `external` ask for a token, `none` lets in as `ANONYMOUS`.
        verifier: Checks the tokens; needed unless everybody is let in.
        issuers: The authorization servers elsewhere that clients are sent to.
        own_issuer: Whether clients are sent to the gateway's own.
        rights: Tells what a principal may do by now.
        attainable: Tells what a principal could come to have by asking for it.
        public_url: The origin that clients use; None where it is what their Host says.
        allowed_hosts: Hosts accepted besides loopback and the bound addresses; one that is given
            with a port is accepted with that port only.
        allowed_origins: Origins accepted besides loopback and the server's own.
        bound_hosts: The addresses that the server listens on.
    """

    mode: Mode = attrs.field(validator=attrs.validators.in_(("local", "external", "none")))
    verifier: TokenVerifier | None = None
    issuers: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    own_issuer: bool = False
    rights: Callable[[Principal], Iterable[Scope]] = attrs.field(default=rights_of, repr=False)
    attainable: Callable[[Principal], Iterable[Scope]] = attrs.field(default=no_more, repr=False)
    public_url: str | None = None
    allowed_hosts: frozenset[_Authority] = attrs.field(default=(), converter=_read_allowed_hosts)
    allowed_origins: frozenset[str] = attrs.field(default=(), converter=_read_allowed_origins)
    bound_hosts: frozenset[str] = attrs.field(default=(), converter=_read_bound_hosts)

    def __attrs_post_init__(self) -> None:
        if self.mode != "none" and self.verifier is None:
            raise ValueError(f'mode "{self.mode}" needs a verifier')

    def check_host(self, headers: Headers) -> None:
        """Check that the client meant this server.

        Raises:
            BadRequest: No Host, or several.
            Forbidden: The Host is none of this server's.
        """
        self._accepted_host(_only(headers, b"host"))

    def check_origin(self, headers: Headers) -> None:
        """Check that the page that calls, if one does, may (MCP, "Security & Endpoint").

        Raises:
            BadRequest: Several Origins, or no single Host to compare with.
            Forbidden: The Origin may not call.
        """
        origin = _only(headers, b"origin")
        if origin is not None and not self._is_accepted_origin(origin, headers):
            raise Forbidden("The Origin is not allowed", reason=f"origin {_quote(origin)}")

    def resource(self, headers: Headers, path: str) -> Resource:
        """Tell what is meant by a path, in the words of the client that asks for it.

        Args:
            headers: The request's, whose Host has been checked.
            path: The endpoint; empty for all of them.
        """
        if self.public_url is not None:
            return Resource(self.public_url, path)
        return _resource_at(_only(headers, b"host") or b"", path)

    def authorization_servers(self, resource: Resource) -> tuple[str, ...]:
        """Return the issuers whose tokens are good for a resource."""
        return (resource.origin, *self.issuers) if self.own_issuer else self.issuers

    def authenticate(self, headers: Headers, now: float, path: str = "") -> Principal:
        """Tell who is calling; `presented` and `admit` at once."""
        return self.admit(self.presented(headers, path), now)

    def presented(self, headers: Headers, path: str = "") -> Presented:
        """Read what a request wants to be let in with, which depends on its headers alone.

        Args:
            headers: The request's, as ASGI has them; its Host has been checked.
            path: The endpoint that is called; empty for all of them.

        Raises:
            BadRequest: Several Authorization headers.
            Unauthorized: No token, or nothing that can be one.
        """
        authorization = _only(headers, b"authorization")
        resource = self.resource(headers, path)
        if self.verifier is None or self.mode == "none":
            return Presented(None, resource)
        scheme, _, token = (authorization or b"").decode("latin-1").partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not token:
            # RFC 6750, section 3.1: no error code where no token was presented
            raise Unauthorized(
                "An access token is needed",
                reason="no token" if authorization is None else "no bearer token",
                www_authenticate=self._challenge(resource),
            )
        try:
            return Presented(Token.of(token), resource)
        except InvalidToken as error:
            raise self._refused(error, resource) from None

    def admit(self, presented: Presented, now: float) -> Principal:
        """Tell who is calling.

        Args:
            presented: What the request wants to be let in with.
            now: The time, in seconds since the epoch.

        Raises:
            Unauthorized: The token lets nobody in.
        """
        if self.verifier is None or presented.token is None:
            return ANONYMOUS
        try:
            return self.verifier.verify(presented.token, now, presented.resource)
        except InvalidToken as error:
            raise self._refused(error, presented.resource) from None

    def _refused(self, error: InvalidToken, resource: Resource) -> Unauthorized:
        challenge = self._challenge(resource, REFUSED)
        return Unauthorized(str(error), reason=error.reason, www_authenticate=challenge)

    def is_admin(self, principal: Principal) -> bool:
        """Tell whether somebody who was let in may administer the gateway by now."""
        return ADMIN in self.standing_rights(principal)

    def authenticate_admin(self, headers: Headers, now: float, path: str) -> Principal:
        """Tell who is calling, who must be somebody who may administer the gateway.

        Args:
            headers: As for `authenticate`.
            now: As for `authenticate`.
            path: The endpoint whose tokens count.

        Raises:
            BadRequest: As for `authenticate`.
            Unauthorized: As for `authenticate`.
            InsufficientScope: The token isn't good for that.
        """
        principal = self.authenticate(headers, now, path)
        if not self.is_admin(principal):
            raise self.insufficient(headers, path, {ADMIN}, principal)
        return principal

    def current_rights(self, principal: Principal) -> Iterable[Scope]:
        """Tell what somebody may do by now who has just been let in."""
        if principal.is_owner:
            return rights_of(principal)
        return rights_of(ANONYMOUS) if self.mode == "none" else self.rights(principal)

    def standing_rights(self, principal: Principal) -> Iterable[Scope]:
        """Tell what somebody who was let in may do by now; nothing, if the token is revoked."""
        verifier = None if self.mode == "none" or principal.is_owner else self.verifier
        if verifier is not None and not verifier.stands(principal):
            return ()
        return self.current_rights(principal)

    def insufficient(
        self,
        headers: Headers,
        path: str = "",
        needed: Iterable[Scope] = (),
        principal: Principal | None = None,
    ) -> InsufficientScope:
        """Return the refusal of somebody who lacks rights (MCP, "Scope Challenge Handling").

        Without rights to anything at an endpoint it is the same whether there is one or not.

        Args:
            headers: The request's, as ASGI has them; its Host has been checked.
            path: The endpoint that is called; empty for all of them.
            needed: What the request takes; by default what opens the endpoint.
            principal: Whose they are, as far as it is known.
        """
        resource = self.resource(headers, path)
        scope = in_words(needed) or " ".join(scopes_of(resource))
        challenge = self._challenge(resource, INSUFFICIENT, scope=scope)
        return InsufficientScope(scope, principal, www_authenticate=challenge)

    def _challenge(self, resource: Resource, *more: str, scope: str = "") -> str:
        where = []
        if self.authorization_servers(resource):
            scope = scope or " ".join(scopes_of(resource))
            where = [f'resource_metadata="{resource.metadata_url}"', f'scope="{scope}"']
        return ", ".join([CHALLENGE, *more, *where])

    def _accepted_host(self, host: bytes | None) -> _Authority:
        if host is None:
            raise BadRequest("The Host header is missing", reason="no host")
        authority = _Authority.parse(host.decode("latin-1"))
        if authority is None or not self._is_own(authority):
            raise Forbidden("The Host is not allowed", reason=f"host {_quote(host)}")
        return authority

    def _is_own(self, host: _Authority) -> bool:
        return (
            host.name in LOOPBACK
            or self._is_public(host)
            or host.name in self.bound_hosts
            or host._replace(port="") in self.allowed_hosts
            or host in self.allowed_hosts
        )

    def _is_public(self, host: _Authority) -> bool:
        scheme, _, public = (self.public_url or "").partition("://")
        authority = _Authority.parse(public)
        return authority is not None and host.with_port(scheme) == authority.with_port(scheme)

    def _is_accepted_origin(self, origin: bytes, headers: Headers) -> bool:
        text = origin.decode("latin-1").lower()
        if text in self.allowed_origins or text == self.public_url:
            return True
        match = WEB_ORIGIN.fullmatch(text)
        authority = match and _Authority.parse(match.group(2))
        if match is None or authority is None:
            return False
        if authority.name in LOOPBACK:
            return True
        # Own only if the Host is: a rebound name is its own origin too. TLS may have ended before
        # us, so that the scheme is the Origin's to say.
        host, scheme = self._accepted_host(_only(headers, b"host")), match.group(1)
        return authority.with_port(scheme) == host.with_port(scheme)


def _only(headers: Headers, name: bytes) -> bytes | None:
    """Take the one header of a name; which of two counts is nothing to guess about."""
    values = values_of(headers, name)
    if len(values) > 1:
        title = name.decode().title()
        raise BadRequest(f"The {title} header is doubled", reason=f"doubled {name.decode()}")
    return values[0] if values else None


@lru_cache(maxsize=256)
def _resource_at(host: bytes, path: str) -> Resource:
    return Resource(f"http://{host.decode('latin-1').lower().removesuffix(':80')}", path)


def _quote(value: bytes) -> str:
    return ascii(value[:QUOTED_CHARACTERS].decode("latin-1"))
