"""``tasks/list``: the tasks of one principal, wherever they are.

Implements 2025-11-25, Tasks, Listing Tasks. A backend would list everybody's, so it is asked for
each task of a page alone, and where it doesn't answer, what it said last is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from msgspec import Raw

from onemcp.backend import Caller
from onemcp.multiplexer.inquiry import Origin
from onemcp.multiplexer.reply import Immediate, Reply
from onemcp.protocol import tasks
from onemcp.protocol.errors import (
    INVALID_PARAMS,
    InvalidParams,
    MethodNotFound,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.fields import Fields, join, raw, split, text
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TASKS_GET

from .asking import answer_of
from .describing import note_task
from .ids import Place
from .register import Known, order
from .serving import reply_of

if TYPE_CHECKING:
    from onemcp.multiplexer.view import View

PAGE_SIZE: Final = 20
"""How many tasks one page holds; for each of them its backend is asked."""

PATIENCE: Final = 5.0
"""How long the backends may take together, in seconds."""


async def serve_list(view: View, origin: Origin, params: Fields, caller: Caller) -> Reply:
    """Answer ``tasks/list`` of a legacy client.

    Raises:
        MethodNotFound: No backend here has tasks, or callers can't be told apart.
        InvalidParams: The cursor is none of theirs.
    """
    declared = view.contents.declared(caller.revision).get("tasks", {})
    if "list" not in declared:
        raise MethodNotFound("Method not found: nothing here lists tasks")
    ids = view.multiplexer.tasks
    after = None
    if "cursor" in params:
        cursor = text(params, "cursor", "params.cursor")
        place = ids.open_cursor(cursor, caller, view.name)
        after = place.made, place.backend, place.id
    await ids.register.load(caller.principal)
    page, is_last = _page(view, caller, after)
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
        for known in page:
            nursery.start_soon(_look_up, view, origin, caller, known)
    kept = [each for each in page if ids.register.find(*each.ref.key) is each]
    result: Fields = {"tasks": raw([_shown(view, each) for each in kept if each.seen is not None])}
    if page and not is_last:
        last = page[-1]
        end = Place(caller.principal, view.name, last.made, last.ref.backend, last.ref.id)
        result["nextCursor"] = raw(ids.cursor(end))
    return Immediate(Response(origin.id, join(result)))


def _page(
    view: View, caller: Caller, after: tuple[float, str, str] | None
) -> tuple[Sequence[Known], bool]:
    """Return the tasks of a page, and whether it is the last one."""
    shown = [
        known
        for known in view.multiplexer.tasks.register.listed(caller.principal)
        if known.ref.endpoint == view.name and view.contents.has_task(known.ref)
    ]
    rest = [known for known in shown if after is None or order(known) > after]
    return rest[:PAGE_SIZE], len(rest) <= PAGE_SIZE


async def _look_up(view: View, origin: Origin, caller: Caller, known: Known) -> None:
    """Ask a backend for one of its tasks; one that it doesn't know any more is forgotten."""
    register = view.multiplexer.tasks.register
    origin = msgspec.structs.replace(origin, method=TASKS_GET)
    backend = view.contents.keeper(known.ref)
    if backend is None or not backend.is_up:
        return
    try:
        answer = await answer_of(await reply_of(view, origin, known.ref, {}, caller))
    except InvalidParams:
        await register.drop(known)
        return
    except ProtocolError:
        return
    if isinstance(answer, Response):
        note_task(register, known, answer.result)
    elif RemoteError(answer.error).code == INVALID_PARAMS:
        await register.drop(known)


def _shown(view: View, known: Known) -> Raw:
    fields = split(known.seen or Raw(b"{}"))
    return join({**fields, tasks.TASK_ID: raw(view.multiplexer.tasks.seal(known.ref))})
