"""Methods that onemcp has never heard of: those of the extensions that backends advertise.

Implements 2026-07-28, Versioning, Extension Negotiation, for an intermediary. A method says nothing
of the extension that it belongs to, so only a backend that advertises one can be meant, and of
several the one to which a name, a URI or a task's id in the parameters leads. Nor does it say what
it is about: where only a part of a backend is shown, its extensions aren't served.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from onemcp.backend import Backend, Call, Caller
from onemcp.protocol.errors import InvalidParams, MethodNotFound
from onemcp.protocol.fields import Fields, raw, value_of
from onemcp.protocol.methods import PROMPTS, REQUESTS, TOOLS
from onemcp.protocol.tasks import TASK_ID

from .carry import carry
from .description import KNOWN
from .inquiry import Origin
from .reply import Reply

if TYPE_CHECKING:
    from .view import View


@attrs.frozen
class Lead:
    """Where a parameter leads.

    Attributes:
        backend: The backend.
        key: The parameter.
        value: What it is called there.
    """

    backend: str
    key: str
    value: str


async def serve_unknown(
    method: str, view: View, origin: Origin, params: Fields, caller: Caller
) -> Reply:
    """Carry a request of an unknown method to the one backend that can be meant.

    Raises:
        MethodNotFound: None can be, or nothing tells which.
    """
    meaning = extended(view)
    if method in REQUESTS or not meaning:
        raise MethodNotFound(f"Method not found: {method[:80]}")
    leads = {each for each in _leads(view, params, caller) if each.backend in meaning}
    meant = {each.backend for each in leads} or meaning.keys()
    if len(meant) > 1 or len({each.key for each in leads}) < len(leads):
        raise MethodNotFound(
            f"Method not found: nothing in the parameters of {method[:80]} tells which backend "
            "it is for; send it to the endpoint of that backend alone"
        )
    params = {**params, **{each.key: raw(each.value) for each in leads}}
    backend = meaning[next(iter(meant))]
    return await carry(view.multiplexer.admit, origin, backend, Call(method, params, caller))


def extended(view: View) -> dict[str, Backend]:
    """Return the backends whose extensions are served, by name."""
    shown = filter(view.contents.shows_all, view.contents.backends)
    return {each.name: each for each in shown if _is_extended(each)}


def named_by(view: View, params: Fields) -> set[str]:
    """Return the backends to which a name or a URI in the parameters leads."""
    return {lead.backend for lead in _named(view, params)}


def _is_extended(backend: Backend) -> bool:
    declared = {} if backend.server is None else backend.server.capabilities
    extensions, experimental = declared.get("extensions"), declared.get("experimental")
    has_extensions = isinstance(extensions, dict) and bool(extensions.keys() - KNOWN)
    return has_extensions or (isinstance(experimental, dict) and bool(experimental))


def _leads(view: View, params: Fields, caller: Caller) -> Iterator[Lead]:
    yield from _named(view, params)
    task_id = value_of(params, TASK_ID, str)
    if task_id is not None:
        try:
            ref = view.multiplexer.tasks.open(task_id, caller, view.name)
        except InvalidParams:
            return
        yield Lead(ref.backend, TASK_ID, ref.id)


def _named(view: View, params: Fields) -> Iterator[Lead]:
    table = view.contents.table
    name, uri = value_of(params, "name", str), value_of(params, "uri", str)
    for kind in (TOOLS, PROMPTS):
        route = None if name is None else table.route(kind, name)
        if route is not None:
            yield Lead(route.backend, "name", route.name)
    for owner in () if uri is None else table.owners(uri):
        yield Lead(owner, "uri", uri or "")
