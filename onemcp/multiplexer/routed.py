"""A call on its way through: one request of a client, served by one backend.

Theory of operation: `receive` takes the next message of the backend's exchange and puts it into
the client's terms: the answer in the client's era, log messages only where the client wants them,
questions under ids of onemcp's own. When a modern backend answers a legacy client with
questions, a :class:`.rounds.Round` puts them to the client, and with the last answer the call is
made again, for a bounded number of rounds. When a legacy backend asks a modern client, an
:class:`.inquiry.Inquiry` gathers the questions, and the call is parked: its answer is then that
input is required, and the exchange goes on without this one. Whoever receives must keep receiving:
the rounds are driven by `receive` alone, so that no task of their own has to be supervised.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio
from msgspec import Raw
from msgspec.structs import replace

from onemcp.backend import Answer, Backend, Call, Exchange, Incoming, keep_state, open_call
from onemcp.protocol import tasks, translation
from onemcp.protocol.errors import (
    BackendProtocolError,
    DeadlineExceeded,
    InteractionNotPossible,
    LocalError,
    ProtocolError,
    RemoteError,
    RequestCancelled,
)
from onemcp.protocol.fields import join, plain, raw, split, value_of
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.protocol.methods import (
    CANCELLED,
    ELICITATION_COMPLETE,
    LOG_MESSAGE,
    PROGRESS,
    TASK_CHANGED,
)
from onemcp.protocol.questions import ASKING, required_urls
from onemcp.protocol.revisions import Era

from .answers import check_meant, era_of_backend, translate_result
from .events import CallRepeated
from .inquiry import MAX_ROUNDS, Inquiry, Origin, refusal_of
from .repeating import may_repeat
from .reply import gives_up_at
from .rounds import Round, check_declared
from .tasks import TaskNames
from .terms import Terms


class RoutedCall:
    """A request that a backend serves; see :class:`.reply.Reply`.

    Attributes:
        handle: What a backend has said about a task that onemcp itself sees to, as the backend
            wrote it, where that was the answer.
    """

    __slots__ = (
        "_asked",
        "_backend",
        "_begun",
        "_call",
        "_closed",
        "_exchange",
        "_first",
        "_inquiry",
        "_lost",
        "_names",
        "_origin",
        "_progress",
        "_repeats",
        "_round",
        "_rounds",
        "_terms",
        "handle",
    )

    def __init__(
        self,
        origin: Origin,
        backend: Backend,
        exchange: Exchange,
        terms: Terms,
        *,
        first: Incoming | None = None,
        inquiry: Inquiry | None = None,
    ) -> None:
        """Carry `exchange` for the request `origin`.

        Args:
            origin: The client's request.
            backend: The backend.
            exchange: The call in flight.
            terms: How it is carried.
            first: What has been received already.
            inquiry: What the backend has asked so far.
        """
        self._origin = origin
        self._inquiry = inquiry
        self._backend = backend
        self._exchange = exchange
        self._call = exchange.call
        self._terms = terms
        self._first = first
        self._begun = inquiry is not None
        self._lost: LocalError | None = None
        self._repeats = 0
        self._closed = False
        self._asked: dict[RequestId, RequestId] = {}
        self._round: Round | None = None
        self._rounds = 0
        self._progress = -math.inf
        self.handle: Raw | None = None
        self._names = TaskNames(terms.tasks, origin.endpoint, backend, exchange.call, origin.params)

    async def receive(self) -> Incoming:
        """Wait for the next message, in the client's terms.

        Whoever receives when it is closed, or later, gets a ``Failure``.
        """
        deadline = self._terms.deadline
        if gives_up_at.get() <= deadline or trio.current_effective_deadline() <= deadline:
            return await self._receive_any()  # whoever waits gives up before: spare a scope
        with trio.move_on_at(deadline):
            return await self._receive_any()
        timeout = self._backend.config.timeouts.call
        if not self._asked and not (self._inquiry and self._inquiry.waiting):
            self._exchange.expire()  # and it isn't the client who is waited for
        return self._fail(
            DeadlineExceeded(
                f"backend {self._backend.name!r} did not answer within {timeout:g} s; "
                "it may or may not have acted"
            )
        )

    async def _receive_any(self) -> Incoming:
        while True:
            try:
                message = await self._next()
            except ProtocolError as error:
                return self._fail(error)
            except trio.EndOfChannel:  # closed, perhaps while another task was receiving
                return self._fail(RequestCancelled("the client cancelled the request"))
            if message is not None:
                self._begun = True
                return message

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        if self._closed:
            return False
        if self._round is not None and self._round.take(answer):
            return True
        asked = None if answer.id is None else self._asked.pop(answer.id, None)
        if asked is None:
            return False
        self._exchange.reply(self._as_asked(answer, asked))
        return True

    @property
    def call(self) -> Call:
        """What is asked, in the backend's terms."""
        return self._call

    @property
    def backend(self) -> Backend:
        """The backend that serves it."""
        return self._backend

    def on_abandon(self, act: Callable[[], object]) -> None:
        """Do something where the call is given up before it is answered, even while parked."""
        self._exchange.on_abandon = act

    def detach(self) -> Exchange:
        """Give up the call, which goes on: what comes of it is received by somebody else."""
        self._closed = True
        self._terms.on_end(None)
        return self._exchange

    def close(self) -> None:
        """Stop caring; cancel the call where it is still in flight."""
        if not self._closed:
            self._close(RequestCancelled)

    def _close(self, failure: type[BaseException] | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._terms.on_end(failure)
        if self._round is not None:
            self._round.abandon()
        self._exchange.close()

    def __repr__(self) -> str:
        return f"<RoutedCall {self._origin.id!r} {self._call.method} to {self._backend.name!r}>"

    async def _next(self) -> Incoming | None:
        """Return the next message for the client, None where one was not for it."""
        self._check_open()
        if self._round is not None:
            await trio.lowlevel.checkpoint()
            self._check_open()
            question = self._round.next_question()
            if question is not None:
                return question
            await self._finish_round(self._round)
        if self._lost is not None:
            await self._repeat(self._lost)
        message = await self._receive()
        if message is None:
            return await self._park()
        self._check_open()
        match message:
            case Response(result=result):
                return self._on_result(result)
            case Failure(error=error):
                return self._on_failure(error)
            case Request():
                return self._on_question(message)
            case Notification():
                note = self._on_notification(message)
                return None if note is None else self._renamed(note)

    def _receive(self) -> Awaitable[Incoming | None]:
        """Wait for what comes next, None where it is time to ask what has gathered."""
        if self._first is not None:
            return self._take_first()
        if self._inquiry is not None and self._inquiry.waiting:
            return self._inquiry.gather()
        return self._exchange.receive()

    async def _take_first(self) -> Incoming | None:
        await trio.lowlevel.checkpoint()
        first, self._first = self._first, None
        return first

    async def _park(self) -> Incoming | None:
        """Let the call wait for the client's retry, and say so; None where that isn't possible."""
        inquiry = self._inquire()
        try:
            result = await self._terms.parking.park(inquiry)
        except LocalError as error:
            inquiry.refuse_all(error)
            return None
        self._check_open()
        self._closed = True  # but the exchange goes on
        self._terms.on_end(None)
        return Response(self._origin.id, result)

    def _inquire(self) -> Inquiry:
        if self._inquiry is None:
            on_event = self._terms.parking.on_event
            self._inquiry = Inquiry(self._origin, self._backend, self._exchange, on_event)
        return self._inquiry

    async def _finish_round(self, finished: Round) -> None:
        await finished.settled()
        self._check_open()
        await self._open_again(finished.retry(self._call))
        self._round = None

    async def _repeat(self, lost: LocalError) -> None:
        """Make the call again, as soon as its backend is there."""
        call, span = self._call, self._origin.span
        try:
            await self._open_again(call if span is None else replace(call, span=span))
        except ProtocolError:
            raise lost from None  # this is what has become of the call
        self._lost = None
        name, method = self._backend.name, self._call.method
        about = self._origin.told(self._call.caller)
        self._terms.parking.on_event(CallRepeated(name, method, lost.message, **about))

    async def _open_again(self, call: Call) -> None:
        on_abandon = self._exchange.on_abandon
        backend, exchange = await open_call(self._backend, call)
        try:
            self._check_open()
        except trio.EndOfChannel:
            exchange.close()
            raise
        exchange.on_abandon = on_abandon
        self._backend, self._exchange = backend, exchange

    def _check_open(self) -> None:
        if self._closed:
            raise trio.EndOfChannel

    def _on_result(self, result: Raw) -> Incoming | None:
        caller, source = self._call.caller, era_of_backend(self._backend)
        if source is Era.MODERN and translation.is_input_required(result):
            if caller.era is Era.LEGACY or self._call.method not in ASKING:
                self._begin_round(result)
                return None
            check_declared(result, caller)
            keep_state(self._backend, result)
        if self._call.task is not None and tasks.is_handle(self._call.method, result, source):
            self.handle = result
            return self._end(Response(self._origin.id, result))
        result = translate_result(result, source, self._backend, self._call, self._names)
        return self._end(Response(self._origin.id, result))

    def _begin_round(self, result: Raw) -> None:
        if self._call.method not in ASKING:
            name, method = self._backend.name, self._call.method
            raise BackendProtocolError(f"backend {name!r} asked for input in answer to {method}")
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise InteractionNotPossible(
                f"backend {self._backend.name!r} asked for input {MAX_ROUNDS} times in a row"
            )
        self._round = Round(result, self._call.caller, self._terms.next_question)

    def _on_failure(self, error: Raw) -> Incoming | None:
        caller, method = self._call.caller, self._call.method
        failure = self._exchange.failure
        if failure is not None:
            return self._on_lost(failure)
        if caller.era is Era.MODERN and method in ASKING:
            urls = required_urls(error)
            if urls is not None:
                result = self._terms.parking.send_to(urls, self._origin, method, caller)
                return self._end(Response(self._origin.id, result))
        lacking = None if self._inquiry is None else self._inquiry.handed_on(error)
        if lacking is not None:
            return self._fail(lacking)
        check_meant(RemoteError(error), self._backend, self._call)
        uri = value_of(self._call.params, "uri", str)
        translated = translation.translate_error(method, error, caller.era, uri)
        return self._end(Failure(self._origin.id, translated), RemoteError)

    def _on_lost(self, failure: LocalError) -> Incoming | None:
        """Have the call made again where it can be; otherwise it fails."""
        count = self._repeats
        if self._begun or not may_repeat(
            self._backend, self._origin, self._call, failure, count=count
        ):
            return self._fail(failure)
        self._lost, self._repeats = failure, count + 1
        return None

    def _on_notification(self, note: Notification) -> Notification | None:
        if note.method == LOG_MESSAGE:
            level = value_of(split(note.params), "level", str)
            return note if self._call.caller.wants(level) else None
        if note.method == PROGRESS and self._call.caller.era is Era.LEGACY:
            return self._on_progress(note)
        if note.method == CANCELLED:
            return self._on_withdrawn(note)
        if note.method == TASK_CHANGED:
            return None  # it is for subscriptions alone
        if note.method == ELICITATION_COMPLETE and self._call.caller.era is Era.MODERN:
            return None  # it names what modern clients have no names for
        return note

    def _on_progress(self, note: Notification) -> Notification | None:
        """Leave out what a call that is made again reports once more.

        Progress must increase (2025-11-25, Progress), but each round begins at the beginning.
        """
        progress = value_of(split(note.params), "progress", float)
        if progress is not None:
            if self._rounds and progress <= self._progress:
                return None
            self._progress = progress
        return note

    def _on_withdrawn(self, note: Notification) -> Notification | None:
        """Tell the client that the backend has cancelled a question."""
        if self._inquiry is not None:
            self._inquiry.withdraw(note)
            return None
        fields = split(note.params)
        withdrawn = plain(fields.get("requestId"))
        for question, asked in self._asked.items():
            if asked == withdrawn:
                del self._asked[question]
                return Notification(CANCELLED, join({**fields, "requestId": raw(question)}))
        return None

    def _on_question(self, question: Request) -> Request | None:
        if self._call.caller.era is Era.MODERN:
            self._inquire().ask(question)
            return None
        refusal = refusal_of(question, self._call.caller)
        if refusal is not None:
            self._exchange.reply(Failure(question.id, refusal.error))
            return None
        question_id = self._terms.next_question()
        self._asked[question_id] = question.id
        params = tasks.rename_related(question.params, self._names.to_client)
        return Request(question_id, question.method, params)

    def _renamed(self, note: Notification) -> Notification:
        if self._call.caller.era is Era.LEGACY:
            renamed = tasks.rename_related(note.params, self._names.to_client)
        else:
            renamed = tasks.with_related(note.params, None)
        return note if renamed is note.params else Notification(note.method, renamed)

    def _as_asked(self, answer: Answer, asked: RequestId) -> Answer:
        """Write an answer of the client in the backend's terms."""
        if isinstance(answer, Failure):
            return Failure(asked, answer.error)
        return Response(asked, tasks.rename_related(answer.result, self._names.to_backend))

    def _fail(self, error: ProtocolError) -> Answer:
        return self._end(Failure(self._origin.id, error.error), type(error))

    def _end(self, answer: Answer, failure: type[BaseException] | None = None) -> Answer:
        self._close(failure)
        return answer
