"""What tokens are good for: this gateway as a whole, or one endpoint of it (RFC 8707)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import attrs

WELL_KNOWN_RESOURCE: Final = "/.well-known/oauth-protected-resource"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class Resource:
    """A place that clients ask for access to.

    Attributes:
        origin: The gateway as this client addresses it, such as ``https://mcp.example.com``.
        path: The endpoint, such as ``/mcp/github``; empty for all of them.
    """

    origin: str
    path: str = ""

    @property
    def uri(self) -> str:
        """Its identifier (RFC 9728, section 1.2)."""
        return f"{self.origin}{self.path}"

    @property
    def metadata_url(self) -> str:
        """Where its metadata is (RFC 9728, section 3.1)."""
        return f"{self.origin}{WELL_KNOWN_RESOURCE}{self.path}"

    def is_within(self, audience: str) -> bool:
        """Tell whether a token for `audience`, in canonical form, is good here.

        What is good for the gateway is good for each of its endpoints, never the other way round.
        """
        return self.uri == audience or self.uri.startswith(f"{audience}/")


def canonical(uri: str) -> str | None:
    """Bring the identifier of a resource into one form (RFC 3986, section 6.2.2 and 6.2.3).

    Args:
        uri: What a client or a token says.

    Returns:
        Scheme and host in lower case, without the default port or a slash at the end; None where
        it can't be the identifier of a gateway (RFC 8707, section 2).
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    usable = parts.scheme in DEFAULT_PORTS and parts.hostname and "@" not in parts.netloc
    if not usable or "#" in uri or "?" in uri or "\\" in uri or not uri.isprintable():
        return None
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    shown = "" if port in {None, DEFAULT_PORTS[parts.scheme]} else f":{port}"
    return f"{parts.scheme}://{host}{shown}{parts.path}".rstrip("/")
