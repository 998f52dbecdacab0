"""What a token is good for, as a value: parsed once, compared by meaning.

==========================  ================================================================
scope                       opens
==========================  ================================================================
``mcp``                     everything
``backend:NAME``            what one backend offers
``tag:NAME``                what carries a tag
``view:NAME``               what one named view shows
``tool:BACKEND/PATTERN``    the tools of a backend whose own names match; ``*`` is any text
``admin``                   the gateway itself: its state, its logs, and what operators may do
==========================  ================================================================

All but the last two may end in ``:read``: then only tools that say they are read-only, resources
and prompts. What can't be parsed is good for nothing. ``mcp`` and ``admin`` are apart: neither
opens anything of what the other does, so that nobody administers who was not named for it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import attrs

from onemcp.auth._principal import Principal

MAX_SCOPES: Final = 64
READ: Final = ":read"

_SCOPE: Final = re.compile(
    r"(?:(?P<everything>mcp)|(?P<kind>backend|tag|view):(?P<name>[A-Za-z0-9_.-]{1,64}))"
    r"(?P<read>:read)?"
    r"|(?P<admin>admin)"
    r"|tool:(?P<backend>[A-Za-z0-9_.-]{1,64})/(?P<pattern>[A-Za-z0-9_.*/-]{1,128})"
)


class Kind(enum.StrEnum):
    """What a scope names."""

    EVERYTHING = "mcp"
    BACKEND = "backend"
    TAG = "tag"
    VIEW = "view"
    TOOL = "tool"
    ADMIN = "admin"


UNREADABLE: Final = frozenset({Kind.TOOL, Kind.ADMIN})
"""What has no form that is for reading only."""


@attrs.frozen(kw_only=True, cache_hash=True)
class Scope:
    """One scope.

    Attributes:
        kind: What it names.
        name: The name of that; with tools, of their backend; empty for everything.
        pattern: Which tools.
        read_only: Whether it opens only what changes nothing.
    """

    kind: Kind
    name: str = ""
    pattern: str = ""
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Scope | None:
        """Read a scope; None if it is none of ours."""
        match = _SCOPE.fullmatch(text)
        if match is None:
            return None
        found = match.groupdict(default="")
        if found["backend"]:
            return cls(kind=Kind.TOOL, name=found["backend"], pattern=found["pattern"])
        kind = Kind(found["everything"] or found["admin"] or found["kind"])
        return cls(kind=kind, name=found["name"], read_only=bool(found["read"]))

    def __str__(self) -> str:
        if self.kind is Kind.TOOL:
            return f"tool:{self.name}/{self.pattern}"
        text = f"{self.kind}:{self.name}" if self.name else self.kind
        return f"{text}{READ if self.read_only else ''}"

    def implies(self, other: Scope) -> bool:
        """Tell whether whoever has this has the other too (MCP, "Step-Up Authorization Flow")."""
        if self.read_only and not other.read_only:
            return False
        if self.kind is Kind.EVERYTHING:
            return other.kind is not Kind.ADMIN
        if self.kind is Kind.BACKEND and other.kind is Kind.TOOL:
            return self.name == other.name
        if (self.kind, self.name) != (other.kind, other.name):
            return False
        return self.kind is not Kind.TOOL or self.opens_tools_like(other.pattern)

    def opens_tools_like(self, pattern: str) -> bool:
        """Tell whether every tool that matches the pattern, or is it, matches this one's."""
        # With "*" read as a letter of its own: what any text matches, the asterisk does too.
        return self.pattern == pattern or _regex(self.pattern).fullmatch(pattern) is not None


ADMIN: Final = Scope(kind=Kind.ADMIN)
"""The scope of the gateway itself."""


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    # Runs of asterisks are one, so that matching stays linear enough.
    parts = re.split(r"\*+", pattern)
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def parse_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Read scopes; what is none of ours is left out."""
    found = (Scope.parse(word) for word in words)
    return frozenset(scope for scope in found if scope is not None)


@lru_cache(maxsize=1024)
def _parsed(words: frozenset[str]) -> frozenset[Scope]:
    return parse_scopes(words)


def rights_of(principal: Principal) -> frozenset[Scope]:
    """Return what a token is good for."""
    return _parsed(principal.scopes)


def meet(asked: Iterable[Scope], allowed: Iterable[Scope]) -> frozenset[Scope]:
    """Return what is both asked for and allowed; what was asked for by name keeps its name."""
    asked, allowed = frozenset(asked), frozenset(allowed)
    named = asked | allowed
    reading = {attrs.evolve(each, read_only=True) for each in named if each.kind not in UNREADABLE}
    both = {
        scope for scope in named | reading if _implied(scope, asked) and _implied(scope, allowed)
    }
    return frozenset(
        scope for scope in both if scope in asked or not _implied(scope, both - {scope})
    )


def _implied(scope: Scope, by: Iterable[Scope]) -> bool:
    return any(other.implies(scope) for other in by)


def in_words(scopes: Iterable[Scope]) -> str:
    """Write scopes as the one string that OAuth has them in (RFC 6749, section 3.3)."""
    return " ".join(sorted(map(str, scopes)))
