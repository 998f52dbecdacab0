"""What may be seen of the backends, as a value.

Theory of operation: a view, a backend's own filter and the rights of a caller are all the same
thing, a :class:`Selection`: a predicate over items of backends. Selections are values: they are
compared and hashed, so that what was worked out for one (a routing table, prepared pages) is kept
for it, and they are put together with ``&`` and ``|``. `covers` is asked for each item when a table
is built, never when a name is called; only a URI, which need not be listed to be read, is asked
for as it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from fnmatch import translate
from glob import escape
from typing import Final, Protocol
from urllib.parse import unquote

import attrs
from msgspec import Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import plain, split
from onemcp.protocol.methods import PROMPTS, RESOURCES, TEMPLATES, TOOLS, Catalogue
from onemcp.protocol.uritemplate import MAX_URI

URIS: Final = frozenset({RESOURCES, TEMPLATES})
"""What is named by URIs."""

_ESCAPES: Final = 4
"""How often a URI is decoded: one that is escaped more often hides something."""

_DOTS: Final = frozenset({".", ".."})


@attrs.frozen
class Candidate:
    """An item that may or may not be seen.

    Attributes:
        backend: The name of its backend.
        kind: What it is.
        name: What the backend calls it: its name, its URI, or its URI template.
        definition: The item as the backend lists it, undecoded; None for a URI that isn't listed.
    """

    backend: str
    kind: Catalogue
    name: str
    definition: Raw | None = attrs.field(default=None, eq=False)

    @property
    def is_read_only(self) -> bool:
        """Whether it changes nothing: a tool that says so, and everything that is no tool."""
        if self.kind is not TOOLS:
            return True
        try:
            annotations = plain(split(self.definition or b"{}").get("annotations"))
        except InvalidParams:
            return False
        return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True


class Extent(IntEnum):
    """How much of some items belongs to a selection, whatever items there are."""

    NONE = 0
    SOME = 1
    ALL = 2


class Selection(Protocol):
    """A set of items of backends."""

    def covers(self, item: Candidate) -> bool:
        """Tell whether an item belongs to it."""
        ...

    def extent(self, backend: str, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind belongs to it."""
        ...

    def __hash__(self) -> int: ...


@attrs.frozen(cache_hash=True)
class AllOf:
    """What belongs to every part; without parts, everything."""

    parts: tuple[Selection, ...] = ()

    def covers(self, item: Candidate) -> bool:
        """Tell whether an item belongs to it."""
        return all(part.covers(item) for part in self.parts)

    def extent(self, backend: str, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind belongs to it."""
        return min((each.extent(backend, kind) for each in self.parts), default=Extent.ALL)


@attrs.frozen(cache_hash=True)
class AnyOf:
    """What belongs to some part; without parts, nothing."""

    parts: tuple[Selection, ...] = ()

    def covers(self, item: Candidate) -> bool:
        """Tell whether an item belongs to it."""
        return any(part.covers(item) for part in self.parts)

    def extent(self, backend: str, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind belongs to it."""
        return max((each.extent(backend, kind) for each in self.parts), default=Extent.NONE)


EVERYTHING: Final = AllOf()
NOTHING: Final = AnyOf()


def intersection(selections: Iterable[Selection]) -> Selection:
    """Return what belongs to all of some selections."""
    parts = dict.fromkeys(part for part in selections if part != EVERYTHING)
    if NOTHING in parts:
        return NOTHING
    return next(iter(parts)) if len(parts) == 1 else AllOf(tuple(parts))


def union(selections: Iterable[Selection]) -> Selection:
    """Return what belongs to any of some selections."""
    parts = dict.fromkeys(part for part in selections if part != NOTHING)
    if EVERYTHING in parts:
        return EVERYTHING
    return next(iter(parts)) if len(parts) == 1 else AnyOf(tuple(parts))


# --- names ---------------------------------------------------------------------------------------


@attrs.frozen
class Pattern:
    """Names of items of backends.

    Attributes:
        name: A glob (``*``, ``?``, ``[...]``, case matters) on what the backend calls an item.
        backend: A glob on the backend's name.
    """

    name: str
    backend: str = "*"
    _name: re.Pattern[str] = attrs.field(init=False, eq=False, repr=False)
    _backend: re.Pattern[str] = attrs.field(init=False, eq=False, repr=False)

    @_name.default
    def _compile_name(self) -> re.Pattern[str]:
        return re.compile(translate(self.name))

    @_backend.default
    def _compile_backend(self) -> re.Pattern[str]:
        return re.compile(translate(self.backend))

    @classmethod
    def parse(cls, source: str) -> Pattern:
        """Read ``BACKEND/NAME``, or ``NAME`` for every backend."""
        backend, slash, name = source.partition("/")
        return cls(name, backend) if slash else cls(source)

    @classmethod
    def exactly(cls, name: str) -> Pattern:
        """Return what matches one name and no other."""
        return cls(escape(name))

    def is_of(self, backend: str) -> bool:
        """Tell whether it speaks of a backend."""
        return self._backend.match(backend) is not None

    def matches(self, backend: str, name: str) -> bool:
        """Tell whether it names an item."""
        return self._name.match(name) is not None and self.is_of(backend)


@attrs.frozen
class Filter:
    """Which names are let through; what is denied is denied, whatever is allowed.

    Attributes:
        allow: Those that are, or None for all.
        deny: Those that aren't.
    """

    allow: tuple[Pattern, ...] | None = None
    deny: tuple[Pattern, ...] = ()
    _denied_uris: tuple[Pattern, ...] = attrs.field(init=False, eq=False, repr=False)

    @_denied_uris.default
    def _fold(self) -> tuple[Pattern, ...]:
        return tuple(Pattern(unquote(each.name).casefold(), each.backend) for each in self.deny)

    def passes(self, backend: str, name: str) -> bool:
        """Tell whether a name is let through."""
        if any(pattern.matches(backend, name) for pattern in self.deny):
            return False
        return self.allow is None or any(each.matches(backend, name) for each in self.allow)

    def passes_uri(self, backend: str, uri: str) -> bool:
        """Tell whether a URI, or a URI template, is let through.

        It is the backend that knows which URIs are the same. So one with dot segments, which may
        lead anywhere, never passes a filter, and what is denied is denied in every spelling:
        escaped, in other case, with doubled slashes, a query or a fragment.
        """
        if self.extent(backend) is Extent.ALL:
            return True
        decoded = _decoded(uri) if len(uri) <= MAX_URI else None
        if decoded is None or not _DOTS.isdisjoint(re.split(r"[/?#;]", decoded)):
            return False
        spellings = {uri, decoded, _bare(uri), _bare(decoded)}
        folded = {spelling.casefold() for spelling in spellings}
        if any(denied.matches(backend, each) for denied in self._denied_uris for each in folded):
            return False
        return self.allow is None or any(each.matches(backend, uri) for each in self.allow)

    def extent(self, backend: str) -> Extent:
        """Tell how much of what a backend may have is let through."""
        denied = [pattern for pattern in self.deny if pattern.is_of(backend)]
        if any(pattern.name == "*" for pattern in denied):
            return Extent.NONE
        if self.allow is None:
            return Extent.SOME if denied else Extent.ALL
        return Extent.SOME if any(each.is_of(backend) for each in self.allow) else Extent.NONE


ALL: Final = Filter()
NONE: Final = Filter(allow=())


@attrs.frozen(cache_hash=True)
class Rule:
    """Items of some backends, kind by kind.

    Attributes:
        backends: The names of the backends, or None for all.
        tools: Which of their tools.
        prompts: Which of their prompts.
        resources: Which of their resources and templates, by URI.
        read_only: Whether of the tools only those count that say that they change nothing.
    """

    backends: frozenset[str] | None = None
    tools: Filter = ALL
    prompts: Filter = ALL
    resources: Filter = ALL
    read_only: bool = False

    def covers(self, item: Candidate) -> bool:
        """Tell whether an item belongs to it."""
        if self.backends is not None and item.backend not in self.backends:
            return False
        if item.kind in URIS:
            return self.resources.passes_uri(item.backend, item.name)
        if not self._filter(item.kind).passes(item.backend, item.name):
            return False
        return not self.read_only or item.is_read_only

    def extent(self, backend: str, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind belongs to it."""
        if self.backends is not None and backend not in self.backends:
            return Extent.NONE
        extent = self._filter(kind).extent(backend)
        return min(extent, Extent.SOME) if self.read_only and kind is TOOLS else extent

    def _filter(self, kind: Catalogue) -> Filter:
        if kind is TOOLS:
            return self.tools
        return self.prompts if kind is PROMPTS else self.resources


@attrs.frozen(cache_hash=True)
class PerBackend:
    """A rule for each of some backends, and everything of the others."""

    rules: tuple[tuple[str, Rule], ...]
    _rules: Mapping[str, Rule] = attrs.field(init=False, eq=False, repr=False)

    @_rules.default
    def _by_name(self) -> Mapping[str, Rule]:
        return dict(self.rules)

    def covers(self, item: Candidate) -> bool:
        """Tell whether an item belongs to it."""
        rule = self._rules.get(item.backend)
        return rule is None or rule.covers(item)

    def extent(self, backend: str, kind: Catalogue) -> Extent:
        """Tell how much of what a backend may list of a kind belongs to it."""
        rule = self._rules.get(backend)
        return Extent.ALL if rule is None else rule.extent(backend, kind)


def _decoded(uri: str) -> str | None:
    """Undo all escapes, also backslashes for slashes; None where they never end."""
    for _ in range(_ESCAPES):
        decoded = unquote(uri)
        if decoded == uri:
            return decoded.replace("\\", "/")
        uri = decoded
    return None


def _bare(uri: str) -> str:
    """Leave out query and fragment, and double slashes after the authority."""
    path = re.split(r"[?#]", uri, maxsplit=1)[0]
    scheme, colon, rest = path.partition(":")
    if not colon:
        return path
    slashes = "//" if rest.startswith("//") else ""
    return scheme + colon + slashes + re.sub("/+", "/", rest.removeprefix("//"))
