"""``tools/call`` where its backend may make a task of it: who gets the task, and who the result.

A client gets a task if it has asked for one in its own design, and else the result: onemcp waits
for that where the backend has made a task all the same. The two designs are those of
:mod:`onemcp.protocol.taskdesigns`; which one a backend has follows from its revision.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from onemcp.backend import Answer, Backend, Call, Caller
from onemcp.multiplexer.carry import carry
from onemcp.multiplexer.inquiry import Origin
from onemcp.multiplexer.reply import Reply
from onemcp.multiplexer.routed import RoutedCall
from onemcp.protocol import taskdesigns, tasks, translation
from onemcp.protocol.fields import Fields, join, plain, raw, split, value_of
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.meta import META
from onemcp.protocol.methods import TOOLS, TOOLS_CALL
from onemcp.protocol.revisions import V2025_11_25, Era
from onemcp.protocol.tasks import TASK, TASK_ID

from .asking import SEEN_TO, Asker
from .awaited import Awaited
from .describing import note_task
from .finished import OWN
from .ids import TaskNames
from .polled import Polled
from .register import TaskRef
from .watched import Watched

if TYPE_CHECKING:
    from onemcp.multiplexer.view import View


async def call_tool(
    view: View, origin: Origin, backend: Backend, params: Fields, caller: Caller
) -> Reply:
    """Carry ``tools/call``.

    Args:
        view: Where it was sent.
        origin: The request.
        backend: Where it goes.
        params: Its parameters, in the backend's terms.
        caller: Whose it is.

    Raises:
        Overloaded: The client has too many tasks already.
        ProtocolError: The call can't be carried.
    """
    if caller.era is Era.LEGACY:
        return await _call_for_legacy(view, origin, backend, params, caller)
    support = _task_support(backend, params)
    wants = support is not None and tasks.declares(plain(caller.capabilities))
    if not (wants or support == "required"):
        return await _carry(view, origin, backend, Call(TOOLS_CALL, params, caller))
    first = await _carry(view, origin, backend, Call(TOOLS_CALL, params, caller, SEEN_TO))
    if wants:
        return Watched(first, partial(_offer, view, first, origin, caller))
    return Awaited(first, Asker.of(view, origin, caller, backend, ""))


async def _call_for_legacy(
    view: View, origin: Origin, backend: Backend, params: Fields, caller: Caller
) -> Reply:
    wants = TASK in params and caller.revision == V2025_11_25
    server = backend.server
    bridged = server is not None and server.era is Era.MODERN and server.makes_tasks
    if wants:
        register = view.multiplexer.tasks.register
        await register.load(caller.principal)
        register.check_room(caller.principal)
    if TASK in params and (bridged or not wants):
        params = {key: value for key, value in params.items() if key != TASK}
    call = Call(TOOLS_CALL, params, caller, SEEN_TO if bridged else None)
    first = await _carry(view, origin, backend, call)
    if wants and bridged:
        return Watched(first, partial(_offer_legacy, view, first, origin, caller))
    if wants:
        return Watched(first, partial(_on_made, view, caller))
    return Polled(Asker.of(view, origin, caller, backend, ""), first) if bridged else first


async def _carry(view: View, origin: Origin, backend: Backend, call: Call) -> RoutedCall:
    return await carry(view.multiplexer.admit, origin, backend, call)


def _task_support(backend: Backend, params: Fields) -> str | None:
    """Return whether a tool of 2025-11-25 can be, or must be, called as a task; None if not."""
    server = backend.server
    if server is None or server.era is Era.MODERN or not server.makes_tasks:
        return None
    name = value_of(params, "name", str)
    for item in backend.listings[TOOLS].items:
        if item.identity == name and b"taskSupport" in bytes(item.definition):
            execution = plain(split(item.definition).get("execution"))
            support = execution.get("taskSupport") if isinstance(execution, dict) else None
            return support if support in {"optional", "required"} else None
    return None


# --- what becomes of the answer --------------------------------------------------------------


async def _on_made(view: View, caller: Caller, answer: Answer) -> Answer:
    """Take note of a task of 2025-11-25 that was made, before its client is told of it."""
    await trio.lowlevel.checkpoint()
    task = tasks.made_task(answer.result) if isinstance(answer, Response) else None
    task_id = None if task is None else value_of(task, TASK_ID, str)
    if task is None or task_id is None:
        return answer
    ref = view.multiplexer.tasks.open(task_id, caller, view.name)
    await _write_down(view, ref, task)
    return answer


async def _write_down(view: View, ref: TaskRef, task: Fields) -> None:
    register = view.multiplexer.tasks.register
    known = register.find(*ref.key)
    if known is not None:
        note_task(register, known, join(task))
        await register.save(known)


def _names(view: View, first: RoutedCall, caller: Caller, origin: Origin) -> TaskNames:
    call = Call(TOOLS_CALL, first.call.params, caller)
    return TaskNames(view.multiplexer.tasks, view.name, first.backend, call, origin.params)


async def _offer(
    view: View, first: RoutedCall, origin: Origin, caller: Caller, answer: Answer
) -> Answer:
    """Offer a task of 2025-11-25 to a modern client, as one of the extension."""
    await trio.lowlevel.checkpoint()
    task = None if first.handle is None else tasks.made_task(first.handle)
    if first.handle is None or task is None:
        return answer
    task_id = _names(view, first, caller, origin).made(value_of(task, TASK_ID, str) or "")
    handle = split(tasks.with_related(first.handle, None))
    about = {META: handle[META]} if META in handle else {}
    fields = {**split(taskdesigns.as_handle(task, task_id)), **about}
    server = first.backend.server
    info = None if server is None else server.info
    return Response(origin.id, join(translation.complete(TOOLS_CALL, fields, info)))


async def _offer_legacy(
    view: View, first: RoutedCall, origin: Origin, caller: Caller, answer: Answer
) -> Answer:
    """Offer a task of the extension to a client of 2025-11-25, or the result as one."""
    await trio.lowlevel.checkpoint()
    if not isinstance(answer, Response):
        return answer
    ids = view.multiplexer.tasks
    if first.handle is not None:
        handle = split(first.handle)
        backends_id = value_of(handle, TASK_ID, str) or ""
        task_id = _names(view, first, caller, origin).made(backends_id)
        ref = ids.open(task_id, caller, view.name)
        task = taskdesigns.as_legacy(handle, task_id)
    else:
        tool = value_of(first.call.params, "name", str) or ""
        kept = ids.finished.keep(caller.principal, answer.result)
        ref = TaskRef(caller.principal, view.name, first.backend.name, OWN, kept, tool)
        ids.register.note(caller, ref, is_new=True)
        fields, _ = ids.finished.find(kept) or ({}, None)
        task = {**fields, TASK_ID: raw(ids.seal(ref))}
    await _write_down(view, ref, task)
    return Response(origin.id, raw({TASK: join(task)}))
