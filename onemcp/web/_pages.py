"""The pages, loaded when the first of them is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, TypeAlias

from onemcp.auth.server import AuthorizationServer
from onemcp.web._connections import Connections
from onemcp.web._on_demand import OnDemand

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
IssuerOf: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]]], str]
"""Tells by a request's headers which origin the browser uses."""


class Pages:
    """Serves pages. Owned by one task."""

    def __init__(
        self,
        issuer_of: IssuerOf,
        server: AuthorizationServer | None = None,
        connections: Callable[[], Connections | None] = lambda: None,
    ) -> None:
        """Serve the pages of an authorization server, and those of logins at backends.

        Args:
            issuer_of: Tells by a request's headers which issuer is asked.
            server: Who decides which clients get tokens; None where they get none here.
            connections: Returns the logins at backends that come back through here, if any can;
                called for the first page.
        """
        self._issuer_of = issuer_of
        self._server = server
        self._connections = connections
        self._application = OnDemand("onemcp.web._site", self._new_site)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its Host and Origin have been checked."""
        application = await self._application.get()
        await application(scope, receive, send)

    def _new_site(self, module: Any) -> Any:
        return module.new_site(self._issuer_of, self._server, self._connections())
