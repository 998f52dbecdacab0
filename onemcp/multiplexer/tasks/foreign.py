"""Requests about a task of the other design than its client's.

Implements 2025-11-25, Tasks, for tasks of the extension ``io.modelcontextprotocol/tasks``, and the
extension for tasks of 2025-11-25.

Theory of operation: a description is asked for and written anew. What else 2025-11-25 says with
``tasks/result`` the extension says in the description: so that is asked for where the task has
ended, and where it needs input a ``tasks/result`` is kept waiting, watched by the parking of calls,
on which the backend asks; what it asks is shown until ``tasks/update`` brings the answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import attrs
import msgspec
import trio
from msgspec import Raw

from onemcp.backend import replica_of, user_of
from onemcp.multiplexer.inquiry import GATHER, Inquiry
from onemcp.multiplexer.parkedcall import ParkedCall
from onemcp.multiplexer.parking import Parking
from onemcp.multiplexer.reply import Immediate, Reply
from onemcp.protocol import questions, taskdesigns, translation
from onemcp.protocol.errors import (
    BackendProtocolError,
    InvalidParams,
    RemoteError,
)
from onemcp.protocol.fields import Fields, join, raw, split, value_of
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.methods import (
    TASKS_CANCEL,
    TASKS_GET,
    TASKS_RESULT,
    TASKS_UPDATE,
    TOOLS_CALL,
)
from onemcp.protocol.revisions import Era
from onemcp.protocol.tasks import TERMINAL, with_related

from .asking import Asker
from .polled import Polled
from .register import Known, Register, source_of

QUESTIONS_WITHIN: Final = 1.0
"""How long the questions of a task may take to come once they are waited for, in seconds."""

ACKNOWLEDGED: Final = raw({translation.RESULT_TYPE: "complete"})


@attrs.frozen
class Foreign:
    """A task of the other design, and who asks about it.

    Attributes:
        asker: Asks its backend.
        task_id: The client's id of it.
        params: The parameters of the client's request.
        parking: Where calls wait that its backend asks on.
        register: Who has which tasks.
    """

    asker: Asker
    task_id: str
    params: Fields
    parking: Parking
    register: Register

    @property
    def key(self) -> str:
        """What the call is found by that waits for the task's result."""
        return f"task {self.task_id}"

    @property
    def known(self) -> Known | None:
        """What is remembered of it."""
        backend = self.asker.backend
        source = source_of(backend.name, user_of(backend), replica_of(backend))
        return self.register.find(source, self.asker.task)

    def answered(self, result: Raw) -> Reply:
        """Answer the client's request."""
        return Immediate(Response(self.asker.origin.id, result))

    def failed(self, error: Raw) -> Reply:
        """Answer the client's request with an error of the backend."""
        translated = translation.translate_error("", error, self.asker.caller.era)
        return Immediate(Failure(self.asker.origin.id, translated))

    async def describe(self) -> Fields:
        """Ask for the task's description.

        Raises:
            RemoteError: The backend doesn't give it.
            ProtocolError: It can't be asked.
        """
        answer = await self.asker.ask(TASKS_GET)
        if isinstance(answer, Failure):
            raise RemoteError(answer.error)
        return self.fields_of(answer.result)

    def fields_of(self, task: Raw) -> Fields:
        """Split what a backend says about a task."""
        try:
            return split(task, "the task")
        except InvalidParams as error:
            name = self.asker.backend.name
            raise BackendProtocolError(
                f"backend {name!r} answered with nonsense: {error}"
            ) from error


Serve: TypeAlias = Callable[[Foreign], Awaitable[Reply]]


# --- tasks of 2025-11-25, for clients with the extension -------------------------------------


async def _get(task: Foreign) -> Reply:
    fields = await task.describe()
    status = value_of(fields, "status", str)
    if status == "input_required":
        return await _with_questions(task, fields)
    if status in TERMINAL:
        task.parking.unwatch(task.key)
    if status in {"completed", "failed"}:
        return await _with_outcome(task, fields)
    return task.answered(join(taskdesigns.as_extension(fields, task.task_id)))


async def _with_outcome(task: Foreign, fields: Fields) -> Reply:
    """Describe a task that has ended; what it failed with decides how (Task Execution Errors)."""
    answer = await task.asker.ask(TASKS_RESULT)
    if isinstance(answer, Failure):
        error = translation.translate_error(TOOLS_CALL, answer.error, Era.MODERN)
        more = {"status": raw("failed"), "error": error}
    else:
        result = with_related(answer.result, None)
        more = {"status": raw("completed"), "result": result}
    return task.answered(join(taskdesigns.as_extension(fields, task.task_id, **more)))


async def _with_questions(task: Foreign, fields: Fields) -> Reply:
    """Describe a task that needs input; where nothing is asked yet, it is at work."""
    watched = task.parking.watched(task.key)
    if watched is None or watched.outcome is not None:
        task.parking.unwatch(task.key)
        watched = await _watch(task)
    with trio.move_on_after(QUESTIONS_WITHIN):
        await watched.asked.wait()
        await trio.sleep(GATHER)  # others may come with the first one
    requests, more = watched.inquiry.input_requests, {"status": raw("working")}
    if watched.inquiry.waiting:
        more = {"inputRequests": requests}
    return task.answered(join(taskdesigns.as_extension(fields, task.task_id, **more)))


async def _watch(task: Foreign) -> ParkedCall:
    """Wait for the result of a task, which is when its backend asks."""
    asker = task.asker
    waiting = await asker.open(TASKS_RESULT)
    origin = msgspec.structs.replace(asker.origin, method=TOOLS_CALL)
    mark = f"-{secrets.token_hex(4)}"  # keys are unique as long as the task lives
    exchange = waiting.detach()
    watched = task.parking.watched(task.key)
    if watched is not None:  # another request about the task was faster
        exchange.close()
        return watched
    inquiry = Inquiry(origin, waiting.backend, exchange, task.parking.on_event, mark)
    try:
        return await task.parking.watch(task.key, inquiry)
    except BaseException:
        exchange.close()
        raise


async def _update(task: Foreign) -> Reply:
    """Pass on the client's answers; those to questions that are not open are ignored."""
    responses = questions.read_responses(task.params)
    watched = task.parking.watched(task.key)
    if watched is None:
        await task.describe()  # it must be there at least
    else:
        watched.asked = trio.Event()
        watched.inquiry.resume(task.asker.caller, responses)
        if watched.inquiry.waiting:
            watched.asked.set()
    return task.answered(ACKNOWLEDGED)


async def _cancel(task: Foreign) -> Reply:
    """Have the task cancelled; one that has ended already is left as it is."""
    fields = await task.describe()
    if value_of(fields, "status", str) not in TERMINAL:
        await task.asker.ask(TASKS_CANCEL)  # which it need not heed
    task.parking.unwatch(task.key)
    return task.answered(ACKNOWLEDGED)


# --- tasks of the extension, for clients of 2025-11-25 ---------------------------------------


async def _get_legacy(task: Foreign) -> Reply:
    return task.answered(join(_as_legacy(task, await task.describe())))


async def _result_legacy(task: Foreign) -> Reply:
    await trio.lowlevel.checkpoint_if_cancelled()
    return Polled(task.asker, task_id=task.task_id)


async def _cancel_legacy(task: Foreign) -> Reply:
    """Cancel a task, which is a cancelled one to its client from then on (Task Cancellation)."""
    fields = _as_legacy(task, await task.describe())
    status = value_of(fields, "status", str)
    if status in TERMINAL:
        raise InvalidParams(f"Cannot cancel task: already in terminal status {status!r}")
    answer = await task.asker.ask(TASKS_CANCEL)
    if isinstance(answer, Failure):
        return task.failed(answer.error)
    known = task.known
    if known is not None:
        known.is_cancelled = known.has_ended = True
    return task.answered(join({**fields, "status": raw("cancelled")}))


def _as_legacy(task: Foreign, fields: Fields) -> Fields:
    described = taskdesigns.as_legacy(fields, task.task_id)
    known = task.known
    if known is not None and known.is_cancelled:
        described["status"] = raw("cancelled")
    return described


_SERVES: Final[Mapping[tuple[Era, str], Serve]] = {
    (Era.MODERN, TASKS_GET): _get,
    (Era.MODERN, TASKS_UPDATE): _update,
    (Era.MODERN, TASKS_CANCEL): _cancel,
    (Era.LEGACY, TASKS_GET): _get_legacy,
    (Era.LEGACY, TASKS_RESULT): _result_legacy,
    (Era.LEGACY, TASKS_CANCEL): _cancel_legacy,
}
"""What serves a client of an era that asks about a task of the other one."""


async def serve_foreign(task: Foreign) -> Reply:
    """Serve a request about a task of the other design.

    Raises:
        ProtocolError: What is wrong with the request, or with its backend.
    """
    try:
        return await _SERVES[task.asker.caller.era, task.asker.origin.method](task)
    except RemoteError as error:
        return task.failed(error.error)
