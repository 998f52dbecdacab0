"""Which patterns of the configuration match nothing that there is.

A pattern that can never match is refused when the configuration is loaded. One that could, but for
what the backends offer, shows only now: most often it has a typing error in it, or its tool has got
another name. It is judged once every backend that it speaks of is up, and as long as one is away
the last judgement stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from onemcp import config
from onemcp.backend import Backend
from onemcp.backend.catalogue import Listing
from onemcp.protocol.methods import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Catalogue

from .selection import Filter, Pattern


@attrs.frozen
class UnmatchedPattern:
    """A pattern of the configuration matches nothing that any backend offers.

    Attributes:
        where: Where it stands, such as ``views.support.tools.allow``.
        pattern: The pattern.
    """

    where: str
    pattern: str


@attrs.frozen(cache_hash=True)
class WatchedPattern:
    """A pattern of the configuration, and what it is about.

    Attributes:
        told: How it is told of.
        kind: What it matches; with resources their templates as well.
        backends: The backends that it is about.
        pattern: What it matches of them.
        is_denial: Whether it matches what must not be seen, and so a URI in every spelling.
    """

    told: UnmatchedPattern
    kind: Catalogue
    backends: frozenset[str]
    pattern: Pattern
    is_denial: bool = False

    def matches(self, backend: str, listing: Listing) -> bool:
        """Tell whether it matches anything of a list."""
        return any(self._matches(backend, item.identity) for item in listing.items)

    def _matches(self, backend: str, identity: str) -> bool:
        if self.kind is RESOURCES and self.is_denial:
            return not Filter(deny=(self.pattern,)).passes_uri(backend, identity)
        return self.pattern.matches(backend, identity)


def watched(configuration: config.Configuration) -> Iterator[WatchedPattern]:
    """Return all patterns of a configuration."""
    servers = {backend.name: backend.tags for backend in configuration.backends}
    for view in configuration.views:
        where, shown = f"views.{view.name}", frozenset(view.shown(servers))
        yield from _of_kind(TOOLS, view.tools, f"{where}.tools", shown, Pattern.parse)
        yield from _of_kind(PROMPTS, view.prompts, f"{where}.prompts", shown, Pattern.parse)
        yield from _of_kind(RESOURCES, view.resources, f"{where}.resources", shown, Pattern)
        yield from _overrides(TOOLS, view.tools, f"{where}.tools", shown)
        yield from _overrides(PROMPTS, view.prompts, f"{where}.prompts", shown)
    for backend in configuration.backends:
        where, alone = f"mcpServers.{backend.name}", frozenset({backend.name})
        yield from _of_kind(TOOLS, backend.tools, f"{where}.tools", alone, Pattern)
        yield from _of_kind(PROMPTS, backend.prompts, f"{where}.prompts", alone, Pattern)
        yield from _of_kind(RESOURCES, backend.resources, f"{where}.resources", alone, Pattern)


def _of_kind(
    kind: Catalogue,
    patterns: config.Patterns,
    where: str,
    backends: frozenset[str],
    read: Callable[[str], Pattern],
) -> Iterator[WatchedPattern]:
    for option, sources in (("allow", patterns.allow or ()), ("deny", patterns.deny)):
        for source in sources:
            told, pattern = UnmatchedPattern(f"{where}.{option}", source), read(source)
            if pattern.name != "*":  # which means all, however many there are
                yield WatchedPattern(told, kind, backends, pattern, is_denial=option == "deny")


def _overrides(
    kind: Catalogue, patterns: config.WordedPatterns, where: str, backends: frozenset[str]
) -> Iterator[WatchedPattern]:
    for key in patterns.override:
        backend, _, name = key.partition("/")
        told = UnmatchedPattern(f"{where}.override", key)
        yield WatchedPattern(told, kind, backends & {backend}, Pattern.exactly(name))


class PatternWatch:
    """Finds the patterns that match nothing.

    Attributes:
        unmatched: Those that match nothing just now, in the order of the configuration.
    """

    def __init__(self, on_event: Callable[[UnmatchedPattern], object]) -> None:
        """Watch no pattern yet.

        Args:
            on_event: Told of each pattern once it matches nothing, and again if it has matched
                something meanwhile.
        """
        self.unmatched: tuple[UnmatchedPattern, ...] = ()
        self._on_event = on_event
        self._seen: dict[tuple[WatchedPattern, str], tuple[Listing, bool]] = {}

    def look(self, patterns: Sequence[WatchedPattern], backends: Mapping[str, Backend]) -> None:
        """Judge patterns by what backends list; only what has changed is looked at again."""
        before, after = self.unmatched, dict[UnmatchedPattern, None]()
        seen, self._seen = self._seen, {}
        for pattern in patterns:
            concerned = [each for name, each in backends.items() if name in pattern.backends]
            concerned = [each for each in concerned if pattern.pattern.is_of(each.name)]
            found = [self._is_matched(pattern, each, seen) for each in concerned]
            is_judged = concerned and all(backend.is_up for backend in concerned)
            if not any(found) and (is_judged or pattern.told in before):
                after[pattern.told] = None
        self.unmatched = tuple(after)
        for told in after:
            if told not in before:
                self._on_event(told)

    def _is_matched(
        self,
        pattern: WatchedPattern,
        backend: Backend,
        seen: Mapping[tuple[WatchedPattern, str], tuple[Listing, bool]],
    ) -> bool:
        if pattern.kind is RESOURCES and backend.listings[TEMPLATES].items:
            return True  # who knows what there is behind a template
        listing, key = backend.listings[pattern.kind], (pattern, backend.name)
        known = seen.get(key)
        if known is None or known[0] is not listing:
            known = listing, pattern.matches(backend.name, listing)
        self._seen[key] = known
        return known[1]
