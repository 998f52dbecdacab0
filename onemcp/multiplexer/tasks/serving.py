"""What serves the methods of tasks: each request goes to the backend that has the task.

Implements 2025-11-25, Tasks, and the extension ``io.modelcontextprotocol/tasks``. Where client and
backend have the same design a request is carried; see :mod:`.foreign` for where they have not.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from onemcp.backend import Answer, Call, Caller
from onemcp.multiplexer.carry import carry
from onemcp.multiplexer.inquiry import Origin
from onemcp.multiplexer.paging import paged
from onemcp.multiplexer.reply import Immediate, Reply
from onemcp.protocol.errors import InvalidParams, MethodNotFound
from onemcp.protocol.fields import Fields, join, plain, raw
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TASKS_CANCEL, TASKS_GET, TASKS_RESULT
from onemcp.protocol.revisions import Era
from onemcp.protocol.tasks import TASK_ID, with_related

from .asking import Asker
from .describing import note_task
from .finished import OWN
from .foreign import Foreign, serve_foreign
from .ids import offers_tasks, read_task
from .register import Known, TaskRef
from .watched import Watched

if TYPE_CHECKING:
    from onemcp.multiplexer.view import View

_DESCRIBED: Final = frozenset({TASKS_GET, TASKS_CANCEL})
"""Methods that are answered with a task (2025-11-25)."""


async def serve_task(
    method: str, view: View, origin: Origin, params: Fields, caller: Caller
) -> Reply:
    """Serve a request about one task.

    Raises:
        MethodNotFound: No backend here has tasks.
        MissingClientCapability: A modern client has not declared the extension.
        InvalidParams: The client has no such task.
    """
    if not offers_tasks(view.contents.declared(caller.revision)):
        raise MethodNotFound(f"Method not found: no backend here offers {method}")
    ids = view.multiplexer.tasks
    ref = read_task(ids, params, caller, view.name)
    backend = view.contents.backend(ref.backend)
    if backend is None or not view.contents.has_task(ref):
        raise ids.gone(caller)
    known = ids.register.note(caller, ref)
    reply = await reply_of(view, origin, ref, params, caller)
    reply = paged(view, reply, backend, ref.tool, method=method, caller=caller)
    if caller.era is Era.MODERN or method not in _DESCRIBED:
        return reply
    return Watched(reply, partial(_on_described, view, known))


async def reply_of(
    view: View, origin: Origin, ref: TaskRef, params: Fields, caller: Caller
) -> Reply:
    """Serve a request about a task that its client is known to have.

    Args:
        view: Where it was sent.
        origin: The request, whose method counts.
        ref: The task.
        params: The parameters.
        caller: The client.

    Raises:
        ProtocolError: What is wrong with it, or with its backend.
    """
    if ref.instance == OWN:
        await trio.lowlevel.checkpoint_if_cancelled()
        return _serve_finished(view, origin, ref, caller)
    backend = view.contents.keeper(ref)
    if backend is None:
        raise view.multiplexer.tasks.gone(caller)
    await backend.wait_tried()
    if backend.server is None or backend.server.era is caller.era:
        call = Call(origin.method, {**params, TASK_ID: raw(ref.id)}, caller)
        return await carry(view.multiplexer.admit, origin, backend, call)
    ids, parking = view.multiplexer.tasks, view.multiplexer.parking
    asker = Asker.of(view, origin, caller, backend, ref.id)
    return await serve_foreign(Foreign(asker, ids.seal(ref), params, parking, ids.register))


def _serve_finished(view: View, origin: Origin, ref: TaskRef, caller: Caller) -> Reply:
    """Serve a request about a result that onemcp keeps itself."""
    ids = view.multiplexer.tasks
    found = ids.finished.find(ref.id)
    if found is None:
        ids.register.forget(ref.key)
        raise ids.gone(caller)
    task, result = found
    task_id = ids.seal(ref)
    if origin.method == TASKS_RESULT:
        return Immediate(Response(origin.id, with_related(result, task_id)))
    if origin.method == TASKS_CANCEL:
        status = plain(task["status"])
        raise InvalidParams(f"Cannot cancel task: already in terminal status {status!r}")
    return Immediate(Response(origin.id, join({**task, TASK_ID: raw(task_id)})))


async def _on_described(view: View, known: Known, answer: Answer) -> Answer:
    await trio.lowlevel.checkpoint()
    if isinstance(answer, Response):
        note_task(view.multiplexer.tasks.register, known, answer.result)
    return answer
