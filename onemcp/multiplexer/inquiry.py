"""What a legacy backend asks a modern client during one call.

Implements 2026-07-28, Multi Round-Trip Requests, on behalf of servers that can't do it: questions
that arrive within a moment of each other are gathered, to be asked in one round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec
import trio
from msgspec import Raw

from onemcp.backend import Answer, Backend, Caller, Exchange, Incoming
from onemcp.protocol import questions, tasks
from onemcp.protocol.errors import (
    InteractionNotPossible,
    InvalidParams,
    LocalError,
    MethodNotFound,
    MissingClientCapability,
    Overloaded,
)
from onemcp.protocol.fields import Fields, join, plain, split
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.telemetry import Span, trace_of

from .events import QuestionRefused
from .requeststate import question_digest

GATHER: Final = 0.02
"""How long more questions are waited for after the first one, in seconds."""

MAX_ROUNDS: Final = 16
"""How often one call may ask before it is given up."""

MAX_QUESTIONS: Final = 64
"""How many questions of one call may be open at once."""

MAX_BYTES: Final = 4 * 1024 * 1024
"""How large they may be together; and what has become of a parked call."""

MAX_GIVEN: Final = 64 * 1024
"""How large the answers may be that a state carries, should the call have to be made again."""


class Origin(msgspec.Struct, frozen=True):
    """A client's request, as it came.

    Attributes:
        id: Its id.
        endpoint: The view that it was sent to.
        method: Its method.
        params: Its parameters, with names as the client has them.
        is_retry: Whether it comes back with a state of onemcp's own, of a call that is not held
            here, so that it has to be made again.
        is_repeatable: Whether that was agreed on: nothing is known to have been done so far.
        round: How often its client has been asked before.
        given: What the client answered, each answer after its question's digest.
        span: The span of what is done for it, or None.
    """

    id: RequestId
    endpoint: str | None
    method: str
    params: Fields
    is_retry: bool = False
    is_repeatable: bool = True
    round: int = 0
    given: tuple[tuple[bytes, bytes], ...] = ()
    span: Span | None = None

    @property
    def trace(self) -> str | None:
        """The trace that it is part of, or None."""
        context = None if self.span is None else self.span.context
        return trace_of(self.params) if context is None else context.trace_id

    def told(self, caller: Caller) -> dict[str, Any]:
        """Return what events tell of it; see :class:`.OfRequest`."""
        return {
            "request": self.id,
            "principal": caller.principal,
            "session": caller.session,
            "trace": self.trace,
        }


@attrs.frozen
class Question:
    """A question that waits for an answer.

    Attributes:
        request: What the backend sent, as it is put to the client.
        digest: What it is known again by.
        task: The backend's id of the task that it belongs to, or None.
    """

    request: Request
    digest: bytes
    task: str | None = None


def refusal_of(question: Request, caller: Caller) -> LocalError | None:
    """Tell why a question can't be put to a client that has not declared to be able to answer.

    It gets the error that its own revision has for that (2025-11-25, Elicitation and Roots, Error
    Handling): an unknown method, or parameters that ask for too much.
    """
    declared = plain(caller.capabilities)
    try:
        lacking = questions.lacking(question.method, question.params, declared, caller.revision)
    except InvalidParams as error:
        return error
    if lacking is None:
        return None
    said = f"the client has not declared that it can do {lacking}"
    data = {questions.REQUIRED: questions.required(lacking)}
    return InvalidParams(said, data) if "." in lacking else MethodNotFound(said, data)


class Inquiry:
    """The open questions of one call, from the first one to the last.

    Attributes:
        method: What was called.
        origin: The client's first request.
        backend: The backend that asks.
        exchange: The call in flight.
        caller: Who is asked.
        waiting: The questions that have no answer yet, by the keys that the client knows.
        given: The answers so far, each after its question's digest.
        round: How often the client has been asked.
    """

    def __init__(
        self,
        origin: Origin,
        backend: Backend,
        exchange: Exchange,
        on_event: Callable[[QuestionRefused], object],
        mark: str = "",
    ) -> None:
        """Begin with no question.

        Args:
            origin: The client's first request.
            backend: The backend that asks.
            exchange: The call in flight.
            on_event: Takes what is not asked.
            mark: What ends the keys of questions, where these must differ from another inquiry's.
        """
        self.method = origin.method
        self.origin = origin
        self.backend = backend
        self.exchange = exchange
        self.caller = exchange.call.caller
        self.waiting: dict[str, Question] = {}
        self.given: list[tuple[bytes, bytes]] = []
        self.round = origin.round
        self._known = list(origin.given)
        self._on_event = on_event
        self._mark = mark
        self._asked = 0
        self._lacked: list[object] = []
        self._complete_at = 0.0

    async def gather(self) -> Incoming | None:
        """Wait a moment for what comes right after a question; None when the moment is over."""
        with trio.move_on_at(self._complete_at):
            return await self.exchange.receive()
        return None

    def ask(self, question: Request) -> None:
        """Take a question: answer it where that is possible already, or keep it, or refuse it."""
        refusal = self._refusal(question)
        if refusal is not None:
            self._refuse(question, refusal)
            return
        # To modern clients tasks of 2025-11-25 mean nothing, and backends' ids are not for them.
        params = tasks.with_related(question.params, None)
        digest, task = question_digest(question.method, params), tasks.related_task(question.params)
        question = Request(question.id, question.method, params)
        for index, (known, answer) in enumerate(self._known):
            if known == digest:
                del self._known[index]
                self._reply(Question(question, digest, task), Raw(answer))
                return
        if not self.waiting:
            self._complete_at = trio.current_time() + GATHER
        self._asked += 1
        key = f"{question.method.partition('/')[0]}-{self._asked}{self._mark}"
        self.waiting[key] = Question(question, digest, task)

    def withdraw(self, note: Notification) -> None:
        """Forget a question that the backend has cancelled."""
        withdrawn = plain(split(note.params).get("requestId"))
        for key, question in self.waiting.items():
            if question.request.id == withdrawn:
                del self.waiting[key]
                return

    def resume(self, caller: Caller, responses: Fields) -> None:
        """Pass on the client's answers; what is still open is asked again, if it can be.

        Answers to questions that are not open are ignored.
        """
        self.caller = caller
        for key in [key for key in self.waiting if key in responses]:
            question = self.waiting.pop(key)
            self._reply(question, responses[key])
        for key, question in list(self.waiting.items()):
            refusal = refusal_of(question.request, caller)
            if refusal is not None:
                del self.waiting[key]
                self._refuse(question.request, refusal)
        self._complete_at = trio.current_time() + GATHER

    def handed_on(self, failure: Raw) -> MissingClientCapability | None:
        """Tell whether the backend fails because a question took what the client can't do.

        It does so where it hands on the refusal of that question, which is known by its data.
        """
        try:
            data = plain(split(failure, "error").get("data"))
        except InvalidParams:
            return None
        if not isinstance(data, dict) or data not in self._lacked:
            return None
        if questions.REQUIRED not in data:  # it was refused for something else
            return None
        lacking = ", ".join(data[questions.REQUIRED])
        return MissingClientCapability(f"the backend needs the client capability {lacking}", data)

    def refuse_all(self, error: LocalError) -> None:
        """Refuse every open question."""
        for question in self.waiting.values():
            self._refuse(question.request, error)
        self.waiting.clear()

    @property
    def input_requests(self) -> Raw:
        """The open questions, for the client."""
        return join(
            {
                key: questions.as_input_request(each.request.method, each.request.params)
                for key, each in self.waiting.items()
            }
        )

    @property
    def carried(self) -> list[tuple[bytes, bytes]]:
        """The answers that a state carries: the first ones, as many as fit."""
        carried, size = [], 0
        for digest, answer in self.given:
            size += len(answer)
            if size > MAX_GIVEN:
                break
            carried.append((digest, answer))
        return carried

    def __repr__(self) -> str:
        return f"<Inquiry of {self.backend.name!r} round={self.round} waiting={len(self.waiting)}>"

    def _refusal(self, question: Request) -> LocalError | None:
        if self.method not in questions.ASKING:
            return InteractionNotPossible(f"nothing can be asked during {self.method}")
        size = sum(len(each.request.params) for each in self.waiting.values())
        if len(self.waiting) >= MAX_QUESTIONS or size + len(question.params) > MAX_BYTES:
            return Overloaded("too much is asked at once")
        return refusal_of(question, self.caller)

    def _refuse(self, question: Request, error: LocalError) -> None:
        self.exchange.reply(Failure(question.id, error.error))
        about = self.origin.told(self.caller)
        name, method = self.backend.name, question.method
        self._on_event(QuestionRefused(name, method, error.message, **about))
        if error.data is not None and len(self._lacked) < MAX_QUESTIONS:
            self._lacked.append(error.data)

    def _reply(self, question: Question, answer: Raw) -> None:
        self.given.append((question.digest, bytes(answer)))
        if question.task is not None:
            answer = tasks.with_related(answer, question.task)
        self.exchange.reply(Response(question.request.id, answer))


def too_large(answer: Answer) -> bool:
    """Tell whether an answer is larger than what is kept for a client that has gone."""
    return len(answer.result if isinstance(answer, Response) else answer.error) > MAX_BYTES
