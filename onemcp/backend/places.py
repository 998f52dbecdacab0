"""Where a gateway takes part in logins at its backends, below the origin that browsers use."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

CLIENT_NAME: Final = "onemcp"
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


def login_command(backend: str, *, replica: str = "", user: str = "") -> str:
    """Return the command that logs in at a backend.

    Args:
        backend: Its name.
        replica: At which of its addresses; "" where it has one.
        user: Who; "" for everybody.
    """
    options = {"replica": replica, "user": user}
    given = (f" --{option} {value}" for option, value in options.items() if value)
    return "".join((f"onemcp login {backend}", *given))


def client_document(url: str, redirect_uri: str) -> dict[str, object]:
    """Return what onemcp says of itself at its own address (Client ID Metadata Documents).

    Args:
        url: Where the document is, which is the client's id as well.
        redirect_uri: Where browsers may come back to.
    """
    return {
        "client_id": url,
        "client_name": CLIENT_NAME,
        "client_uri": f"{urlsplit(url).scheme}://{urlsplit(url).netloc}",
        "application_type": "web",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
