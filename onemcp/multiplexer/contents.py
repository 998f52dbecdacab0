"""What a view shows just now: where its names and URIs lead, its lists, and what it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from onemcp.backend import Backend
from onemcp.protocol.errors import BackendUnavailable, InvalidParams, MethodNotFound
from onemcp.protocol.fields import Fields
from onemcp.protocol.methods import Catalogue
from onemcp.protocol.revisions import LATEST_MODERN, Era

from . import description
from .listing import ListPages
from .table import Route, RoutingTable, Source, build

if TYPE_CHECKING:
    from .multiplexer import Multiplexer


class Contents:
    """What is visible at one endpoint; worked out when it is first asked for, and kept.

    Attributes:
        name: The backend that is shown alone, or None for all of them.
    """

    def __init__(self, multiplexer: Multiplexer, name: str | None) -> None:
        """Show one backend of a multiplexer, or all."""
        self.name = name
        self._multiplexer = multiplexer
        self._sources: list[Source] = []
        self._table: RoutingTable | None = None
        self._pages: dict[Catalogue, ListPages] = {}
        self._declared: dict[str, dict[str, Any]] = {}

    @property
    def backends(self) -> Sequence[Backend]:
        """The backends that are shown, in configuration order."""
        everything = self._multiplexer.backends
        if self.name is None:
            return tuple(everything.values())
        return (everything[self.name],) if self.name in everything else ()

    def shows(self, backend: Backend) -> bool:
        """Tell whether a backend is shown."""
        return self.name is None or backend.name == self.name

    @property
    def table(self) -> RoutingTable:
        """Where everything leads just now."""
        if self._table is None:
            self._sources = [self._source(backend) for backend in self.backends]
            self._table = build(self._sources)
            self._pages = {
                kind: ListPages(kind, section, self.server_info)
                for kind, section in self._table.sections.items()
            }
        return self._table

    def refresh(self) -> RoutingTable | None:
        """Take note that lists may have changed.

        Returns:
            The table until now, where it is to be built anew.
        """
        self._declared = {}
        before = self._table
        if before is None or [self._source(backend) for backend in self.backends] == self._sources:
            return None
        self._table = None
        return before

    def page(self, kind: Catalogue, params: Fields, era: Era) -> Raw:
        """Answer a list request.

        Raises:
            MethodNotFound: Nothing here has such a list.
            InvalidParams: Its cursor is none of ours, or of a list that has changed.
        """
        self.check_offered(kind.capability, kind.method)
        _ = self.table
        return self._pages[kind].page(params, era)

    # --- what is declared --------------------------------------------------------------------

    @property
    def server_info(self) -> Raw:
        """Who answers here: an ``Implementation`` object."""
        return self._multiplexer.identity.info

    @property
    def capabilities(self) -> dict[str, Any]:
        """What is declared just now to modern clients."""
        return self.declared(LATEST_MODERN)

    def declared(self, revision: str) -> dict[str, Any]:
        """Return what is declared just now to clients of a revision."""
        if revision not in self._declared:
            self._declared[revision] = description.capabilities(self.backends, revision)
        return self._declared[revision]

    def discover(self) -> Raw:
        """Answer ``server/discover``."""
        identity, alone = self._multiplexer.identity, self.name is not None
        return description.discover_result(identity, self.backends, self.capabilities, alone=alone)

    def initialize(self, revision: str) -> Raw:
        """Answer ``initialize`` in an agreed revision."""
        return description.initialize_result(
            self._multiplexer.identity,
            self.backends,
            self.declared(revision),
            revision,
            alone=self.name is not None,
        )

    def check_offered(self, capability: str, method: str) -> None:
        """Make sure that something here has a capability.

        Raises:
            MethodNotFound: Nothing has.
        """
        if capability not in self.capabilities:
            raise MethodNotFound(f"Method not found: no backend here offers {method}")

    # --- where it leads ----------------------------------------------------------------------

    def route(self, kind: Catalogue, method: str, name: str) -> Route:
        """Return where a name leads, for a method that needs to know.

        Raises:
            MethodNotFound: Nothing here has anything of that kind.
            BackendUnavailable: Nothing can be said just now.
            InvalidParams: There is no such name.
        """
        route = self.table.route(kind, name)
        if route is None:
            self.check_offered(kind.capability, method)
            self._check_up(kind, name)
            raise InvalidParams(f"Unknown {kind.key.removesuffix('s')}: {name[:200]}")
        return route

    def candidates(self, uri: str) -> list[Backend]:
        """Return the backends that may know a URI, the likeliest first; who is up goes ahead."""
        owners = self.table.owners(uri)
        if owners:
            found = [self._multiplexer.backends[name] for name in owners]
            return sorted(found, key=lambda backend: not backend.is_up)
        return [
            backend
            for backend in self.backends
            if backend.is_up and backend.server is not None and backend.server.has("resources")
        ]

    def _check_up(self, kind: Catalogue, name: str) -> None:
        """Make sure that a name is not just one of a backend that lists nothing at the moment."""
        for backend in self.backends:
            if backend.is_up or backend.listings[kind].items:
                continue
            if name.startswith(self._source(backend).prefix):
                raise BackendUnavailable(
                    f"nothing is known of {name[:200]!r}, because backend {backend.name!r} "
                    f"is not up: {backend.failure or 'starting'}"
                )

    def _source(self, backend: Backend) -> Source:
        prefix = backend.config.prefix
        if prefix and self.name is None:
            prefix += self._multiplexer.separator
        shown = prefix if self.name is None else ""
        return Source(backend.name, shown, backend.listings, backend.server is not None)
