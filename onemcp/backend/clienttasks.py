"""Tasks that a backend makes of what it asks clients.

Implements 2025-11-25, Tasks, with the client as the receiver. Theory of operation: to a backend
onemcp is one client that has tasks. Where the client that is asked has them too, they are its own:
every request about one is carried to it, under ids that no other client of the backend can have as
well. Any other client is just asked, and the task is onemcp's: it says that the client is at work
until there is an answer, and keeps that. Either lasts as long as the call during which was asked;
from then on it is unknown (``-32602``), for whoever was asked may be gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Final

import attrs
from msgspec import Raw

from onemcp.protocol import tasks
from onemcp.protocol.errors import InternalError, InvalidParams, Overloaded, ProtocolError
from onemcp.protocol.fields import Fields, items, join, plain, raw, split, value_of
from onemcp.protocol.jsonrpc import Failure, Request, RequestId, Response
from onemcp.protocol.methods import (
    ELICIT,
    SAMPLE,
    TASKS_CANCEL,
    TASKS_LIST,
    TASKS_RESULT,
)
from onemcp.protocol.revisions import V2025_11_25

from .exchange import Answer, Exchange

MAX_TASKS: Final = 256
"""How many tasks of clients one connection may have."""

MAX_WAITING: Final = 16
"""How often one result may be waited for at once."""

POLL: Final = 500
"""How often a backend is to ask about a task of onemcp's own, in milliseconds."""

GONE: Final = "Task not found: its client has no such task, or the call that it belongs to is over"

_KINDS: Final = {ELICIT: ("elicitation", "create"), SAMPLE: ("sampling", "createMessage")}


def _now() -> str:
    return datetime.now(UTC).isoformat()


@attrs.define(eq=False)
class _Task:
    """One task of a client.

    Attributes:
        id: The id that the backend knows it by.
        exchange: The call during which it was asked for.
        question: The backend's request that has made it.
        theirs: The client's own id; None until it says so, or where the task is onemcp's.
        is_own: Whether it is onemcp's, because the client has no tasks.
        status: Where it stands, if it is onemcp's.
        outcome: What the client has answered, if it is onemcp's.
        waiting: The requests of the backend that wait for that.
        ttl: How long the backend wants it kept, undecoded.
        since: When it was made, in ISO 8601.
        updated: When it was last changed.
    """

    id: str
    exchange: Exchange
    question: RequestId
    is_own: bool
    ttl: Raw
    since: str = attrs.field(factory=_now)
    updated: str = attrs.field(factory=_now)
    theirs: str | None = None
    status: str = "working"
    outcome: Answer | None = None
    waiting: list[RequestId] = attrs.field(factory=list)

    def end(self, status: str, outcome: Answer) -> None:
        """Take note of the end of a task of onemcp's own."""
        self.status, self.outcome, self.updated = status, outcome, _now()

    @property
    def described(self) -> Fields:
        """What the backend is told of a task of onemcp's own."""
        times = {"createdAt": raw(self.since), "lastUpdatedAt": raw(self.updated)}
        times |= {"ttl": self.ttl, "pollInterval": raw(POLL)}
        return {tasks.TASK_ID: raw(self.id), "status": raw(self.status), **times}


class ClientTasks:
    """The tasks of clients that one connection's backend knows."""

    def __init__(self, send: Callable[[Answer], None]) -> None:
        """Begin with none.

        Args:
            send: Sends the backend an answer that no client needs to see.
        """
        self._send = send
        self._tasks: dict[str, _Task] = {}
        self._open: dict[RequestId, tuple[str, _Task | None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    # --- what the backend asks ---------------------------------------------------------------

    def ask(self, request: Request, exchange: Exchange) -> Request:
        """Take a question, and make a task of it if the backend wants one.

        Returns:
            The question as it is to be put to the client.

        Raises:
            Overloaded: There are too many.
        """
        if request.method not in _KINDS or tasks.TASK.encode() not in bytes(request.params):
            return request
        fields = split(request.params)
        if tasks.TASK not in fields:
            return request
        if len(self._tasks) >= MAX_TASKS:
            raise Overloaded(f"clients have {MAX_TASKS} tasks of this backend, the limit")
        wish = plain(fields[tasks.TASK])
        ttl = raw(wish.get("ttl") if isinstance(wish, dict) else None)
        is_own = not _has_tasks(exchange, request.method)
        task_id = secrets.token_urlsafe(12)
        task = _Task(task_id, exchange, request.id, is_own, ttl)
        self._tasks[task.id] = task
        self._open[request.id] = ("create", task)
        if not is_own:
            return request
        self._send(Response(request.id, raw({tasks.TASK: join(task.described)})))
        del fields[tasks.TASK]
        return Request(request.id, request.method, join(fields))

    def serve(
        self, request: Request, found: Callable[[], Exchange | None]
    ) -> tuple[Exchange, Request] | None:
        """Serve a request about tasks, or tell whom to carry it to.

        Args:
            request: The request.
            found: Finds the call that a request belongs to which names no task.

        Raises:
            ProtocolError: There is no such task.
        """
        fields = split(request.params)
        if request.method == TASKS_LIST:
            exchange = found()
            if exchange is None:
                raise InvalidParams("nothing tells whose tasks are to be listed")
            if _declared(exchange, "list") is None:
                own = [each for each in self._tasks.values() if each.exchange is exchange]
                self._send(Response(request.id, raw({"tasks": [join(t.described) for t in own]})))
                return None
            self._open[request.id] = (TASKS_LIST, None)
            return exchange, request
        task = self._tasks.get(value_of(fields, tasks.TASK_ID, str) or "")
        if task is None or task.exchange.finished:
            raise InvalidParams(GONE)
        if task.is_own:
            self._serve_own(request, task)
            return None
        if task.theirs is None:
            raise InvalidParams(GONE)
        self._open[request.id] = (request.method, task)
        params = join({**fields, tasks.TASK_ID: raw(task.theirs)})
        return task.exchange, Request(request.id, request.method, params)

    def _serve_own(self, request: Request, task: _Task) -> None:
        if request.method == TASKS_RESULT:
            if len(task.waiting) >= MAX_WAITING:
                raise Overloaded(f"{MAX_WAITING} requests wait for this result, the limit")
            task.waiting.append(request.id)
            self._tell_outcome(task)
            return
        if request.method == TASKS_CANCEL:
            if task.status in tasks.TERMINAL:
                raise InvalidParams(f"Cannot cancel task: it is {task.status} already")
            task.end("cancelled", Failure(None, InternalError("the task was cancelled").error))
            self._open.pop(task.question, None)
            self._tell_outcome(task)
        self._send(Response(request.id, join(task.described)))

    def _tell_outcome(self, task: _Task) -> None:
        if task.outcome is None:
            return
        waiting, task.waiting = task.waiting, []
        for request_id in waiting:
            if isinstance(task.outcome, Failure):
                self._send(Failure(request_id, task.outcome.error))
            else:
                result = tasks.with_related(task.outcome.result, task.id)
                self._send(Response(request_id, result))

    def is_withdrawn(self, question: RequestId) -> bool:
        """Tell whether nobody waits for an answer to a question any more: its task is cancelled."""
        return any(
            each.question == question and each.status == "cancelled"
            for each in self._tasks.values()
        )

    # --- what clients answer -----------------------------------------------------------------

    def translate(self, exchange: Exchange, answer: Answer) -> Answer | None:
        """Write a client's answer in the backend's terms; None where it is kept for later."""
        if answer.id is None or answer.id not in self._open:
            return answer
        what, task = self._open.pop(answer.id)
        if task is not None and task.is_own:
            task.end("failed" if isinstance(answer, Failure) else "completed", answer)
            self._tell_outcome(task)
            return None
        if isinstance(answer, Failure):
            if what == "create" and task is not None:
                self._tasks.pop(task.id, None)
            return answer
        try:
            return Response(answer.id, self._renamed(what, task, exchange, answer.result))
        except ProtocolError as error:
            return Failure(answer.id, error.error)

    def _renamed(self, what: str, task: _Task | None, exchange: Exchange, result: Raw) -> Raw:
        if what == TASKS_LIST or task is None:
            return self._listed(exchange, result)
        if what == TASKS_RESULT:
            return tasks.with_related(result, task.id)
        fields = split(result, "the client's answer")
        if what != "create":
            return join({**fields, tasks.TASK_ID: raw(task.id)})
        made = tasks.made_task(result)
        if made is None:
            del self._tasks[task.id]
            return result  # it has answered right away
        task.theirs = value_of(made, tasks.TASK_ID, str)
        return join({**fields, tasks.TASK: join({**made, tasks.TASK_ID: raw(task.id)})})

    def _listed(self, exchange: Exchange, result: Raw) -> Raw:
        """Leave out the tasks that a client has for others."""
        fields = split(result, "the client's answer")
        own = {each.theirs: each.id for each in self._tasks.values() if each.exchange is exchange}
        listed = []
        for source in items(fields.get("tasks", Raw(b"[]")), "tasks"):
            task = split(source, "a task")
            task_id = own.get(value_of(task, tasks.TASK_ID, str))
            if task_id is not None:
                listed.append(join({**task, tasks.TASK_ID: raw(task_id)}))
        return join({**fields, "tasks": raw(listed)})

    def status(self, owner: Hashable, params: Fields) -> Fields | None:
        """Write what a client says of a task's status in the backend's terms.

        Returns:
            None where it is none of the tasks that the backend has of this client.
        """
        theirs = value_of(params, tasks.TASK_ID, str)
        for task in self._tasks.values():
            is_its = task.exchange.call.caller.owner == owner and not task.exchange.finished
            if theirs is not None and task.theirs == theirs and is_its:
                return {**params, tasks.TASK_ID: raw(task.id)}
        return None

    # --- the end -----------------------------------------------------------------------------

    def drop(self, exchange: Exchange) -> None:
        """Forget the tasks that were asked for during a call which is over."""
        if not self._tasks:
            return
        for task in [each for each in self._tasks.values() if each.exchange is exchange]:
            del self._tasks[task.id]
            self._open.pop(task.question, None)
            if task.outcome is None:
                task.outcome = Failure(None, InvalidParams(GONE).error)
            self._tell_outcome(task)


def _declared(exchange: Exchange, *path: str) -> dict[str, object] | None:
    """Return what a client has declared of tasks; None where it has none of these."""
    caller = exchange.call.caller
    found = plain(caller.capabilities) if caller.revision == V2025_11_25 else None
    for key in ("tasks", *path):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _has_tasks(exchange: Exchange, method: str) -> bool:
    """Tell whether a client has tasks of its own for a question."""
    return _declared(exchange, "requests", *_KINDS[method]) is not None
