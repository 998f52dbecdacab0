"""Authorization requests: what clients want people to agree to (OAuth 2.1, section 4.1.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from onemcp.auth._metadata import resource_path, scopes_of
from onemcp.auth._resource import Resource, canonical
from onemcp.auth._scopes import MAX_SCOPES, Scope, meet, parse_scopes
from onemcp.auth.server import _pkce as pkce
from onemcp.auth.server._clients import CODE, Client
from onemcp.auth.server._errors import (
    INVALID_REQUEST,
    INVALID_SCOPE,
    INVALID_TARGET,
    UNAUTHORIZED_CLIENT,
    UNSUPPORTED_RESPONSE_TYPE,
    OAuthError,
    RedirectedError,
)
from onemcp.auth.server._forms import Form
from onemcp.auth.server._policy import EVERYTHING

ENDPOINT = "/mcp"

FindClient = Callable[[str], Awaitable[Client]]


@attrs.frozen(kw_only=True)
class AuthorizationRequest:
    """What is asked for; all of it has been checked.

    Attributes:
        client: Who asks.
        redirect_uri: Where the answer goes.
        challenge: What the client will prove that it made.
        scopes: What it wants to do, as far as the client may.
        resource: What with.
        issuer: Whom it asks.
        state: What it wants to have back with the answer.
    """

    client: Client
    redirect_uri: str
    challenge: str = attrs.field(repr=False)
    scopes: frozenset[Scope]
    resource: Resource
    issuer: str
    state: str | None = attrs.field(default=None, repr=False)


async def read_request(form: Form, find: FindClient, issuer: str) -> AuthorizationRequest:
    """Check an authorization request.

    Args:
        form: Its parameters.
        find: Finds the client.
        issuer: The issuer that is asked, which is the origin that the browser uses.

    Raises:
        OAuthError: It is wrong in a way that only the person can be told: it isn't clear who asks,
            or where to send the browser (OAuth 2.1, section 4.1.2.1).
        RedirectedError: It is wrong, and the client can be told.
    """
    client = await find(form.need("client_id"))
    redirect_uri = _redirect_uri(form, client)
    state = form.get("state")
    try:
        return AuthorizationRequest(
            client=client,
            redirect_uri=redirect_uri,
            challenge=_challenge(form, client),
            resource=(resource := read_resource(form, issuer)),
            scopes=_scopes(form, client, resource),
            issuer=issuer,
            state=state,
        )
    except OAuthError as error:
        raise RedirectedError(error, redirect_uri, state) from error


def _redirect_uri(form: Form, client: Client) -> str:
    uri = form.get("redirect_uri")
    if uri is None:
        if len(client.redirect_uris) != 1:
            raise OAuthError(INVALID_REQUEST, "the parameter redirect_uri is missing")
        return client.redirect_uris[0]
    if not client.may_redirect_to(uri):
        raise OAuthError(INVALID_REQUEST, "the redirect URI is not registered for this client")
    return uri


def _challenge(form: Form, client: Client) -> str:
    if CODE not in client.grant_types:
        raise OAuthError(UNAUTHORIZED_CLIENT, "the client may not ask people")
    if form.need("response_type") != "code":
        raise OAuthError(UNSUPPORTED_RESPONSE_TYPE, "the response type must be code")
    if form.get("response_mode") not in {None, "query"}:
        raise OAuthError(INVALID_REQUEST, "the response mode must be query")
    if form.get("request") is not None or form.get("request_uri") is not None:
        raise OAuthError(INVALID_REQUEST, "request objects are not supported")
    challenge = form.need("code_challenge")
    if form.get("code_challenge_method") != pkce.METHOD:
        raise OAuthError(INVALID_REQUEST, "the code challenge method must be S256")
    if not pkce.CHALLENGE.fullmatch(challenge):
        raise OAuthError(INVALID_REQUEST, "the code challenge is malformed")
    return challenge


def read_resource(form: Form, issuer: str) -> Resource:
    """Tell what a token is to be good for (RFC 8707, section 2); by default, the gateway's all.

    Raises:
        OAuthError: It is nothing of this gateway's.
    """
    asked = form.get("resource")
    if asked is None:
        return Resource(issuer, ENDPOINT)
    uri = canonical(asked) or ""
    path = resource_path(uri.removeprefix(issuer), ENDPOINT)
    if not uri.startswith(issuer) or path is None:
        raise OAuthError(INVALID_TARGET, "the resource is none of this server")
    return Resource(issuer, path)


def read_scopes(form: Form) -> frozenset[Scope] | None:
    """Read the scopes that are asked for; None if none are named.

    Those that mean nothing here are left out (RFC 6749, section 3.3).

    Raises:
        OAuthError: There are too many, or none means anything.
    """
    asked = form.get("scope")
    if asked is None:
        return None
    words = asked.split()
    if len(words) > MAX_SCOPES:
        raise OAuthError(INVALID_SCOPE, f"at most {MAX_SCOPES} scopes can be asked for")
    scopes = parse_scopes(words)
    if not scopes:
        raise OAuthError(INVALID_SCOPE, "none of the scopes is known")
    return scopes


def _scopes(form: Form, client: Client, resource: Resource) -> frozenset[Scope]:
    scopes = read_scopes(form) or parse_scopes(scopes_of(resource))
    scopes = meet(scopes, EVERYTHING if client.scopes is None else client.scopes)
    if not scopes:
        raise OAuthError(INVALID_SCOPE, "the client may have none of the scopes")
    return scopes
