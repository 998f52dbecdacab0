"""What a view shows just now: where its names and URIs lead, its lists, and what it declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from onemcp.backend import Backend, Caller, check_login, user_of
from onemcp.protocol.errors import BackendUnavailable, InvalidParams, MethodNotFound
from onemcp.protocol.fields import Fields, text
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.methods import (
    CATALOGUES,
    PROMPTS,
    RESOURCES,
    RESOURCES_READ,
    TOOLS,
    TOOLS_CALL,
    Catalogue,
)
from onemcp.protocol.revisions import LATEST_MODERN, Era

from . import description
from .carry import not_found
from .endpoint import GONE
from .listing import ListPages
from .pager import pager_name
from .selection import EVERYTHING, NOTHING, Candidate, Extent, Selection, intersection
from .table import Route, RoutingTable, Source, build
from .tasks import TaskRef
from .tasks.finished import OWN

if TYPE_CHECKING:
    from .multiplexer import Multiplexer

_COMPLETED: Final = frozenset({"prompts", "resources"})
"""Whose arguments can be completed."""


class Contents:
    """What is visible at one endpoint; worked out when it is first asked for, and kept.

    Attributes:
        name: The endpoint: a backend, a named view, or None for everything.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        name: str | None,
        selection: Selection = EVERYTHING,
        whole: Contents | None = None,
        user: str = "",
    ) -> None:
        """Show an endpoint of a multiplexer.

        Args:
            multiplexer: The multiplexer.
            name: The endpoint.
            selection: What of it is shown.
            whole: All of it, where `selection` is not everything.
            user: To whom: each user may have some backends for themselves.
        """
        self.name = name
        self._multiplexer = multiplexer
        self._selection = selection
        self._whole = whole
        self._user = user
        self._endpoint = GONE
        self._selected: Selection = NOTHING
        self._sources: list[Source] = []
        self._origin: RoutingTable | None = None
        self._table: RoutingTable | None = None
        self._pages: dict[tuple[Catalogue, bool], ListPages] = {}
        self._declared: dict[str, dict[str, Any]] = {}
        self._look_up()

    @property
    def backends(self) -> Sequence[Backend]:
        """The backends of which anything may be shown, in configuration order."""
        return tuple(
            backend
            for backend in self._multiplexer.backends_of(self._user)
            if any(self.extent(backend, kind) for kind in CATALOGUES)
        )

    def backend(self, name: str) -> Backend | None:
        """Return the backend that has a name just now, to whom this is shown."""
        return self._multiplexer.backend(name, self._user)

    def owner(self, route: Route) -> Backend:
        """Return the backend that a name leads to."""
        backend = self.backend(route.backend)
        if backend is None:  # pragma: no cover - the table is of what there is
            raise BackendUnavailable(f"backend {route.backend!r} is not there any more")
        return backend

    def extent(self, backend: Backend, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind is shown."""
        return self._selected.extent(backend.name, kind)

    def shows_all(self, backend: Backend) -> bool:
        """Tell whether everything is shown that a backend may list."""
        return all(self.extent(backend, kind) is Extent.ALL for kind in CATALOGUES)

    def reads(self, uri: str, backend: Backend) -> bool:
        """Tell whether a URI of a backend is shown, where the backend knows it."""
        return self._selected.covers(Candidate(backend.name, RESOURCES, uri))

    @property
    def table(self) -> RoutingTable:
        """Where everything leads just now."""
        if self._table is None:
            self._table = self._build()
            self._pages = {
                (kind, mirrors): ListPages(kind, shown, self.server_info)
                for kind, section in self._table.sections.items()
                for mirrors, shown in ((False, section), (True, section.faultless))
            }
        return self._table

    def refresh(self) -> RoutingTable | None:
        """Take note that lists, or what is shown of them, may have changed.

        Returns:
            The table until now, where it is to be built anew.
        """
        self._declared = {}
        is_same = not self._look_up()
        before = self._table
        if before is None or (is_same and self._is_current()):
            return None
        self._table = None
        return before

    def _look_up(self) -> bool:
        """Find out what is to be shown; tell whether that is something else than before."""
        arrangement = self._multiplexer.arrangement
        endpoint = self._multiplexer.endpoint(self.name) or GONE
        selected = intersection([endpoint.selection, arrangement.filters, self._selection])
        before = self._endpoint, self._selected
        self._endpoint, self._selected = endpoint, selected
        return before != (endpoint, selected)

    def _build(self) -> RoutingTable:
        if self._whole is not None:
            self._origin = self._whole.table
            return self._origin.restricted(self._selection)
        self._sources = self._all_sources()
        view = None if self._endpoint.backend else self.name
        return build(self._sources, self._selected, self._endpoint.wordings, view)

    def _is_current(self) -> bool:
        if self._whole is not None:
            return self._whole.table is self._origin
        return self._all_sources() == self._sources

    def page(self, kind: Catalogue, params: Fields, caller: Caller) -> Raw:
        """Answer a list request; tools that a caller must not use are left out.

        Raises:
            MethodNotFound: Nothing here has such a list.
            InvalidParams: Its cursor is none of ours, or of a list that has changed.
        """
        self.check_offered(kind.capability, kind.method)
        _ = self.table
        return self._pages[kind, caller.mirrors].page(params, caller.era)

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
            self._declared[revision] = description.capabilities(
                self.backends,
                revision,
                self._withheld,
                lists_tasks=self._multiplexer.tasks.is_listable,
            )
        return self._declared[revision]

    @property
    def instructions(self) -> str:
        """What models are told."""
        if self._endpoint.instructions is not None:
            return self._endpoint.instructions
        alone = self._endpoint.backend is not None
        return description.instructions(self._multiplexer.identity, self.backends, alone=alone)

    def discover(self) -> Raw:
        """Answer ``server/discover``."""
        identity = self._multiplexer.identity
        return description.discover_result(identity, self.capabilities, self.instructions)

    def initialize(self, revision: str) -> Raw:
        """Answer ``initialize`` in an agreed revision."""
        identity = self._multiplexer.identity
        return description.initialize_result(
            identity, self.declared(revision), self.instructions, revision
        )

    def _withheld(self, backend: Backend) -> set[str]:
        hidden = {kind.capability for kind in CATALOGUES if not self.extent(backend, kind)}
        if hidden >= _COMPLETED:
            hidden.add("completions")
        return hidden if self.shows_all(backend) else hidden | description.EXTENDING

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
            self._check_approved(kind, name)
            raise InvalidParams(f"Unknown {kind.key.removesuffix('s')}: {name[:200]}")
        return route

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        """Return which parameters of a tool must be repeated in HTTP headers.

        Raises:
            InvalidParams: They can't be, and the tool is not listed to those who have to.
        """
        route = self.table.route(TOOLS, tool)
        if route is not None and route.fault is not None:
            raise InvalidParams(
                f"Unknown tool: {tool[:200]}: it is not for clients over HTTP, for {route.fault}"
            )
        return () if route is None else route.mirrored

    def starting(self, kind: Catalogue, name: str) -> Backend | None:
        """Return a backend that is just starting and may list a name that is not known yet."""
        if self.table.route(kind, name) is not None:
            return None
        return next(
            (
                backend
                for backend in self.backends
                if backend.is_starting
                and self.extent(backend, kind)
                and name.startswith(self._source(backend).prefix)
            ),
            None,
        )

    def behind(self, route: Route, kind: Catalogue) -> Candidate:
        """Return what a name leads to, as its backend lists it."""
        items = self.owner(route).listings[kind].items
        found = (item.definition for item in items if item.identity == route.name)
        return Candidate(route.backend, kind, route.name, next(found, None))

    def owners(self, uri: str) -> list[Backend]:
        """Return the backends that list a URI, or a template that it matches, likeliest first."""
        owners = map(self.backend, self.table.owners(uri))
        return [backend for backend in owners if backend and self.reads(uri, backend)]

    def candidates(self, uri: str) -> list[Backend]:
        """Return the backends that may know a URI, the likeliest first; who is up goes ahead."""
        owners = self.owners(uri)
        if owners:
            return sorted(owners, key=lambda backend: not backend.is_up)
        return [
            backend
            for backend in self.backends
            if backend.is_up
            and backend.server is not None
            and backend.server.has("resources")
            and self.reads(uri, backend)
        ]

    def keeper(self, ref: TaskRef) -> Backend | None:
        """Return the backend that has a task, or its replica; None where that isn't there."""
        backend = self.backend(ref.backend)
        if backend is None or ref.instance == OWN:
            return backend
        return backend.replica(ref.instance)

    def has_task(self, ref: TaskRef) -> bool:
        """Tell whether the tool is shown whose call a task is."""
        return self.shows_tool(ref.backend, ref.tool)

    def shows_tool(self, name: str, tool: str) -> bool:
        """Tell whether a tool is shown, given its backend and its name there."""
        backend = self.backend(name)
        extent = Extent.NONE if backend is None else self.extent(backend, TOOLS)
        if backend is None or extent is not Extent.SOME:
            return extent is Extent.ALL
        return any(
            self._selected.covers(Candidate(backend.name, TOOLS, item.identity, item.definition))
            for item in backend.listings[TOOLS].items
            if item.identity == tool
        )

    def follower(self, name: str, replica: str, backends_id: str) -> tuple[bytes, str] | None:
        """Tell who is told of a task of a backend, or of a replica; see `TaskIds.follower`."""
        backend = self.backend(name)
        user = "" if backend is None else user_of(backend)
        return self._multiplexer.tasks.follower(name, backends_id, user, replica)

    def tells_of_task(self, task_id: str, caller: Caller | None) -> bool:
        """Tell whether a caller who knows a task by an id may hear of it."""
        if self._selected == EVERYTHING:
            return True
        if caller is None:
            return False
        try:
            ref = self._multiplexer.tasks.open(task_id, caller, self.name)
        except InvalidParams:
            return False
        return self.has_task(ref)

    def check_reachable(self, method: str, params: Fields, era: Era) -> None:
        """Make sure that what a call is about is shown still.

        Raises:
            ProtocolError: It isn't; said as of what there has never been.
        """
        if self._selected == EVERYTHING:
            return
        if method == RESOURCES_READ:
            uri = text(params, "uri", "params.uri")
            if not self.candidates(uri):
                raise not_found(uri, era)
        else:
            kind = TOOLS if method == TOOLS_CALL else PROMPTS
            self.route(kind, method, text(params, "name", "params.name"))

    def check_logins(self) -> None:
        """Make sure that nothing is hidden here for want of a login.

        Raises:
            LoginWanted: Something is.
        """
        for backend in self.backends:
            check_login(backend)

    def _check_up(self, kind: Catalogue, name: str) -> None:
        """Make sure that a name is not just one of a backend that lists nothing at the moment."""
        for backend in self.backends:
            if backend.is_up or backend.listings[kind].items or not self.extent(backend, kind):
                continue
            if name.startswith(self._source(backend).prefix):
                check_login(backend)
                raise BackendUnavailable(
                    f"nothing is known of {name[:200]!r}, because backend {backend.name!r} "
                    f"is not up: {backend.failure or 'starting'}"
                )

    def _check_approved(self, kind: Catalogue, name: str) -> None:
        """Make sure that a name is not one of what is withheld until it is approved."""
        for backend in self.backends:
            prefix = self._source(backend).prefix
            own = name.removeprefix(prefix)
            reason = backend.why_withheld(kind, own) if name.startswith(prefix) else None
            if reason and self._selected.covers(Candidate(backend.name, kind, own, None)):
                raise InvalidParams(
                    f"{kind.key.removesuffix('s')} {name[:200]!r} is withheld, for {reason}: an "
                    f"operator can look at it with `onemcp approve {backend.name}`"
                )

    def _all_sources(self) -> list[Source]:
        return [self._source(backend) for backend in self.backends]

    def _source(self, backend: Backend) -> Source:
        prefix = "" if self._endpoint.is_bare else backend.config.prefix
        if prefix:
            prefix += self._multiplexer.separator
        server = backend.server
        paging = backend.config.paging
        makes_tasks = server is not None and server.era is Era.MODERN and server.makes_tasks
        return Source(
            backend.name,
            prefix,
            backend.listings,
            server is not None,
            makes_tasks,
            is_common=not user_of(backend),
            pager="" if paging.characters is None else pager_name(self._multiplexer.separator),
        )
