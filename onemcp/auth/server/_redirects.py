"""Where browsers may be sent (OAuth 2.1, sections 2.3 and 8.4.2; RFC 8252, sections 7 and 8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_URI: Final = 2048

FORBIDDEN_SCHEMES: Final = frozenset(
    {
        *("about", "blob", "data", "file", "filesystem", "ftp", "http", "javascript", "mailto"),
        *("view-source", "vbscript", "ws", "wss"),
    }
)
"""What no program of a client's can own; `http` is for loopback only."""

_PLAIN: Final = re.compile(r"[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_DOTS: Final = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(
    r"http://(?P<host>\[[^\]]*\]|[^/?#:@\[]*)(:[0-9]+)?(?P<rest>[/?].*|)"
)
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def fault_of(uri: str, *, private_schemes: bool = False) -> str | None:
    """Tell what is wrong with a redirect URI that is to be registered.

    Args:
        uri: The URI.
        private_schemes: Whether it may have a scheme of the client's own (RFC 8252, section 7.1);
            MCP allows only https and loopback, so an operator has to say so.

    Returns:
        What is wrong, or None.
    """
    if not 1 <= len(uri) <= MAX_URI or not _PLAIN.fullmatch(uri):
        return "it is too long, or has characters that must be percent-encoded"
    parts = _split(uri)
    if parts is None:
        return "it is no absolute URI"
    if "@" in parts.netloc:
        return "it names a user"
    if _DOTS.search(parts.path):
        return "its path has dots for segments"
    return _fault_of_target(parts, private_schemes=private_schemes)


def _fault_of_target(parts: SplitResult, *, private_schemes: bool) -> str | None:
    if parts.scheme == "https":
        return None if _HOST.fullmatch(parts.hostname or "") else "it names no proper host"
    if parts.scheme == "http":
        return None if parts.hostname in LOOPBACK else "http is for loopback addresses only"
    private = private_schemes and parts.scheme not in FORBIDDEN_SCHEMES
    return None if private else "it must be https, or http on a loopback address"


def document_fault_of(uri: str) -> str | None:
    """Tell what is wrong with the address of a client's metadata document, which is its id.

    Implements OAuth Client ID Metadata Document, section 3.

    Returns:
        What is wrong, or None.
    """
    fault = fault_of(uri)
    if fault is not None:
        return fault
    parts = urlsplit(uri)
    if parts.scheme != "https":
        return "it must be https"
    return "it must have a path" if parts.path in {"", "/"} else None


def is_registered(uri: str, registered: Iterable[str]) -> bool:
    """Tell whether a redirect URI is one of the registered: exactly, but for a loopback port."""
    return any(uri == known or _is_same_but_port(uri, known) for known in registered)


def _is_same_but_port(uri: str, known: str) -> bool:
    if fault_of(uri) is not None:
        return False
    given, wanted = (_AUTHORITY.fullmatch(each) for each in (uri, known))
    # As it was written, but for the port: a "?" with nothing behind it is another URI.
    return (
        given is not None
        and wanted is not None
        and given["host"] in _LOOPBACK_HOSTS
        and (given["host"], given["rest"]) == (wanted["host"], wanted["rest"])
    )


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises when it is none
    except ValueError:
        return None
    return parts if _SCHEME.fullmatch(uri.partition(":")[0]) and parts.scheme else None


def origin_of(uri: str) -> str:
    """Return what of a redirect URI a person has to know: the host, or the scheme."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def is_loopback(uri: str) -> bool:
    """Tell whether a program on the browser's own machine gets the answer."""
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def with_answer(uri: str, answer: Iterable[tuple[str, str | None]]) -> str:
    """Add the answer to a redirect URI (RFC 6749, section 4.1.2)."""
    query = urlencode([(name, value) for name, value in answer if value is not None])
    return f"{uri}{'&' if urlsplit(uri).query else '?'}{query}"
