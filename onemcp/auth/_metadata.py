"""What a resource tells about itself (RFC 9728)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from onemcp.auth._resource import Resource

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
EVERYTHING: Final = "mcp"
"""The scope of everything."""


def resource_path(path: str, endpoint: str) -> str | None:
    """Tell which resource a path belongs to, whether there is something at it or not.

    Every name that a backend or a view could have is one, so that nobody learns from answers about
    resources which ones there are.

    Args:
        path: The path of a request, or what follows the well-known part of it.
        endpoint: The path of the endpoint of everything.

    Returns:
        The path of the resource, empty for the gateway as such; None if there is none such.
    """
    wanted = path.rstrip("/")
    if wanted in {"", endpoint}:
        return wanted
    parent, _, name = wanted.rpartition("/")
    return wanted if parent == endpoint and NAME.fullmatch(name) else None


def scopes_of(resource: Resource) -> tuple[str, ...]:
    """Return the scopes that let a client use all of a resource, and nothing else.

    Those of a name are the same whether it is a backend's, a view's or nobody's; one of them at
    most means anything.
    """
    parts = resource.path.split("/")
    named = len(parts) > 2 and NAME.fullmatch(parts[2])  # noqa: PLR2004  ("", "mcp", NAME)
    return (f"backend:{parts[2]}", f"view:{parts[2]}") if named else (EVERYTHING,)


def resource_metadata(resource: Resource, issuers: Sequence[str], name: str) -> dict[str, Any]:
    """Describe a resource (RFC 9728, section 2; MCP, "Authorization Server Location").

    Args:
        resource: What is described.
        issuers: The authorization servers whose tokens it takes.
        name: What to call it before people.
    """
    return {
        "resource": resource.uri,
        "authorization_servers": list(issuers),
        "scopes_supported": list(scopes_of(resource)),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }
