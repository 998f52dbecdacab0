"""Named views, and which of their words can never mean anything."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Protocol

import attrs

from onemcp.config import _rules as rules
from onemcp.config._problems import Path
from onemcp.config._words import nearest


@attrs.frozen(kw_only=True)
class Patterns:
    """What is let through, by glob patterns.

    Attributes:
        allow: What is, or None for all.
        deny: What isn't, even where it is allowed.
    """

    allow: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(rules.strings)
    )
    deny: tuple[str, ...] = attrs.field(default=(), converter=rules.strings)


@attrs.frozen(kw_only=True)
class Wording:
    """What a view says of a tool or prompt in other words than its server's; None leaves those."""

    title: str | None = None
    description: str | None = None


@attrs.frozen(kw_only=True)
class WordedPatterns(Patterns):
    """What is let through of tools or prompts, and in which words.

    Attributes:
        override: Other words, by `SERVER/NAME`.
    """

    override: Mapping[str, Wording] = attrs.field(
        factory=dict, converter=rules.read_only, hash=False
    )


@attrs.frozen(kw_only=True)
class View:
    """A selection of what the backends offer, served at an address of its own.

    Attributes:
        name: Its key in `views`, unique, and no backend's.
        backends: The backends that it shows, or None.
        tags: It also shows the backends that carry one of these, or None. Where both are None, it
            shows all.
        tools: Which of their tools.
        prompts: Which of their prompts.
        resources: Which of their resources and templates, by URI.
        prefix: Whether tools and prompts have the prefixes of their backends.
        instructions: What it tells models instead of what onemcp and the backends say.
    """

    name: str = attrs.field(validator=rules.matches(rules.NAME))
    backends: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(rules.strings)
    )
    tags: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(rules.strings)
    )
    tools: WordedPatterns = attrs.field(factory=WordedPatterns)
    prompts: WordedPatterns = attrs.field(factory=WordedPatterns)
    resources: Patterns = attrs.field(factory=Patterns)
    prefix: bool = True
    instructions: str | None = None

    def shown(self, servers: Mapping[str, Collection[str]]) -> list[str]:
        """Return which servers it shows, given the tags of each by its name."""
        if self.backends is None and self.tags is None:
            return list(servers)
        names, wanted = self.backends or (), set(self.tags or ())
        return [name for name, tags in servers.items() if name in names or wanted & set(tags)]


@attrs.frozen
class Flaw:
    """Something that can never mean anything.

    Attributes:
        path: Where, from the view or server on.
        message: What is wrong.
        remedy: What to do about it.
    """

    path: Path
    message: str
    remedy: str


def flaws(view: View, servers: Mapping[str, Collection[str]]) -> Iterator[Flaw]:
    """Find what is wrong with a view.

    Args:
        view: The view.
        servers: The tags of each server, by its name.
    """
    if view.name in servers:
        yield Flaw((), "is the name of a server too", "Rename the view: both have the same address")
    known_tags = sorted({tag for tags in servers.values() for tag in tags})
    yield from _unknown("backends", view.backends or (), list(servers), "no such server")
    yield from _unknown("tags", view.tags or (), known_tags, "no server carries this tag")
    shown = view.shown(servers)
    for option, patterns in (("tools", view.tools), ("prompts", view.prompts)):
        yield from _pointless(option, "allow", patterns.allow or (), shown)
        yield from _pointless(option, "deny", patterns.deny, shown)
        for key in patterns.override:
            server, slash, name = key.partition("/")
            where = (option, "override", key)
            if not (slash and name):
                yield Flaw(where, "is not of the form SERVER/NAME", _form(key, shown))
            elif server not in shown:
                yield Flaw(where, *_not_shown(server, shown))
    yield from contradictions(view)


class Filtered(Protocol):
    """What has patterns for each kind of thing."""

    @property
    def tools(self) -> Patterns: ...
    @property
    def prompts(self) -> Patterns: ...
    @property
    def resources(self) -> Patterns: ...


def contradictions(filtered: Filtered) -> Iterator[Flaw]:
    """Find what is allowed and denied in the same words."""
    for option in ("tools", "prompts", "resources"):
        patterns: Patterns = getattr(filtered, option)
        for index, pattern in enumerate(patterns.allow or ()):
            if pattern in patterns.deny:
                where = (option, "allow", index)
                yield Flaw(where, "is denied as well, so it lets nothing through", "Keep one")


def _unknown(option: str, names: Iterable[str], known: list[str], message: str) -> Iterator[Flaw]:
    for index, name in enumerate(names):
        if name not in known:
            yield Flaw((option, index), message, _meant(name, known))


def _pointless(option: str, key: str, patterns: Iterable[str], shown: list[str]) -> Iterator[Flaw]:
    for index, pattern in enumerate(patterns):
        server, slash, _ = pattern.partition("/")
        if slash and not any(fnmatchcase(name, server) for name in shown):
            yield Flaw((option, key, index), *_not_shown(server, shown))


def _not_shown(server: str, shown: list[str]) -> tuple[str, str]:
    return "what stands before the slash is no server of this view", _meant(server, shown)


def _form(key: str, shown: list[str]) -> str:
    return f'Write "{shown[0]}/{key}"' if len(shown) == 1 else "Name the server too"


def _meant(name: str, known: list[str]) -> str:
    meant = nearest(name, known)
    if meant is not None:
        return f'Did you mean "{meant}"?'
    return f"There are: {', '.join(known)}" if known else "There are none"
