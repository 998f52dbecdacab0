"""What serves each method of a client.

A handler decides synchronously where a request leads, from what the view shows, and waits only
for a backend that is just starting. A method that isn't in ``HANDLERS`` may be one of an extension.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from msgspec import Raw

from onemcp.backend import Call, Caller, user_of
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, join, plain, raw, split, text, value_of
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import (
    COMPLETE,
    DISCOVER,
    LISTEN,
    LISTS,
    PING,
    PROMPTS,
    PROMPTS_GET,
    RESOURCES_READ,
    TASKS_CANCEL,
    TASKS_GET,
    TASKS_LIST,
    TASKS_RESULT,
    TASKS_UPDATE,
    TEMPLATES,
    TOOLS,
    TOOLS_CALL,
    Catalogue,
)
from onemcp.protocol.revisions import Era
from onemcp.protocol.tasks import declares

from .carry import ask_in_turn, carry, not_found
from .extensions import serve_unknown
from .inquiry import Origin
from .listen import ListenReply
from .paging import paged, read_on
from .reply import Immediate, Reply
from .subscriptions import read_filter, read_task_ids
from .table import Route
from .tasks import TaskRef, check_declared
from .tasks.listing import serve_list
from .tasks.making import call_tool
from .tasks.serving import serve_task

if TYPE_CHECKING:
    from .view import View

EMPTY: Final = Raw(b"{}")

_CALLS: Final = {TOOLS: TOOLS_CALL, PROMPTS: PROMPTS_GET}

MEETING: Final = 3.0
"""How long a user's first list waits for what is their own alone, in seconds."""

Handler: TypeAlias = Callable[["View", Origin, Fields, Caller], Awaitable[Reply]]
"""Serves a request: the view, where it comes from, its parameters, and whose it is."""


async def _ping(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    del view, params, caller
    await trio.lowlevel.checkpoint_if_cancelled()
    return Immediate(Response(origin.id, EMPTY))


async def _discover(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    del params, caller
    await trio.lowlevel.checkpoint_if_cancelled()
    return Immediate(Response(origin.id, view.contents.discover()))


async def _listen(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    wanted = plain(params.get("notifications"))
    lists, uris = read_filter(wanted)
    ids = read_task_ids(wanted)
    if ids:
        check_declared(caller)
    found = {task_id: _find_task(view, task_id, caller) for task_id in sorted(ids)}
    tasks = {
        (ref.backend, ref.instance, ref.id): task_id
        for task_id, ref in found.items()
        if ref is not None
    }
    subscriber = await view.subscribe(lists, uris, tasks, caller)
    return ListenReply(origin.id, subscriber, view.contents.server_info)


def _find_task(view: View, task_id: str, caller: Caller) -> TaskRef | None:
    """Return a task that can be heard of, None where it can't."""
    with contextlib.suppress(InvalidParams):
        ref = view.multiplexer.tasks.open(task_id, caller, view.name)
        backend = view.contents.keeper(ref)
        server = None if backend is None else backend.server
        heard = server is not None and server.era is Era.MODERN and declares(server.capabilities)
        if heard and view.contents.has_task(ref):
            return ref
    return None


async def _list(
    kind: Catalogue, view: View, origin: Origin, params: Fields, caller: Caller
) -> Reply:
    await trio.lowlevel.checkpoint_if_cancelled()
    if view.user:
        await _meet(view)
    return Immediate(Response(origin.id, view.contents.page(kind, params, caller)))


async def _meet(view: View) -> None:
    """Give what has just been started for a user a moment to say what it lists."""
    with trio.move_on_after(MEETING):
        for backend in view.contents.backends:
            if user_of(backend):
                await backend.wait_tried()


async def _call_named(
    kind: Catalogue, view: View, origin: Origin, params: Fields, caller: Caller
) -> Reply:
    method = _CALLS[kind]
    name = text(params, "name", "params.name")
    route = view.contents.table.route(kind, name) or await _wait_for(kind, method, view, name)
    if route.is_own:
        return await read_on(view, origin, params, caller)
    backend = view.contents.owner(route)
    if route.name != name:
        params = {**params, "name": raw(route.name)}
    if method == TOOLS_CALL:
        reply = await call_tool(view, origin, backend, params, caller)
        return paged(view, reply, backend, route.name, method=method, caller=caller)
    return await carry(view.multiplexer.admit, origin, backend, Call(method, params, caller))


async def _wait_for(kind: Catalogue, method: str, view: View, name: str) -> Route:
    """Return where a name leads that is not known yet, once those may be that are starting."""
    while (starting := view.contents.starting(kind, name)) is not None:
        await starting.wait_tried()
    return view.contents.route(kind, method, name)


async def _read(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    uri = text(params, "uri", "params.uri")
    call, admit = Call(RESOURCES_READ, params, caller), view.multiplexer.admit
    if not view.contents.owners(uri):
        for backend in view.contents.backends:
            await backend.wait_tried()
    candidates = view.contents.candidates(uri)
    if not candidates:
        view.contents.check_offered("resources", RESOURCES_READ)
        view.contents.check_logins()
    if len(candidates) == 1:
        return await carry(admit, origin, candidates[0], call)
    return await ask_in_turn(admit, origin, candidates, call, not_found(uri, caller.era))


async def _complete(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    contents = view.contents
    reference = split(params.get("ref", EMPTY), "params.ref")
    match value_of(reference, "type", str):
        case "ref/prompt":
            prompt = text(reference, "name", "params.ref.name")
            route = contents.route(PROMPTS, COMPLETE, prompt)
            backend, reference["name"] = contents.owner(route), raw(route.name)
        case "ref/resource":
            uri = text(reference, "uri", "params.ref.uri")
            found = contents.table.route(TEMPLATES, uri)
            owners = contents.owners(uri) if found is None else [contents.owner(found)]
            if not owners:
                raise InvalidParams(f"Unknown resource template: {uri[:200]}")
            backend = owners[0]
        case _:
            raise InvalidParams('params.ref.type must be "ref/prompt" or "ref/resource"')
    call = Call(COMPLETE, {**params, "ref": join(reference)}, caller)
    return await carry(view.multiplexer.admit, origin, backend, call)


HANDLERS: Final[Mapping[tuple[str, Era | None], Handler]] = {
    (PING, Era.LEGACY): _ping,
    (DISCOVER, Era.MODERN): _discover,
    (LISTEN, Era.MODERN): _listen,
    (TOOLS_CALL, None): partial(_call_named, TOOLS),
    (PROMPTS_GET, None): partial(_call_named, PROMPTS),
    (RESOURCES_READ, None): _read,
    (COMPLETE, None): _complete,
    **{(method, None): partial(_list, kind) for method, kind in LISTS.items()},
    (TASKS_GET, None): partial(serve_task, TASKS_GET),
    (TASKS_CANCEL, None): partial(serve_task, TASKS_CANCEL),
    (TASKS_UPDATE, Era.MODERN): partial(serve_task, TASKS_UPDATE),
    (TASKS_RESULT, Era.LEGACY): partial(serve_task, TASKS_RESULT),
    (TASKS_LIST, Era.LEGACY): serve_list,
}
"""What serves a method, for one era or for both."""


def _of(era: Era) -> Mapping[str, Handler]:
    return {method: serve for (method, of), serve in HANDLERS.items() if of in {era, None}}


_OF_LEGACY: Final = _of(Era.LEGACY)
_OF_MODERN: Final = _of(Era.MODERN)


def handler_of(method: str, era: Era) -> Handler:
    """Return what serves a method for clients of an era."""
    known = (_OF_MODERN if era is Era.MODERN else _OF_LEGACY).get(method)
    return known or partial(serve_unknown, method)
