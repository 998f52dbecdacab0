"""What each endpoint is to show, as the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from onemcp import config
from onemcp.protocol.methods import PROMPTS, TOOLS

from .selection import EVERYTHING, NOTHING, Filter, Pattern, PerBackend, Rule, Selection
from .table import NO_WORDINGS, Subject, Wording
from .unmatched import WatchedPattern, watched


@attrs.frozen
class Endpoint:
    """What one endpoint shows, and how.

    Attributes:
        selection: What of the backends.
        is_bare: Whether tools and prompts have their backends' own names, without prefixes.
        wordings: What is told differently of some of them.
        instructions: What models are told instead of what the operator and the backends say, or
            None.
        backend: The one backend that is shown alone, or None.
    """

    selection: Selection = EVERYTHING
    is_bare: bool = False
    wordings: Mapping[Subject, Wording] = NO_WORDINGS
    instructions: str | None = None
    backend: str | None = None

    @classmethod
    def alone(cls, backend: str) -> Endpoint:
        """Return the endpoint of a single backend."""
        return cls(Rule(frozenset({backend})), is_bare=True, backend=backend)


WHOLE: Final = Endpoint()
"""The endpoint of everything."""

GONE: Final = Endpoint(NOTHING)
"""An endpoint that there is no more."""


@attrs.frozen
class Arrangement:
    """What the configuration says of who sees what.

    Attributes:
        views: The named views.
        filters: What is seen of the backends at all, wherever it may be.
        tags: The names of the backends that carry each tag.
        patterns: All patterns in that.
    """

    views: Mapping[str, Endpoint] = attrs.field(factory=lambda: MappingProxyType({}))
    filters: Selection = EVERYTHING
    tags: Mapping[str, frozenset[str]] = attrs.field(factory=lambda: MappingProxyType({}))
    patterns: tuple[WatchedPattern, ...] = ()

    @classmethod
    def of(cls, configuration: config.Configuration) -> Arrangement:
        """Read it from a configuration."""
        backends = configuration.backends
        rules = tuple((each.name, rule) for each in backends if (rule := _own_rule(each)) != Rule())
        servers = {backend.name: backend.tags for backend in backends}
        tags = {
            tag: frozenset(name for name, carried in servers.items() if tag in carried)
            for carried_by_one in servers.values()
            for tag in carried_by_one
        }
        return cls(
            {view.name: _endpoint(view, servers) for view in configuration.views},
            PerBackend(rules) if rules else EVERYTHING,
            tags,
            tuple(watched(configuration)),
        )


def _own_rule(backend: config.Backend) -> Rule:
    """Return what is seen of a backend; its patterns are its own names, slashes and all."""
    return Rule(
        None,
        _filter(backend.tools, Pattern),
        _filter(backend.prompts, Pattern),
        _filter(backend.resources, Pattern),
    )


def _endpoint(view: config.View, servers: Mapping[str, Sequence[str]]) -> Endpoint:
    rule = Rule(
        frozenset(view.shown(servers)),
        _filter(view.tools, Pattern.parse),
        _filter(view.prompts, Pattern.parse),
        _filter(view.resources, Pattern),
    )
    overrides = ((TOOLS, view.tools.override), (PROMPTS, view.prompts.override))
    wordings = {
        (kind, backend, name): Wording(override.title, override.description)
        for kind, of_kind in overrides
        for key, override in of_kind.items()
        for backend, _, name in (key.partition("/"),)
    }
    return Endpoint(rule, not view.prefix, wordings, view.instructions)


def _filter(patterns: config.Patterns, read: Callable[[str], Pattern]) -> Filter:
    allow = None if patterns.allow is None else tuple(map(read, patterns.allow))
    return Filter(allow, tuple(map(read, patterns.deny)))
