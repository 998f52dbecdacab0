"""A call of which a modern backend has made a task, for a client that wants nothing but the result.

Implements the client's side of the extension ``io.modelcontextprotocol/tasks``, Task Polling and
Task Update Requests, on behalf of legacy clients (SEP-2663, Backwards Compatibility): the task is
asked about as often as its backend says, what it needs is put to the client as requests of the
server, and its result is the call's.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio
from msgspec import Raw

from onemcp.backend import Answer, Incoming
from onemcp.multiplexer.inquiry import MAX_ROUNDS
from onemcp.multiplexer.rounds import Round
from onemcp.multiplexer.routed import RoutedCall
from onemcp.protocol import questions, taskdesigns, tasks, translation
from onemcp.protocol.errors import (
    BackendProtocolError,
    DeadlineExceeded,
    InteractionNotPossible,
    InternalError,
    InvalidParams,
    ProtocolError,
    RemoteError,
    RequestCancelled,
)
from onemcp.protocol.fields import Fields, join, split, text, value_of
from onemcp.protocol.jsonrpc import Failure, Request, Response
from onemcp.protocol.methods import TASKS_GET, TASKS_UPDATE, TOOLS_CALL
from onemcp.protocol.revisions import Era

from .asking import Asker

MAX_KEYS: Final = 1024
"""How many questions one task may ask in its life."""


class Polled:
    """A reply that is the result of a task; see :class:`onemcp.multiplexer.reply.Reply`."""

    def __init__(
        self, asker: Asker, first: RoutedCall | None = None, *, task_id: str | None = None
    ) -> None:
        """Wait for the result of a task.

        Args:
            asker: Asks about it.
            first: The call that may make it; None where it is there already.
            task_id: The client's own id of it, if it knows that it is a task; then closing the
                reply leaves the task alone.
        """
        self._asker = asker
        self._current = first
        self._making = first is not None
        self._updating = False
        self._task_id = task_id
        self._round: Round | None = None
        self._rounds = 0
        self._asked: set[str] = set()
        self._poll_at = trio.current_time()
        self._closed = False

    async def receive(self) -> Incoming:
        """Wait for the next message."""
        try:
            with trio.move_on_at(self._asker.deadline):
                while True:
                    message = await self._next()
                    if message is not None:
                        return message
            timeout = self._asker.backend.config.timeouts.call
            raise DeadlineExceeded(
                f"the task that backend {self._asker.backend.name!r} has made of the call "
                f"did not end within {timeout:g} s"
            )
        except ProtocolError as error:
            self.close()
            return Failure(self._asker.origin.id, error.error)

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        if self._round is not None:
            return not self._closed and self._round.take(answer)
        return self._current is not None and self._current.answer(answer)

    def close(self) -> None:
        """Stop caring; the task is cancelled, unless its client knows it."""
        if self._closed:
            return
        self._closed = True
        if self._round is not None:
            self._round.abandon()
        if self._current is not None:
            self._current.close()
        if not self._making and self._task_id is None:
            self._asker.cancel()

    async def _next(self) -> Incoming | None:
        """Go one step further; return a message for the client, None where there is none yet."""
        if self._closed:
            raise RequestCancelled("the client cancelled the request")
        if self._round is not None:
            question = self._round.next_question()
            if question is not None:
                return self._named(question)
            await self._update(self._round)
        elif self._current is None:
            await trio.sleep_until(self._poll_at)
            self._current = await self._asker.open(TASKS_GET)
        if self._current is None:
            return None
        message = await self._current.receive()
        if not isinstance(message, Response | Failure):
            return message
        current, self._current = self._current, None
        return self._on_answer(current, message)

    async def _update(self, finished: Round) -> None:
        """Send the client's answers."""
        await finished.settled()
        params = finished.retry(self._asker.call(TASKS_UPDATE)).params
        responses = params.get(questions.INPUT_RESPONSES, Raw(b"{}"))
        self._current = await self._asker.open(TASKS_UPDATE, inputResponses=responses)
        self._round, self._updating = None, True

    def _on_answer(self, current: RoutedCall, answer: Answer) -> Incoming | None:
        if self._making:
            self._making = False
            if current.handle is None:
                self._closed = True
                return answer  # no task was made
            try:
                fields = split(current.handle, "the handle of a task")
                task_id = text(fields, tasks.TASK_ID, "its id")
            except InvalidParams as error:
                self._closed = True
                raise self._nonsense(error) from error
            self._asker = attrs.evolve(self._asker, backend=current.backend, task=task_id)
            self._poll_at = trio.current_time() + taskdesigns.poll_after(fields)
            return None
        if isinstance(answer, Failure):
            raise RemoteError(answer.error)
        if self._updating:
            self._updating, self._poll_at = False, trio.current_time()
            return None
        try:
            return self._on_task(split(answer.result, "the task"))
        except InvalidParams as error:
            raise self._nonsense(error) from error

    def _on_task(self, task: Fields) -> Incoming | None:
        status = value_of(task, "status", str)
        if status == "completed":
            return self._end(task)
        if status == "failed":
            error = task.get("error", InternalError("the task failed").error)
            translated = translation.translate_error(TOOLS_CALL, error, Era.LEGACY)
            self._closed = True
            return Failure(self._asker.origin.id, translated)
        if status == "cancelled":
            self._closed = True
            raise InternalError(f"backend {self._asker.backend.name!r} has cancelled the task")
        if status == "input_required":
            self._begin_round(task)
        self._poll_at = trio.current_time() + taskdesigns.poll_after(task)
        return None

    def _end(self, task: Fields) -> Response:
        result = task.get("result", Raw(b"{}"))
        result = translation.translate_result(TOOLS_CALL, result, Era.MODERN, Era.LEGACY)
        if self._task_id is not None:
            result = tasks.with_related(result, self._task_id)
        self._closed = True
        return Response(self._asker.origin.id, result)

    def _begin_round(self, task: Fields) -> None:
        """Put those questions to the client that it has not been asked before."""
        requests = split(task.get("inputRequests", Raw(b"{}")), "inputRequests")
        new = {key: requests[key] for key in requests if key not in self._asked}
        if not new:
            return
        self._asked |= new.keys()
        self._rounds += 1
        if self._rounds > MAX_ROUNDS or len(self._asked) > MAX_KEYS:
            raise InteractionNotPossible(
                f"a task of backend {self._asker.backend.name!r} asked for input "
                f"{MAX_ROUNDS} times in a row"
            )
        asked = join({"inputRequests": join(new)})
        self._round = Round(asked, self._asker.caller, self._asker.next_question)

    def _named(self, question: Request) -> Request:
        if self._task_id is None:
            return question
        params = tasks.with_related(question.params, self._task_id)
        return Request(question.id, question.method, params)

    def _nonsense(self, error: InvalidParams) -> BackendProtocolError:
        name = self._asker.backend.name
        return BackendProtocolError(f"backend {name!r} described a task with nonsense: {error}")
