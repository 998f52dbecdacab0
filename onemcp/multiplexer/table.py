"""The routing table: which backend owns a name or a URI, and what is listed.

A pure function of what the backends list. Names get their backend's prefix, URIs are identities
and stay as they are; of two equal ones the first backend in configuration order wins, and the
other is reported as a conflict. Nothing changes its name silently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs
from msgspec import Raw

from onemcp.backend.catalogue import Item, Listing, Listings
from onemcp.protocol.fields import join, raw, split
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.methods import CATALOGUES, PROMPTS, RESOURCES, TEMPLATES, TOOLS, Catalogue
from onemcp.protocol.uritemplate import UriTemplate

_NAMED: Final = frozenset({TOOLS, PROMPTS})


@attrs.frozen
class Source:
    """A backend, as the routing table sees it.

    Attributes:
        name: Its key in the configuration.
        prefix: What its tools and prompts are named with, separator included; empty for bare.
        listings: What it lists.
        is_known: Whether it has been connected to; before that its lists are still to come.
    """

    name: str
    prefix: str
    listings: Listings
    is_known: bool = True


@attrs.frozen
class Route:
    """Where a name leads.

    Attributes:
        backend: The name of the backend that owns it.
        name: What the backend itself calls it.
        mirrored: A tool's parameters that are repeated in HTTP headers.
    """

    backend: str
    name: str
    mirrored: tuple[MirroredParameter, ...] = ()


@attrs.frozen(order=True)
class Conflict:
    """A name or URI that two backends expose.

    Attributes:
        kind: What it is: ``tools``, ``prompts``, ``resources`` or ``resourceTemplates``.
        name: The exposed name or URI.
        winner: The backend that it leads to.
        loser: The backend whose item is hidden by that.
    """

    kind: str
    name: str
    winner: str
    loser: str


@attrs.frozen
class Section:
    """Everything of one kind that is exposed.

    Attributes:
        routes: Where each exposed name or URI leads.
        definitions: The items with their exposed names, in order.
        ttl_ms: How long the list is fresh: the shortest of the backends', in milliseconds; 0 as
            long as some backend has yet to list anything.
        is_public: Whether every backend says that its list is the same for every caller.
    """

    routes: dict[str, Route]
    definitions: tuple[Raw, ...] = attrs.field(eq=lambda items: tuple(map(bytes, items)))
    ttl_ms: int
    is_public: bool


@attrs.frozen
class RoutingTable:
    """Where everything leads, for one view.

    Attributes:
        sections: What is exposed, by kind.
        conflicts: Names and URIs that several backends expose.
    """

    sections: dict[Catalogue, Section]
    conflicts: tuple[Conflict, ...]
    _templates: tuple[tuple[UriTemplate, str], ...]

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


def build(sources: Sequence[Source]) -> RoutingTable:
    """Build the table of some backends, given in configuration order."""
    conflicts: list[Conflict] = []
    sections = {kind: _section(kind, sources, conflicts) for kind in CATALOGUES}
    # Several backends may have the same template and different resources that match it.
    templates = tuple(
        (UriTemplate(item.identity), source.name)
        for source in sources
        for item in source.listings[TEMPLATES].items
    )
    return RoutingTable(sections, tuple(conflicts), templates)


def _section(kind: Catalogue, sources: Iterable[Source], conflicts: list[Conflict]) -> Section:
    routes: dict[str, Route] = {}
    definitions: list[Raw] = []
    hints: list[Listing] = []
    for source in sources:
        listing = source.listings[kind]
        if listing.items or listing.ttl_ms is not None or not source.is_known:
            hints.append(listing)
        prefix = source.prefix if kind in _NAMED else ""
        for item in listing.items:
            exposed = prefix + item.identity
            holder = routes.get(exposed)
            if holder is not None:
                conflicts.append(Conflict(kind.key, exposed, holder.backend, source.name))
                continue
            routes[exposed] = Route(source.name, item.identity, item.mirrored)
            definitions.append(_renamed(item, exposed) if prefix else item.definition)
    return Section(
        routes,
        tuple(definitions),
        min((hint.ttl_ms or 0 for hint in hints), default=0),
        bool(hints) and all(hint.is_public for hint in hints),
    )


def _renamed(item: Item, exposed: str) -> Raw:
    return join({**split(item.definition, "an item"), "name": raw(exposed)})
