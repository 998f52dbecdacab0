"""Documents at well-known addresses, which clients read before they have a token (RFC 8615)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from onemcp.auth import WELL_KNOWN_RESOURCE, Gate, resource_metadata, resource_path
from onemcp.auth.server import WELL_KNOWN, AuthorizationServer, server_metadata
from onemcp.protocol.errors import InvalidRequest

from .asgi import HttpRefusal, Scope, Send, respond

PATH: Final = "/mcp"
"""Where everything is served; ``/mcp/NAME`` is one backend."""

CONTROL: Final = "/control"
"""Where operators are served, and below it."""

STATUS: Final = "/status"
"""Where people look at the gateway, and below it."""

PREFIX: Final = "/.well-known/"

_METHODS: Final = ((b"allow", b"GET"),)
_HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff"))


async def serve(
    gate: Gate, scope: Scope, send: Send, name: str, server: AuthorizationServer | None
) -> None:
    """Serve one document.

    Args:
        gate: What the documents are about; it has checked the request's Host and Origin.
        scope: The request.
        send: The ASGI callable to answer with.
        name: What the gateway calls itself.
        server: Its own authorization server, if there is one.

    Raises:
        HttpRefusal: There is no such document, or it can't be changed.
    """
    document = _of_server(gate, scope, server) or _of_resource(gate, scope, name)
    if document is None:
        raise HttpRefusal(404, InvalidRequest("there is no such document"))
    if scope["method"] != "GET":
        raise HttpRefusal(405, InvalidRequest("this document can only be read"), _METHODS)
    await respond(send, 200, msgspec.json.encode(document), _HEADERS)


def _of_server(
    gate: Gate, scope: Scope, server: AuthorizationServer | None
) -> Mapping[str, Any] | None:
    if server is None or scope["path"] not in WELL_KNOWN:
        return None
    return server_metadata(gate.resource(scope["headers"], "").origin, server.policy)


def _of_resource(gate: Gate, scope: Scope, name: str) -> Mapping[str, Any] | None:
    path: str = scope["path"]
    if not path.startswith(WELL_KNOWN_RESOURCE):
        return None
    found = resource_path(path.removeprefix(WELL_KNOWN_RESOURCE), PATH)
    if found is None:
        return None
    resource = gate.resource(scope["headers"], found)
    issuers = gate.authorization_servers(resource)
    return resource_metadata(resource, issuers, name) if issuers else None
