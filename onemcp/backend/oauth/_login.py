"""A person's login with a browser, from the backend's challenge to what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from onemcp.config import AuthorizationCodeLogin

from ._authorization import Authorization, select_scopes
from ._challenge import Challenge, read_challenge
from ._flow import Flow
from ._metadata import check_pkce
from ._records import LoginRecord, Registration

UNAUTHORIZED: Final = 401

_ACCEPT: Final = {"accept": "application/json, text/event-stream"}
_MODERN: Final[Mapping[str, str]] = {
    **_ACCEPT,
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "server/discover",
}
_META: Final[Mapping[str, Any]] = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
_PROBES: Final[Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]] = (
    (
        {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}},
        _MODERN,
    ),
    ({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, _ACCEPT),
)
"""Requests that change nothing, one for each era: a backend refuses them for want of a token."""


@attrs.frozen
class PendingLogin:
    """A login that waits for the browser.

    Attributes:
        url: Where to send it.
        authorization: What it has to come back with.
        resource: The identifier that its tokens are to be for.
        token_endpoint: Where what comes back is redeemed.
        registration: Who onemcp is there.
    """

    url: str = attrs.field(repr=False)
    authorization: Authorization
    resource: str
    token_endpoint: str
    registration: Registration

    async def finish(
        self, flow: Flow, backend: str, answer: Mapping[str, Sequence[str]], user: str = ""
    ) -> LoginRecord:
        """Check what the browser came back with, and redeem it.

        Args:
            flow: Asks on behalf of the backend.
            backend: Its name.
            answer: The parameters.
            user: Whose login it is; "" for the one that everybody shares.

        Raises:
            OAuthError: It was no success.
        """
        code = self.authorization.code(answer)
        tokens = await flow.redeem(
            self.token_endpoint, self.resource, self.registration, self.authorization, code
        )
        return LoginRecord(
            backend,
            flow.url,
            self.resource,
            self.token_endpoint,
            self.registration,
            tokens,
            self.authorization.scopes,
            user=user,
        )


async def begin_login(
    flow: Flow,
    login: AuthorizationCodeLogin,
    redirect_uri: str,
    *,
    before: LoginRecord | None,
    headers: Mapping[str, str],
    others: Sequence[Registration] = (),
) -> PendingLogin:
    """Find out where to send the browser.

    Args:
        flow: Asks on behalf of the backend.
        login: What the configuration says.
        redirect_uri: Where the browser is to come back to.
        before: The login that this one follows, if any.
        headers: What is sent with every request to the backend.
        others: Registrations besides that of `before` that may be of use again.

    Raises:
        OAuthError: No login is possible.
    """
    challenge = await _probe(flow, headers)
    found = await flow.discover(challenge, login.issuer)
    server = found.server
    check_pkce(server)
    same = before is not None and before.registration.issuer == server.issuer
    scopes = select_scopes(
        challenge,
        found.scopes_supported,
        configured=login.scopes,
        before=(*before.asked, *before.wanted) if before is not None and same else (),
        server_knows=server.scopes_supported,
    )
    known = others if before is None else (before.registration, *others)
    registration = await flow.register(server, login, redirect_uri, scopes, known)
    authorization = Authorization(
        server.issuer,
        server.authorization_response_iss_parameter_supported,
        redirect_uri,
        scopes,
    )
    url = authorization.url(server, registration, found.resource)
    return PendingLogin(url, authorization, found.resource, server.token_endpoint, registration)


async def _probe(flow: Flow, headers: Mapping[str, str]) -> Challenge:
    """Have the backend say what it wants; one that doesn't may still have metadata."""
    for message, own in _PROBES:
        fetched = await flow.fetcher.post_json(flow.url, message, {**headers, **own})
        if fetched.status == UNAUTHORIZED:
            return read_challenge(fetched.challenge)
    return Challenge()
