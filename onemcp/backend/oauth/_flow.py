"""From a backend's challenge to tokens: discovery, registration and requests for tokens.

Implements 2026-07-28, Authorization, Authorization Flow Steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from onemcp.config import AuthorizationCodeLogin

from ._authorization import Authorization
from ._challenge import Challenge
from ._errors import NotNow, OAuthError
from ._fetch import Fetcher
from ._metadata import (
    Guard,
    ResourceMetadata,
    ServerMetadata,
    canonical,
    check_resource,
    check_server,
    choose_issuer,
    read,
    resource_locations,
    server_locations,
)
from ._records import LoginRecord, Registration, Tokens
from ._registration import known, read_registration, registration_request
from ._tokens import TokenRequest, prove, read_tokens

_OK: Final = 200
_SERVER_ERROR: Final = 500


@attrs.frozen
class Discovered:
    """What tokens for a backend are asked for with.

    Attributes:
        resource: The identifier of the backend.
        scopes_supported: The scopes it names, or None.
        server: Its authorization server.
    """

    resource: str
    scopes_supported: tuple[str, ...] | None
    server: ServerMetadata


@attrs.frozen
class Flow:
    """Asks on behalf of one backend.

    Attributes:
        url: Its address.
        fetcher: Sends the requests.
        guard: Decides which addresses may be asked.
        now: Tells the time, in seconds since the epoch.
    """

    url: str
    fetcher: Fetcher
    guard: Guard = attrs.field(default=attrs.Factory(lambda self: Guard(self.url), takes_self=True))
    now: Callable[[], float] = time.time

    async def discover(self, challenge: Challenge, issuer: str | None) -> Discovered:
        """Find the backend's authorization server.

        Args:
            challenge: What the backend has said.
            issuer: The authorization server that the configuration insists on, or None.

        Raises:
            OAuthError: There is none that can be used.
        """
        metadata = await self._resource(challenge)
        resource = check_resource(metadata, self.url)
        chosen = choose_issuer(metadata, issuer)
        self.guard.check(chosen, "the authorization server")
        for location in server_locations(chosen):
            body = await self._document(location)
            if body is not None:
                server = read(body, ServerMetadata, "the metadata of its authorization server")
                check_server(server, chosen, self.guard)
                return Discovered(resource, metadata.scopes_supported, server)
        raise OAuthError("its authorization server has no metadata")

    async def _resource(self, challenge: Challenge) -> ResourceMetadata:
        said = challenge.resource_metadata
        for location in resource_locations(canonical(self.url)) if said is None else (said,):
            body = await self._document(self.guard.check(location, "the place of its metadata"))
            if body is not None:
                return read(body, ResourceMetadata, "its metadata")
        raise OAuthError("it has no metadata that names an authorization server")

    async def _document(self, location: str) -> bytes | None:
        fetched = await self.fetcher.get(location)
        if fetched.status >= _SERVER_ERROR:
            raise NotNow(f"the metadata is not available (HTTP {fetched.status})")
        return fetched.body if fetched.status == _OK else None

    async def register(
        self,
        server: ServerMetadata,
        login: AuthorizationCodeLogin,
        redirect_uri: str,
        scopes: tuple[str, ...],
        before: Sequence[Registration],
    ) -> Registration:
        """Return who onemcp is to an authorization server; see `known` for the arguments.

        Raises:
            OAuthError: It is nobody there.
        """
        registration = known(server, login, redirect_uri, scopes, before)
        if registration is not None:
            return registration
        request = registration_request(server, redirect_uri, scopes)
        # There is an endpoint, or else there were no request.
        fetched = await self.fetcher.post_json(server.registration_endpoint or "", request)
        return read_registration(fetched.status, fetched.body, server, redirect_uri, scopes)

    async def redeem(
        self,
        token_endpoint: str,
        resource: str,
        registration: Registration,
        authorization: Authorization,
        code: str,
    ) -> Tokens:
        """Redeem an authorization code.

        Args:
            token_endpoint: Where; it was checked when it was found.
            resource: The identifier that the tokens are for.
            registration: Who onemcp is there.
            authorization: What the code is the answer to.
            code: The code.

        Raises:
            OAuthError: There is no token for it.
        """
        request = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": authorization.redirect_uri,
            "code_verifier": authorization.verifier,
            "resource": resource,
        }
        proven = prove(request, registration, None)
        return await self._tokens(token_endpoint, proven, authorization.scopes)

    async def refresh(self, record: LoginRecord, tokens: Tokens) -> Tokens:
        """Renew tokens (RFC 6749, section 6). What is not renewed of them stays.

        Raises:
            OAuthError: They can't be.
        """
        request = {
            "grant_type": "refresh_token",
            "refresh_token": tokens.refresh or "",
            "resource": record.resource,
        }
        proven = prove(request, record.registration, None)
        renewed = await self._tokens(record.token_endpoint, proven, tokens.scopes)
        return attrs.evolve(renewed, refresh=renewed.refresh or tokens.refresh)

    async def client_credentials(
        self,
        found: Discovered,
        registration: Registration,
        scopes: tuple[str, ...],
        assertion: Callable[[], str] | None,
    ) -> Tokens:
        """Get a token on onemcp's own behalf (RFC 6749, section 4.4).

        Raises:
            OAuthError: There is none.
        """
        request = {"grant_type": "client_credentials", "resource": found.resource}
        if scopes:
            request["scope"] = " ".join(scopes)
        proven = prove(request, registration, assertion)
        return await self._tokens(found.server.token_endpoint, proven, scopes)

    async def _tokens(self, endpoint: str, request: TokenRequest, asked: tuple[str, ...]) -> Tokens:
        self.guard.check(endpoint, "the token endpoint")
        fetched = await self.fetcher.post_form(endpoint, request.form, request.headers)
        return read_tokens(fetched.status, fetched.body, asked=asked, now=self.now())
