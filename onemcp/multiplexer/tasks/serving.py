"""What serves the methods of tasks: each request goes to the backend that has the task.

Implements 2025-11-25, Tasks, and the extension ``io.modelcontextprotocol/tasks``, between a client
and a backend that have the same design.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from onemcp.backend import Answer, Backend, Call, Caller
from onemcp.multiplexer.carry import carry
from onemcp.multiplexer.inquiry import Origin
from onemcp.multiplexer.reply import Reply
from onemcp.protocol.errors import InvalidParams, MethodNotFound
from onemcp.protocol.fields import Fields, raw, split, value_of
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TASKS_CANCEL, TASKS_GET
from onemcp.protocol.revisions import V2025_11_25, Era
from onemcp.protocol.tasks import TASK, TASK_ID

from .ids import offers_tasks, read_task
from .listing import note_task
from .register import Known
from .watched import Watched

if TYPE_CHECKING:
    from onemcp.multiplexer.view import View

_DESCRIBED: frozenset[str] = frozenset({TASKS_GET, TASKS_CANCEL})


async def serve_task(
    method: str, view: View, origin: Origin, params: Fields, caller: Caller
) -> Reply:
    """Carry a request about one task.

    Raises:
        MethodNotFound: No backend here has tasks.
        MissingClientCapability: A modern client has not declared the extension.
        InvalidParams: The client has no such task.
    """
    if not offers_tasks(view.contents.declared(caller.revision)):
        raise MethodNotFound(f"Method not found: no backend here offers {method}")
    ids = view.multiplexer.tasks
    ref = read_task(ids, params, caller, view.name)
    backend = view.multiplexer.backends.get(ref.backend)
    if backend is None or not view.contents.has_task(ref):
        raise ids.gone(caller)
    known = ids.register.note(caller, ref)
    call = Call(method, {**params, TASK_ID: raw(ref.id)}, caller)
    reply = await carry(view.multiplexer.admit, origin, backend, call)
    if caller.era is Era.MODERN or method not in _DESCRIBED:
        return reply
    return Watched(reply, partial(_on_described, view, known))


async def call_tool(
    view: View, origin: Origin, backend: Backend, params: Fields, caller: Caller
) -> Reply:
    """Carry ``tools/call``, and take note of the task that it makes, if it does.

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
    admit = view.multiplexer.admit
    if TASK in params and caller.era is Era.LEGACY and caller.revision != V2025_11_25:
        params = {key: value for key, value in params.items() if key != TASK}
    if TASK not in params or caller.era is Era.MODERN:
        return await carry(admit, origin, backend, Call(origin.method, params, caller))
    register = view.multiplexer.tasks.register
    await register.load(caller.principal)
    register.check_room(caller.principal)
    reply = await carry(admit, origin, backend, Call(origin.method, params, caller))
    return Watched(reply, partial(_on_made, view, caller))


async def _on_described(view: View, known: Known, answer: Answer) -> Answer:
    await trio.lowlevel.checkpoint()
    if isinstance(answer, Response):
        note_task(view, known, answer.result)
    return answer


async def _on_made(view: View, caller: Caller, answer: Answer) -> Answer:
    """Take note of a task that was made, before its client is told of it."""
    await trio.lowlevel.checkpoint()
    if not isinstance(answer, Response):
        return answer
    ids = view.multiplexer.tasks
    try:
        task = split(answer.result, "the result").get(TASK)
        task_id = None if task is None else value_of(split(task, "the task"), TASK_ID, str)
        if task is None or task_id is None:
            return answer
        ref = ids.open(task_id, caller, view.name)
    except InvalidParams:
        return answer
    known = ids.register.find(*ref.key)
    if known is not None:
        note_task(view, known, task)
        await ids.register.save(known)
    return answer
