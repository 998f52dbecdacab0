"""Which scopes are lacking, where a request is about what its sender may not see but could come to.

What somebody could not even ask for is not there for them, here as everywhere: so the answer never
tells more than a person who agrees to it would see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias

from onemcp.auth import Kind, Scope
from onemcp.protocol import tasks
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, plain, split, value_of
from onemcp.protocol.jsonrpc import Request
from onemcp.protocol.methods import (
    CATALOGUES,
    COMPLETE,
    LISTEN,
    PROMPTS,
    PROMPTS_GET,
    REQUESTS,
    RESOURCES,
    RESOURCES_READ,
    SUBSCRIBE,
    TOOLS,
    TOOLS_CALL,
    Catalogue,
)

from .contents import Contents
from .endpoint import Arrangement
from .extensions import extended, named_by
from .scopes import selection_of
from .selection import EVERYTHING, Candidate, Extent, Selection
from .subscriptions import read_filter, read_task_ids
from .table import Route
from .view import View

_Need: TypeAlias = Candidate | str
"""What a request is about: an item, or all that a backend has, by its name."""

_NAMING: Final = {
    TOOLS_CALL: (TOOLS, "name"),
    PROMPTS_GET: (PROMPTS, "name"),
    RESOURCES_READ: (RESOURCES, "uri"),
    SUBSCRIBE: (RESOURCES, "uri"),
}
_REFERENCES: Final = {"ref/prompt": (PROMPTS, "name"), "ref/resource": (RESOURCES, "uri")}


def lacking(
    request: Request, seen: View, attainable: frozenset[Scope], principal: str
) -> frozenset[Scope]:
    """Return the least scopes that a request takes and its sender lacks, but could have.

    Args:
        request: What is asked for.
        seen: What its sender may see where it was sent.
        attainable: What the sender could have at most.
        principal: Whose tasks the sender's are.

    Returns:
        The scopes; none where none is lacking, or where none would help.
    """
    if seen.selection == EVERYTHING or not attainable:
        return frozenset()
    multiplexer = seen.multiplexer
    whole = multiplexer.view(seen.name, multiplexer.granted(attainable), seen.user)
    if whole is None:
        return frozenset()
    scopes = set()
    with suppress(InvalidParams):  # what is malformed is refused elsewhere
        for need in _needs(request, seen, whole, principal):
            scopes.add(_least(need, attainable, multiplexer.arrangement))
    return frozenset(scope for scope in scopes if scope is not None)


def _needs(request: Request, seen: View, whole: View, principal: str) -> Iterator[_Need]:
    """Yield what a request is about of what is seen as a whole only.

    Raises:
        InvalidParams: The request is malformed.
    """
    fields = split(request.params)
    match request.method:
        case method if method in _NAMING:
            yield from _named(fields, _NAMING[method], seen, whole)
        case method if method == COMPLETE:
            reference = split(fields.get("ref", b"{}"))
            naming = _REFERENCES.get(value_of(reference, "type", str) or "")
            if naming is not None:
                yield from _named(reference, naming, seen, whole)
        case method if method == LISTEN:
            wanted = plain(fields.get("notifications"))
            for uri in sorted(read_filter(wanted)[1]):
                yield from _item(RESOURCES, uri, seen, whole)
            for task_id in sorted(read_task_ids(wanted)):
                yield from _task(task_id, seen, whole, principal)
        case method if method in tasks.METHODS:
            named = value_of(fields, tasks.TASK_ID, str)
            yield from () if named is None else _task(named, seen, whole, principal)
        case method if method not in REQUESTS:
            yield from _extension(fields, seen, whole)


def _named(
    fields: Fields, naming: tuple[Catalogue, str], seen: View, whole: View
) -> Iterator[Candidate]:
    kind, key = naming
    name = value_of(fields, key, str)
    if name is not None:
        yield from _item(kind, name, seen, whole)


def _item(kind: Catalogue, name: str, seen: View, whole: View) -> Iterator[Candidate]:
    if _find(seen.contents, kind, name) is None:
        item = _find(whole.contents, kind, name)
        if item is not None:
            yield item


def _find(contents: Contents, kind: Catalogue, name: str) -> Candidate | None:
    """Return what a name leads to; a URI only where it is listed, or a template that it matches."""
    if kind is RESOURCES:
        owners = contents.owners(name)
        return Candidate(owners[0].name, kind, name) if owners else None
    route = contents.table.route(kind, name)
    return None if route is None or route.is_own else contents.behind(route, kind)


def _task(task_id: str, seen: View, whole: View, principal: str) -> Iterator[_Need]:
    """Yield the tool whose call a task of the sender's is; or its backend, if that isn't known."""
    ref = seen.multiplexer.tasks.peek(task_id, principal, seen.name)
    if ref is None or seen.contents.has_task(ref) or not whole.contents.has_task(ref):
        return
    tool = Route(ref.backend, ref.tool)
    yield whole.contents.behind(tool, TOOLS) if ref.tool else ref.backend


def _extension(fields: Fields, seen: View, whole: View) -> Iterator[str]:
    """Yield the backend that a request of an extension can only be meant for."""
    here, there = extended(seen), extended(whole)
    meant = named_by(whole, fields) & there.keys() or there.keys()
    if len(meant) == 1 and not meant & here.keys() and (meant != there.keys() or not here):
        yield from meant


def _least(need: _Need, attainable: Iterable[Scope], arrangement: Arrangement) -> Scope | None:
    """Return the narrowest scope that covers a need, of those that can be had."""
    for scope in [*_narrow(need), *sorted(attainable, key=str)]:
        can_be_had = any(each.implies(scope) for each in attainable)
        can_be_named = Scope.parse(str(scope)) == scope
        if can_be_had and can_be_named and _covers(selection_of([scope], arrangement), need):
            return scope
    return None


def _narrow(need: _Need) -> list[Scope]:
    name = need if isinstance(need, str) else need.backend
    backend = Scope(kind=Kind.BACKEND, name=name)
    if isinstance(need, str):
        return [backend]
    reading = Scope(kind=Kind.BACKEND, name=name, read_only=True)
    exactly = Scope(kind=Kind.TOOL, name=name, pattern=need.name)
    return [reading, backend] if "*" in need.name else [exactly, reading, backend]


def _covers(selection: Selection, need: _Need) -> bool:
    if isinstance(need, Candidate):
        return selection.covers(need)
    return all(selection.extent(need, kind) is Extent.ALL for kind in CATALOGUES)
