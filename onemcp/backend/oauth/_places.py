"""Where a gateway takes part in logins at its backends, below the origin that browsers use."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

CALLBACK: Final = "/oauth/callback"
"""Where browsers come back to."""

CLIENT_DOCUMENT: Final = "/oauth/client.json"
"""What onemcp says of itself as a client (Client ID Metadata Documents)."""

CONNECT: Final = "/oauth/connect/"
"""Where people begin to log in at a backend, followed by its name."""


def callback_at(origin: str) -> str:
    """Return the redirect URI of a gateway."""
    return origin.rstrip("/") + CALLBACK


def document_at(origin: str | None) -> str | None:
    """Return the id that a gateway has by its own document; None where nobody could fetch it."""
    if origin is None or not origin.startswith("https://"):
        return None
    return origin.rstrip("/") + CLIENT_DOCUMENT


def connect_at(origin: str, backend: str) -> str:
    """Return where somebody begins to log in at a backend."""
    return origin.rstrip("/") + CONNECT + quote(backend, safe="")
