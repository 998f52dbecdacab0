"""The pages, loaded when the first of them is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import trio

from onemcp.auth.server import AuthorizationServer
from onemcp.web._connections import Connections

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
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
        self._application: Application | None = None
        self._loading = trio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; its Host and Origin have been checked."""
        if self._application is None:
            await self._load()
        assert self._application is not None  # noqa: S101  (for mypy)
        await self._application(scope, receive, send)

    async def _load(self) -> None:
        async with self._loading:
            if self._application is None:
                # It takes a while, and nobody else shall wait for it.
                site = await trio.to_thread.run_sync(import_module, "onemcp.web._site")
                self._application = site.new_site(
                    self._issuer_of, self._server, self._connections()
                )
