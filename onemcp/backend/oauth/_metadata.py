"""Where metadata is looked for, and what of it is believed.

Implements 2026-07-28, Authorization Server Discovery: RFC 9728, sections 3 and 5; RFC 8414,
sections 3 and 5; OpenID Connect Discovery 1.0, section 4. Pure.
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeVar

import httpx
import msgspec

from onemcp.outbound import is_public

from ._errors import OAuthError

T = TypeVar("T")

S256: Final = "S256"
LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain"})

_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_SERVER: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


class ResourceMetadata(msgspec.Struct, frozen=True):
    """What a backend says about itself (RFC 9728, section 2).

    Attributes:
        resource: Its resource identifier.
        authorization_servers: The issuers of tokens for it.
        scopes_supported: The scopes for it, or None.
    """

    resource: str
    authorization_servers: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] | None = None


class ServerMetadata(msgspec.Struct, frozen=True):
    """What an authorization server says about itself (RFC 8414, section 2).

    Attributes:
        issuer: Its identifier.
        token_endpoint: Where tokens are had.
        authorization_endpoint: Where browsers are sent.
        registration_endpoint: Where clients register themselves.
        scopes_supported: The scopes it knows.
        code_challenge_methods_supported: How PKCE is done.
        token_endpoint_auth_methods_supported: How clients prove who they are.
        client_id_metadata_document_supported: Whether a client id may be the URL of a document.
        authorization_response_iss_parameter_supported: Whether its answers name it (RFC 9207).
    """

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    registration_endpoint: str | None = None
    scopes_supported: tuple[str, ...] | None = None
    code_challenge_methods_supported: tuple[str, ...] | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None = None
    client_id_metadata_document_supported: bool = False
    authorization_response_iss_parameter_supported: bool = False

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """How clients may prove who they are, with the default of RFC 8414."""
        methods = self.token_endpoint_auth_methods_supported
        return ("client_secret_basic",) if methods is None else methods


class Guard:
    """Decides which addresses that others name may be asked, for one backend.

    They are https, so that they are whose they claim to be. A backend elsewhere must not make
    onemcp ask what only this machine or its network can reach: addresses in numbers that are not
    public, and http, are for backends that are local themselves.
    """

    def __init__(self, url: str) -> None:
        """Decide for the backend at `url`."""
        self._is_local = _is_local(httpx.URL(url).host)

    def check(self, url: str, what: str) -> str:
        """Return an address that may be asked.

        Args:
            url: The address.
            what: What it is, for the message.

        Raises:
            OAuthError: It may not.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise OAuthError(f"{what} is no URL") from None
        if parsed.userinfo or parsed.fragment or not parsed.host:
            raise OAuthError(f"{what} is no URL of a service")
        local = _is_local(parsed.host)
        if parsed.scheme != "https" and not (parsed.scheme == "http" and local):
            raise OAuthError(f"{what} is not https")
        if local and not self._is_local:
            raise OAuthError(f"{what} is an address of this machine or of a private network")
        return url


def _is_local(host: str) -> bool:
    if host.lower() in LOCAL_NAMES or host.lower().endswith(".localhost"):
        return True
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        return False


def canonical(url: str) -> str:
    """Return the canonical URI of a backend (2026-07-28, Canonical Server URI)."""
    parsed = httpx.URL(url).copy_with(username=None, password=None, query=None, fragment=None)
    return str(parsed).rstrip("/") if parsed.path == "/" else str(parsed)


def resource_locations(url: str) -> tuple[str, ...]:
    """Return where a backend's metadata is looked for, if it doesn't say: at its path, the root."""
    parsed = httpx.URL(url)
    path = parsed.path.rstrip("/")
    locations = [_at(parsed, _RESOURCE + path), _at(parsed, _RESOURCE)]
    return tuple(dict.fromkeys(locations))


def server_locations(issuer: str) -> tuple[str, ...]:
    """Return where an authorization server's metadata is looked for, in order."""
    parsed = httpx.URL(issuer)
    path = parsed.path.rstrip("/")
    if not path:
        return (_at(parsed, _SERVER), _at(parsed, _OPENID))
    return (_at(parsed, _SERVER + path), _at(parsed, _OPENID + path), _at(parsed, path + _OPENID))


def _at(url: httpx.URL, path: str) -> str:
    return str(url.copy_with(path=path, query=None, fragment=None))


def read(body: bytes, kind: type[T], what: str) -> T:
    """Read a JSON document.

    Raises:
        OAuthError: It is not one of its kind.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # What is wrong with it is not repeated: it may hold secrets.
        raise OAuthError(f"{what} is not as it should be") from None


def check_resource(metadata: ResourceMetadata, url: str) -> str:
    """Return the identifier of the resource that tokens are for (RFC 9728, section 3.3).

    Raises:
        OAuthError: The metadata is another resource's: a token for it must not be asked for.
    """
    own, claimed = httpx.URL(canonical(url)), _parse(metadata.resource)
    same = (own.scheme, own.host, own.port) == (claimed.scheme, claimed.host, claimed.port)
    path = claimed.path.rstrip("/")
    if not same or not (own.path == claimed.path or f"{own.path}/".startswith(f"{path}/")):
        raise OAuthError("its metadata is that of another resource")
    return metadata.resource


def _parse(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise OAuthError("its metadata names no resource") from None


def choose_issuer(metadata: ResourceMetadata, wanted: str | None) -> str:
    """Return the authorization server to use (RFC 9728, section 7.6).

    Args:
        metadata: What the backend says.
        wanted: The one that the configuration insists on, or None.

    Raises:
        OAuthError: There is none, or not that one.
    """
    if wanted is not None and wanted not in metadata.authorization_servers:
        raise OAuthError(
            'the authorization server that "auth.issuer" names is not one of the backend\'s '
            "any more: register onemcp with the one that is"
        )
    if not metadata.authorization_servers:
        raise OAuthError("its metadata names no authorization server")
    return wanted or metadata.authorization_servers[0]


def check_server(metadata: ServerMetadata, issuer: str, guard: Guard) -> ServerMetadata:
    """Return the metadata of an authorization server once it can be believed.

    Args:
        metadata: What was found.
        issuer: The identifier that the place it was found at was made of.
        guard: Decides which addresses may be asked.

    Raises:
        OAuthError: It can't be.
    """
    if metadata.issuer != issuer:
        raise OAuthError("the metadata of its authorization server names another issuer")
    guard.check(metadata.token_endpoint, "the token endpoint")
    for url, what in (
        (metadata.authorization_endpoint, "the authorization endpoint"),
        (metadata.registration_endpoint, "the registration endpoint"),
    ):
        if url is not None:
            guard.check(url, what)
    return metadata


def check_pkce(metadata: ServerMetadata) -> None:
    """Check that an authorization server does PKCE with S256 (Authorization Code Protection).

    Raises:
        OAuthError: It does not say so.
    """
    if S256 not in (metadata.code_challenge_methods_supported or ()):
        raise OAuthError("its authorization server does not say that it supports PKCE with S256")
