"""How onemcp logs in at each backend: at programs, not at all.

What logs in (:mod:`.authorizing`) asks over HTTP and checks what is answered. All that is imported
when the first backend over HTTP is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from onemcp import config
from onemcp.backend import LoginNoticed, SecretExposed, TokenNotRenewed

from .durable import LoginPlace

if TYPE_CHECKING:
    from onemcp.backend.oauth import Credentials


def credentials_for(
    settings: config.Backend,
    place: LoginPlace | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
    environ: Mapping[str, str] = os.environ,
) -> Credentials | None:
    """Return how onemcp logs in at a backend; None where it doesn't.

    Args:
        settings: The backend.
        place: Where the logins that people have made are, or None where there is nowhere.
        on_event: Takes what happens.
        environ: Where tokens may be.
    """
    transport = settings.transport
    if not isinstance(transport, config.HttpTransport):
        return None
    from . import authorizing  # noqa: PLC0415 - see the module's docstring

    store = None if place is None else place.open()
    return authorizing.of_backend(settings, transport, store, on_event, environ)


def login_of_user(
    settings: config.Backend,
    user: str,
    place: LoginPlace | None,
    url: str | None,
    on_event: Callable[[LoginNoticed | SecretExposed | TokenNotRenewed], object],
) -> Credentials | None:
    """Return how onemcp logs in at a backend for one of its users.

    Args:
        settings: The backend.
        user: Who.
        place: Where the logins that people have made are, or None where there is nowhere.
        url: The page where the user can log in, or None.
        on_event: Takes what happens.
    """
    transport = settings.transport
    if place is None or not isinstance(transport, config.HttpTransport):
        return None
    from . import authorizing  # noqa: PLC0415 - see the module's docstring

    return authorizing.of_user(
        place.open().at(settings.name, transport.url, user), transport, url, on_event
    )
