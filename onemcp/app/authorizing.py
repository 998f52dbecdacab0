"""How onemcp logs in at each backend over HTTP, as the configuration says."""

from __future__ import annotations

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


def of_backend(
    settings: config.Backend,
    transport: config.HttpTransport,
    store: LoginStore | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
    environ: Mapping[str, str],
) -> Credentials | None:
    """Return how onemcp logs in at a backend; None where it doesn't.

    Args:
        settings: The backend.
        transport: How it is reached.
        store: The logins that people have made, or None where there is nowhere to keep them.
        on_event: Takes what happens.
        environ: Where tokens may be.
    """
    auth = transport.auth
    if isinstance(auth, config.BearerLogin):
        return BearerToken(settings.name, auth, environ, on_event)
    flow = flow_for(transport)
    if isinstance(auth, config.ClientCredentialsLogin):
        return ServiceLogin(settings.name, auth, flow, on_event)
    if store is None or brings_its_own(transport):
        return None
    place = StoredAt(store, settings.name, transport.url, replica=settings.replica)
    return StoredLogin(place, flow, on_event)


def of_user(
    place: StoredAt,
    transport: config.HttpTransport,
    url: str | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
) -> Credentials:
    """Return how onemcp logs in at a backend for one of its users.

    Args:
        place: Where that user's login is.
        transport: How the backend is reached.
        url: The page where the user can log in, or None.
        on_event: Takes what happens.
    """
    remedy = f"open {url}" if url else None
    return StoredLogin(place, flow_for(transport), on_event, remedy=remedy)


def flow_for(transport: config.HttpTransport) -> Flow:
    """Return what asks authorization servers on behalf of a backend."""
    return Flow(transport.url, Fetcher(transport.tls, transport.url))


def brings_its_own(transport: config.HttpTransport) -> bool:
    """Tell whether the configuration has what goes into the Authorization header."""
    if httpx.URL(transport.url).userinfo:
        return True
    return any(name.lower() == "authorization" for name in transport.headers)
