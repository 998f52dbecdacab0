"""The routing table: which backend owns a name or a URI, and what is listed.

A pure function of what the backends list and of what is selected. Names get their backend's prefix,
URIs are identities and stay as they are; of two equal ones the first backend in configuration order
wins, and the other is reported as a conflict. Nothing changes its name silently: what a caller with
fewer rights sees is a part of the same table, in which every name leads where it does for others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs
from msgspec import Raw

from onemcp.backend.catalogue import Item, Listings
from onemcp.protocol.fields import Fields, join, raw, split
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.methods import CATALOGUES, PROMPTS, RESOURCES, TEMPLATES, TOOLS, Catalogue
from onemcp.protocol.uritemplate import UriTemplate

from .pager import OWN, pager_tool
from .selection import EVERYTHING, Candidate, Selection

_NAMED: Final = frozenset({TOOLS, PROMPTS})


@attrs.frozen
class Source:
    """A backend, as the routing table sees it.

    Attributes:
        name: Its key in the configuration.
        prefix: What its tools and prompts are named with, separator included; empty for bare.
        listings: What it lists.
        is_known: Whether it has been connected to; before that its lists are still to come.
        makes_tasks: Whether it decides itself which calls are tasks, as the extension has it.
        is_common: Whether all users have the same one.
        pager: The name of the tool with which clients read on in long results of its tools; empty
            where they get results as they are.
    """

    name: str
    prefix: str
    listings: Listings
    is_known: bool = True
    makes_tasks: bool = False
    is_common: bool = True
    pager: str = ""


@attrs.frozen
class Route:
    """Where a name leads.

    Attributes:
        backend: The name of the backend that owns it; empty where onemcp itself does.
        name: What the backend itself calls it.
        mirrored: A tool's parameters that are repeated in HTTP headers.
        fault: Why they can't be, so that it leads nowhere for those who have to; or None.
        may_be_task: Whether calls of a tool may be tasks without its saying so.
        is_own: Whether onemcp itself owns it.
    """

    backend: str
    name: str
    mirrored: tuple[MirroredParameter, ...] = ()
    fault: str | None = None
    may_be_task: bool = False
    is_own: bool = attrs.field(init=False)

    @is_own.default
    def _is_own(self) -> bool:
        return not self.backend


@attrs.frozen(order=True)
class Conflict:
    """A name or URI that two backends expose.

    Attributes:
        kind: What it is: ``tools``, ``prompts``, ``resources`` or ``resourceTemplates``.
        name: The exposed name or URI.
        winner: The backend that it leads to.
        loser: The backend whose item is hidden by that, or ``onemcp`` itself.
        view: The named view where that is; None for the view of everything.
    """

    kind: str
    name: str
    winner: str
    loser: str
    view: str | None = attrs.field(default=None, order=lambda view: view or "")


@attrs.frozen
class Wording:
    """What is told of a tool or prompt in other words than its backend's; None leaves those.

    Attributes:
        title: Its name for people.
        description: What it does, for models.
    """

    title: str | None = None
    description: str | None = None


Subject: TypeAlias = tuple[Catalogue, str, str]
"""What a wording is of: a tool or a prompt, by its backend and its name there."""

NO_WORDINGS: Final[Mapping[Subject, Wording]] = MappingProxyType({})


@attrs.frozen
class Section:
    """Everything of one kind that is exposed.

    Attributes:
        routes: Where each exposed name or URI leads, in order.
        definitions: The items with their exposed names, in the same order.
        ttl_ms: How long the list is fresh: the shortest of the backends', in milliseconds; 0 as
            long as some backend has yet to list anything.
        is_public: Whether every backend says that its list is the same for every caller.
    """

    routes: dict[str, Route]
    definitions: tuple[Raw, ...] = attrs.field(eq=lambda items: tuple(map(bytes, items)))
    ttl_ms: int
    is_public: bool

    @property
    def faultless(self) -> Section:
        """What of it is for those who repeat parameters in HTTP headers (Schema Extension)."""
        if all(route.fault is None for route in self.routes.values()):
            return self
        return self.part(lambda route, _: route.fault is None)

    def part(self, is_wanted: Callable[[Route, Raw], bool]) -> Section:
        """Return what of it is wanted."""
        entries = zip(self.routes.items(), self.definitions, strict=True)
        kept = [(*entry, item) for entry, item in entries if is_wanted(entry[1], item)]
        routes = {exposed: route for exposed, route, _ in kept}
        return attrs.evolve(self, routes=routes, definitions=tuple(item for *_, item in kept))


@attrs.frozen
class RoutingTable:
    """Where everything leads, for one view.

    Attributes:
        sections: What is exposed, by kind.
        conflicts: Names and URIs that several backends expose.
        pager: The name of the tool with which clients read on in long results; empty where there
            is none.
    """

    sections: dict[Catalogue, Section]
    conflicts: tuple[Conflict, ...]
    _templates: tuple[tuple[UriTemplate, str], ...]
    pager: str = ""
    _paging: frozenset[str] = frozenset()

    def restricted(self, selection: Selection) -> RoutingTable:
        """Return the part that belongs to a selection; conflicts are told of the whole."""
        sections = {kind: _part(kind, self.sections[kind], selection) for kind in CATALOGUES}
        pager = self.pager if self._paging & _owners(sections[TOOLS]) else ""
        if pager:
            sections[TOOLS] = _with_pager(sections[TOOLS], pager)
        templates = tuple(
            (template, owner)
            for template, owner in self._templates
            if selection.extent(owner, RESOURCES)
        )
        return RoutingTable(sections, (), templates, pager, self._paging)

    def route(self, kind: Catalogue, name: str) -> Route | None:
        """Return where an exposed name or URI leads."""
        return self.sections[kind].routes.get(name)

    def owners(self, uri: str) -> list[str]:
        """Return the backends that list a URI or a template it matches, the likeliest first."""
        exact = self.route(RESOURCES, uri) or self.route(TEMPLATES, uri)
        if exact is not None:
            return [exact.backend]
        found = (owner for template, owner in self._templates if template.matches(uri))
        return list(dict.fromkeys(found))


def build(
    sources: Sequence[Source],
    selection: Selection = EVERYTHING,
    wordings: Mapping[Subject, Wording] = NO_WORDINGS,
    view: str | None = None,
) -> RoutingTable:
    """Build the table of some backends, given in configuration order.

    Args:
        sources: The backends.
        selection: What of them is exposed.
        wordings: What is told differently of some of their tools and prompts.
        view: Where that is, for conflicts.
    """
    conflicts: list[Conflict] = []
    sections: dict[Catalogue, Section] = {}
    for kind in CATALOGUES:
        touched = [source for source in sources if selection.extent(source.name, kind)]
        entries = (
            (source, item)
            for source in touched
            for item in source.listings[kind].items
            if selection.covers(Candidate(source.name, kind, item.identity, item.definition))
        )
        routes, definitions = _expose(kind, entries, wordings, view, conflicts)
        sections[kind] = Section(routes, definitions, *_hints(kind, touched))
    paging = [source for source in sources if source.pager]
    pager = _find_pager(paging, sections[TOOLS], view, conflicts)
    if pager:
        sections[TOOLS] = _with_pager(sections[TOOLS], pager)
    # Several backends may have the same template and different resources that match it.
    templates = tuple(
        (UriTemplate(item.identity), source.name)
        for source in sources
        if selection.extent(source.name, RESOURCES)
        for item in source.listings[TEMPLATES].items
    )
    names = frozenset(source.name for source in paging)
    return RoutingTable(sections, tuple(conflicts), templates, pager, names)


def _expose(
    kind: Catalogue,
    entries: Iterable[tuple[Source, Item]],
    wordings: Mapping[Subject, Wording],
    view: str | None,
    conflicts: list[Conflict],
) -> tuple[dict[str, Route], tuple[Raw, ...]]:
    routes: dict[str, Route] = {}
    definitions: list[Raw] = []
    for source, item in entries:
        exposed = source.prefix + item.identity if kind in _NAMED else item.identity
        holder = routes.get(exposed)
        if holder is not None:
            conflicts.append(Conflict(kind.key, exposed, holder.backend, source.name, view))
            continue
        may_be_task = source.makes_tasks and kind is TOOLS
        routes[exposed] = Route(source.name, item.identity, item.mirrored, item.fault, may_be_task)
        wording = wordings.get((kind, source.name, item.identity))
        definitions.append(_written(item, exposed, wording))
    return routes, tuple(definitions)


def _hints(kind: Catalogue, sources: Iterable[Source]) -> tuple[int, bool]:
    """Return for how long a list of some backends is fresh, and whether it is public."""
    hints = [
        (source, listing)
        for source in sources
        for listing in (source.listings[kind],)
        if listing.items or listing.ttl_ms is not None or not source.is_known
    ]
    ttl_ms = min((hint.ttl_ms or 0 for _, hint in hints), default=0)
    is_public = all(hint.is_public and source.is_common for source, hint in hints)
    return ttl_ms, bool(hints) and is_public


def _written(item: Item, exposed: str, wording: Wording | None) -> Raw:
    """Write an item as it is exposed, touching nothing where that is how the backend lists it."""
    changes: Fields = {}
    if exposed != item.identity:
        changes["name"] = raw(exposed)
    if wording is not None:
        told = attrs.asdict(wording)
        changes.update((key, raw(value)) for key, value in told.items() if value is not None)
    return join({**split(item.definition, "an item"), **changes}) if changes else item.definition


def _part(kind: Catalogue, section: Section, selection: Selection) -> Section:
    def is_selected(route: Route, definition: Raw) -> bool:
        candidate = Candidate(route.backend, kind, route.name, definition)
        return not route.is_own and selection.covers(candidate)

    return attrs.evolve(section.part(is_selected), is_public=False)


def _find_pager(
    paging: Iterable[Source], tools: Section, view: str | None, conflicts: list[Conflict]
) -> str:
    """Return the name of the tool that reads on; empty where none is needed, or can be had."""
    owners = _owners(tools)
    pager = next((source.pager for source in paging if source.name in owners), "")
    holder = tools.routes.get(pager)
    if holder is None:
        return pager
    conflicts.append(Conflict(TOOLS.key, pager, holder.backend, OWN, view))
    return ""


def _owners(section: Section) -> set[str]:
    return {route.backend for route in section.routes.values()}


def _with_pager(section: Section, name: str) -> Section:
    """Return a section with onemcp's own tool after all others."""
    routes = {**section.routes, name: Route("", name)}
    return attrs.evolve(
        section, routes=routes, definitions=(*section.definitions, pager_tool(name))
    )
