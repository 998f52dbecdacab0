"""What is right in each part of a configuration, and wrong in all of it together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from onemcp.config._auth import Auth
from onemcp.config._views import Flaw, View, contradictions, flaws

if TYPE_CHECKING:
    from onemcp.config._backend import Backend


def find_flaws(backends: Iterable[Backend], views: Iterable[View], auth: Auth) -> Iterator[Flaw]:
    """Find what can never mean anything in what is shown of the backends, and to whom."""
    servers: dict[str, tuple[str, ...]] = {}
    for backend in backends:
        servers[backend.name] = backend.tags
        for flaw in contradictions(backend):
            yield attrs.evolve(flaw, path=("mcpServers", backend.name, *flaw.path))
        if backend.is_personal and auth.mode != "local":
            yield Flaw(
                ("mcpServers", backend.name, "auth", "per"),
                f'is "user": it has a login for each user, but with "auth.mode" "{auth.mode}" '
                "onemcp has no users who could log in to it",
                'Set "auth.mode" to "local", or "per" to "server"',
            )
    for view in views:
        for flaw in flaws(view, servers):
            yield attrs.evolve(flaw, path=("views", view.name, *flaw.path))
