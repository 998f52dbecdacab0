"""What scopes of tokens let their bearers see.

A scope that names what there is not lets nobody see anything. A client that has found its way by
the metadata of an endpoint asks for ``backend:NAME``, not knowing whether a backend or a view has
that name; since never both have it, either is meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from onemcp.auth import Kind, Scope

from .endpoint import Arrangement
from .selection import (
    EVERYTHING,
    NONE,
    NOTHING,
    Filter,
    Pattern,
    Rule,
    Selection,
    intersection,
    union,
)

ALL: Final = Scope(kind=Kind.EVERYTHING)
"""The scope of everything."""

_READ_ONLY: Final = Rule(read_only=True)


def selection_of(scopes: Iterable[Scope], arrangement: Arrangement) -> Selection:
    """Return what may be seen with some scopes, as backends and views are arranged."""
    ordered = sorted(scopes, key=str)  # equal ones make equal selections
    return union(_selected(scope, arrangement) for scope in ordered)


def _selected(scope: Scope, arrangement: Arrangement) -> Selection:
    whole = _whole(scope, arrangement)
    return intersection([whole, _READ_ONLY]) if scope.read_only else whole


def _whole(scope: Scope, arrangement: Arrangement) -> Selection:
    view = arrangement.views.get(scope.name)
    match scope.kind:
        case Kind.EVERYTHING:
            return EVERYTHING
        case Kind.BACKEND if view is None:
            return Rule(frozenset({scope.name}))
        case Kind.BACKEND | Kind.VIEW if view is not None:
            return view.selection
        case Kind.TAG if scope.name in arrangement.tags:
            return Rule(arrangement.tags[scope.name])
        case Kind.TOOL:
            tools = Filter(allow=(Pattern(scope.pattern),))
            return Rule(frozenset({scope.name}), tools, NONE, NONE)
    return NOTHING
