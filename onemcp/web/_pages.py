"""The pages, loaded when the first of them is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

import trio

from onemcp.auth.server import AuthorizationServer

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
IssuerOf: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]]], str]
"""Tells by a request's headers which origin the browser uses."""


class Pages:
    """Serves pages. Owned by one task."""

    def __init__(self, server: AuthorizationServer, issuer_of: IssuerOf) -> None:
        """Serve the pages of an authorization server.

        Args:
            server: Who decides.
            issuer_of: Tells by a request's headers which issuer is asked.
        """
        self._server = server
        self._issuer_of = issuer_of
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
                self._application = site.new_site(self._server, self._issuer_of)
