"""How onemcp logs in at each backend, as the configuration says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import httpx

from onemcp import config
from onemcp.backend import LoginNoticed, SecretExposed, TokenNotRenewed
from onemcp.backend.oauth import (
    BearerToken,
    Credentials,
    Fetcher,
    Flow,
    LoginStore,
    ServiceLogin,
    StoredAt,
    StoredLogin,
)


def credentials_for(
    settings: config.Backend,
    store: LoginStore | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
    environ: Mapping[str, str] = os.environ,
) -> Credentials | None:
    """Return how onemcp logs in at a backend; None where it doesn't.

    Args:
        settings: The backend.
        store: The logins that people have made, or None where there is nowhere to keep them.
        on_event: Takes what happens.
        environ: Where tokens may be.
    """
    transport = settings.transport
    if not isinstance(transport, config.HttpTransport):
        return None
    auth = transport.auth
    if isinstance(auth, config.BearerLogin):
        return BearerToken(settings.name, auth, environ, on_event)
    flow = flow_for(transport)
    if isinstance(auth, config.ClientCredentialsLogin):
        return ServiceLogin(settings.name, auth, flow, on_event)
    if store is None or brings_its_own(transport):
        return None
    return StoredLogin(StoredAt(store, settings.name, transport.url), flow, on_event)


def login_of_user(
    settings: config.Backend,
    user: str,
    store: LoginStore | None,
    url: str | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
) -> Credentials | None:
    """Return how onemcp logs in at a backend for one of its users.

    Args:
        settings: The backend.
        user: Who.
        store: The logins that people have made, or None where there is nowhere to keep them.
        url: The page where the user can log in, or None.
        on_event: Takes what happens.
    """
    transport = settings.transport
    if store is None or not isinstance(transport, config.HttpTransport):
        return None
    place = StoredAt(store, settings.name, transport.url, user)
    command = f"run `onemcp login {settings.name} --user {user}`"
    remedy = f"open {url}" if url else command
    return StoredLogin(place, flow_for(transport), on_event, remedy=remedy)


def flow_for(transport: config.HttpTransport) -> Flow:
    """Return what asks authorization servers on behalf of a backend."""
    return Flow(transport.url, Fetcher(transport.tls, transport.url))


def brings_its_own(transport: config.HttpTransport) -> bool:
    """Tell whether the configuration has what goes into the Authorization header."""
    if httpx.URL(transport.url).userinfo:
        return True
    return any(name.lower() == "authorization" for name in transport.headers)
