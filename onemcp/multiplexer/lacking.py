"""Which scope is lacking, where a request names what its sender may not see but could come to.

What somebody could not even ask for is not there for them, here as everywhere: so the answer never
tells more than a person who agrees to it would see.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from onemcp.auth import Kind, Scope
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import split, value_of
from onemcp.protocol.jsonrpc import Request
from onemcp.protocol.methods import (
    COMPLETE,
    PROMPTS,
    PROMPTS_GET,
    RESOURCES,
    RESOURCES_READ,
    SUBSCRIBE,
    TOOLS,
    TOOLS_CALL,
    Catalogue,
)

from .contents import Contents
from .endpoint import Arrangement
from .scopes import selection_of
from .selection import EVERYTHING, Candidate
from .view import View

_Named: TypeAlias = tuple[Catalogue, str]
"""What a request is about: of which kind it is, and how it is called where it was sent."""

_NAMING: Final = {
    TOOLS_CALL: (TOOLS, "name"),
    PROMPTS_GET: (PROMPTS, "name"),
    RESOURCES_READ: (RESOURCES, "uri"),
    SUBSCRIBE: (RESOURCES, "uri"),
}
_REFERENCES: Final = {"ref/prompt": (PROMPTS, "name"), "ref/resource": (RESOURCES, "uri")}


def lacking(request: Request, seen: View, attainable: frozenset[Scope]) -> Scope | None:
    """Return the least scope that a request takes and its sender lacks, but could have.

    Args:
        request: What is asked for.
        seen: What its sender may see where it was sent.
        attainable: What the sender could have at most.

    Returns:
        The scope; None where none is lacking, or where none would help.
    """
    if seen.selection == EVERYTHING or not attainable:
        return None
    multiplexer = seen.multiplexer
    whole = multiplexer.view(seen.name, multiplexer.granted(attainable))
    named = _named(request)
    if whole is None or named is None or _find(seen.contents, *named) is not None:
        return None
    item = _find(whole.contents, *named)
    return None if item is None else _least(item, attainable, multiplexer.arrangement)


def _named(request: Request) -> _Named | None:
    """Return what a request is about; None where it is about nothing, or malformed."""
    try:
        fields = split(request.params)
        naming = _NAMING.get(request.method)
        if request.method == COMPLETE:
            fields = split(fields.get("ref", b"{}"))
            naming = _REFERENCES.get(value_of(fields, "type", str) or "")
    except InvalidParams:
        return None
    name = None if naming is None else value_of(fields, naming[1], str)
    return None if naming is None or name is None else (naming[0], name)


def _find(contents: Contents, kind: Catalogue, name: str) -> Candidate | None:
    """Return what a name leads to; a URI only where it is listed, or a template that it matches."""
    if kind is RESOURCES:
        owners = contents.owners(name)
        return Candidate(owners[0].name, kind, name) if owners else None
    route = contents.table.route(kind, name)
    return None if route is None else contents.behind(route, kind)


def _least(item: Candidate, attainable: Iterable[Scope], arrangement: Arrangement) -> Scope | None:
    """Return the narrowest scope that covers an item, of those that can be had."""
    backend = Scope(kind=Kind.BACKEND, name=item.backend)
    reading = Scope(kind=Kind.BACKEND, name=item.backend, read_only=True)
    exactly = Scope(kind=Kind.TOOL, name=item.backend, pattern=item.name)
    narrow = [reading, backend] if "*" in item.name else [exactly, reading, backend]
    for scope in [*narrow, *sorted(attainable, key=str)]:
        can_be_had = any(each.implies(scope) for each in attainable)
        can_be_named = Scope.parse(str(scope)) == scope
        covers = selection_of([scope], arrangement).covers(item)
        if can_be_had and can_be_named and covers:
            return scope
    return None
