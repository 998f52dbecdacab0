"""What a backend sends, given to whom it belongs.

Every transport shares this: which exchange an answer, a notification or a question goes to, and
what happens to what belongs to none. Over one shared channel nothing tells, so `attribute`
decides; over streamable HTTP the stream of a request tells, and is given along.

A backend may take its time to heed a cancellation, or none at all, and ask or log something on
behalf of a client that has gone. So on a shared channel a cancelled request lingers: until it
is answered, or for `LINGER` seconds, it counts as in flight when it comes to whose a message is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Final, Protocol, TypeGuard

import trio
from msgspec import Raw

from onemcp.protocol import meta, tasks
from onemcp.protocol.errors import (
    BackendLost,
    InteractionNotPossible,
    InvalidParams,
    LocalError,
    MethodNotFound,
    Overloaded,
)
from onemcp.protocol.fields import Fields, join, plain, raw, split, value_of
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.protocol.methods import (
    CANCELLED,
    LIST_CHANGED,
    LISTEN,
    LOG_MESSAGE,
    PING,
    PROGRESS,
    QUESTIONS,
    RESOURCE_UPDATED,
    TASK_STATUS,
    TASKS_CANCEL,
)
from onemcp.protocol.questions import ABOUT_TASKS

from .attribution import INTERNAL, attribute, clients_of
from .clienttasks import ClientTasks
from .connection import ConnectionLost, NotificationHandler
from .exchange import Answer, Exchange, Incoming
from .tasktokens import TaskTokens
from .throttle import Throttle

MAX_QUESTIONS: Final = 256
"""How many questions of a backend may be unanswered at once."""

LINGER: Final = 10.0
"""How long a cancelled request counts as one that the backend may still work on, in seconds."""

MAX_LINGERING: Final = 1024
"""How many cancelled requests are remembered."""

_HOP: Final = frozenset({PROGRESS, LOG_MESSAGE, CANCELLED})
"""Notifications that mean nothing outside of the exchange they belong to."""

_GLOBAL: Final = LIST_CHANGED | {RESOURCE_UPDATED, TASK_STATUS}
"""Notifications that say themselves what they are about, whatever stream a legacy backend sends
them on."""


class Watcher(Protocol):
    """What whoever uses a connection wants to hear of it. Called synchronously."""

    def on_question(
        self, method: str, exchange: Exchange | None, suspects: Sequence[Exchange]
    ) -> None:
        """Take note of a question.

        Args:
            method: What is asked.
            exchange: The exchange that it belongs to, or None where that isn't known.
            suspects: Where no stream tells, the calls of clients that it may belong to.
        """

    def on_settled(self) -> None:
        """Take note that a cancelled request has been answered."""


class Inbound:
    """What is in flight on a connection, and the way in for everything that comes back.

    Attributes:
        watcher: Whom to tell of questions, or None.
        exchanges: What is in flight, by id, oldest first.
        last_violation: What the backend last did that it should not, or None.
        client_tasks: The tasks that it has of clients.
    """

    def __init__(
        self,
        send_answer: Callable[[Answer], None],
        on_notification: NotificationHandler,
        throttle: Throttle | None = None,
    ) -> None:
        """Begin with nothing in flight.

        Args:
            send_answer: Sends the answer to a question that no client needs to see.
            on_notification: Takes what belongs to no exchange.
            throttle: Bounds how many notifications are passed on; by default all are.
        """
        self._throttle = throttle or Throttle()
        self.exchanges: dict[RequestId, Exchange] = {}
        self.last_violation: str | None = None
        self.watcher: Watcher | None = None
        self._own: set[RequestId] = set()
        self._lingering: dict[RequestId, tuple[Exchange, float]] = {}
        self._questions: dict[RequestId, Exchange] = {}
        self._tokens = TaskTokens()
        self.client_tasks = ClientTasks(send_answer)
        self._send_answer = send_answer
        self._on_notification = on_notification

    @property
    def in_flight(self) -> int:
        """How many requests of clients wait for an answer.

        Those of onemcp itself don't count: a subscription lasts as long as the connection.
        """
        return len(self.exchanges) - len(self._own)

    def add(self, exchange: Exchange) -> None:
        """Expect what comes back for an exchange."""
        self.exchanges[exchange.id] = exchange
        if exchange.call.caller.owner == INTERNAL:
            self._own.add(exchange.id)

    def take(self, message: Incoming, stream: Exchange | None = None) -> None:
        """Give a message to whom it belongs.

        Args:
            message: What the backend sent.
            stream: The exchange on whose own stream it came, or None on a shared one.

        Raises:
            InvalidParams: It is a notification that is malformed.
        """
        match message:
            case Response() | Failure():
                self._on_answer(message)
            case Notification():
                self._on_note(message, stream)
            case Request():
                self._on_question(message, stream)

    def finish(self, exchange: Exchange, answer: Answer) -> None:
        """End an exchange with its answer."""
        self._tokens.on_answer(exchange, answer)
        self.drop(exchange)
        exchange.finish(answer)

    def drop(self, exchange: Exchange) -> bool:
        """Expect nothing more for an exchange.

        Returns:
            Whether it was in flight.
        """
        known = self.exchanges.pop(exchange.id, None) is not None
        self._own.discard(exchange.id)
        if self._questions:
            for asked in [key for key, value in self._questions.items() if value is exchange]:
                del self._questions[asked]
        self.client_tasks.drop(exchange)
        return known

    def linger(self, exchange: Exchange) -> None:
        """Remember that the backend may still work on a request that was cancelled."""
        while len(self._lingering) >= MAX_LINGERING:
            del self._lingering[next(iter(self._lingering))]
        self._lingering[exchange.id] = (exchange, trio.current_time() + LINGER)

    def lingering(self) -> Iterator[Exchange]:
        """Yield the cancelled requests that the backend may still work on, oldest first."""
        now = trio.current_time()
        for request_id in [key for key, (_, until) in self._lingering.items() if until <= now]:
            del self._lingering[request_id]
        return (exchange for exchange, _ in self._lingering.values())

    @property
    def settles_at(self) -> float:
        """When the first cancelled request is taken to be over, by Trio's clock; or infinity."""
        return next((until for _, until in self._lingering.values()), math.inf)

    def claim(self, exchange: Exchange, answer: Answer) -> Answer | None:
        """Take an answer for a question that was put to an exchange.

        Returns:
            The answer to send, where it is awaited.
        """
        if answer.id is None or self._questions.get(answer.id) is not exchange:
            return None
        del self._questions[answer.id]
        return self.client_tasks.translate(exchange, answer)

    def fail_all(self, reason: ConnectionLost) -> None:
        """Fail everything in flight: the connection is over."""
        exchanges = list(self.exchanges.values())
        self.exchanges.clear()
        self._own.clear()
        self._lingering.clear()
        self._questions.clear()
        for exchange in exchanges:
            self.client_tasks.drop(exchange)
            exchange.fail(BackendLost(f"the connection was lost with the call in flight: {reason}"))

    def __repr__(self) -> str:
        return f"<Inbound in_flight={len(self.exchanges)} questions={len(self._questions)}>"

    def _on_answer(self, answer: Answer) -> None:
        exchange = None if answer.id is None else self.exchanges.get(answer.id)
        if exchange is not None:
            self.finish(exchange, answer)
        elif answer.id is not None and self._lingering.pop(answer.id, None) is not None:
            if self.watcher is not None:
                self.watcher.on_settled()
        else:
            self.last_violation = f"it answered a request that nobody made (id {answer.id!r:.40})"

    # --- notifications -----------------------------------------------------------------------

    def _on_note(self, note: Notification, stream: Exchange | None) -> None:
        try:
            params = split(note.params)
            if self._throttle.admits(note.method):
                self._throttle.supersede(note, params)
                self._pass_on(note, params, stream)
            elif not self._throttle.hold(note, params, partial(self._pass_on_late, note, stream)):
                self._lose(note, params, stream)
        except InvalidParams as error:
            raise InvalidParams(f"it sent a malformed {note.method[:80]}: {error}") from error

    def _pass_on(self, note: Notification, params: Fields, stream: Exchange | None) -> None:
        exchange, passed_on = self._owner_of(note, params, stream)
        if exchange is None:
            if note.method not in _HOP or passed_on is not note:
                self._on_notification(passed_on)
        elif not (exchange.finished or exchange.deliver(passed_on)):
            self._throttle.tally.drop(note.method)

    def _pass_on_late(self, note: Notification, stream: Exchange | None) -> None:
        with suppress(InvalidParams):  # what it names may be gone by now
            self._pass_on(note, split(note.params), stream)

    def _lose(self, note: Notification, params: Fields, stream: Exchange | None) -> None:
        """Take note of a notification that is not passed on at all."""
        if note.method == LOG_MESSAGE:
            exchange, _ = self._owner_of(note, params, stream)
            if exchange is not None:
                exchange.miss_log()

    def _owner_of(
        self, note: Notification, params: Fields, stream: Exchange | None
    ) -> tuple[Exchange | None, Notification]:
        """Find the exchange that a notification belongs to, and write it in the caller's terms."""
        if note.method == PROGRESS:
            return self._on_progress(note, params)
        if note.method == CANCELLED:
            return self._cancelled(plain(params.get("requestId"))), note
        if note.method == TASK_STATUS:
            self._tokens.on_status(params)
        task = tasks.related_task(note.params)
        if task is not None and note.method not in _GLOBAL:
            return self._of_task(task, stream), note
        if note.method == LOG_MESSAGE:
            level = value_of(params, "level", str)
            return self._attribute(stream, level=level), note
        return self._receiver_of(note, params, stream), note

    def _receiver_of(
        self, note: Notification, params: Fields, stream: Exchange | None
    ) -> Exchange | None:
        """Find the exchange that any other notification belongs to."""
        if stream is not None:
            everyones = note.method in _GLOBAL and stream.call.method != LISTEN
            return None if everyones else stream
        members = meta.meta_of(params)
        if meta.SUBSCRIPTION_ID in members:
            subscription = self._by_id(plain(members[meta.SUBSCRIPTION_ID]))
            listens = subscription is not None and subscription.call.method == LISTEN
            return subscription if listens else None
        return None if note.method in _GLOBAL else self._attribute(None)

    def _attribute(self, stream: Exchange | None, level: str | None = None) -> Exchange | None:
        found = attribute(self._candidates(stream), level)
        return None if found is None or found.finished else found

    def _of_task(self, task_id: str, stream: Exchange | None) -> Exchange | None:
        """Find the exchange that takes what belongs to a task.

        That is one that asks about this very task (2025-11-25, Tasks, Input Required Status), or
        the one that makes it, where its own stream tells; whoever else has calls in flight.
        """
        for exchange in reversed(list(self.exchanges.values())):
            call = exchange.call
            if (
                call.method in tasks.METHODS
                and value_of(call.params, tasks.TASK_ID, str) == task_id
            ):
                return exchange
        if stream is None:
            return None
        makes_one = stream.call.task is not None or tasks.TASK in stream.call.params
        return stream if makes_one else None

    def _candidates(self, stream: Exchange | None) -> Iterable[Exchange]:
        if stream is not None:
            return (stream,)
        return chain(self.lingering(), self.exchanges.values())

    def _on_progress(
        self, note: Notification, params: Fields
    ) -> tuple[Exchange | None, Notification]:
        token = plain(params.get("progressToken"))
        exchange = self._by_id(token)
        if exchange is None:
            # The call is over, but the task that it has made may go on.
            task, note = self._tokens.find(token, params) or (None, note)
            return None if task is None else self._of_task(task, None), note
        if exchange.progress_token is None:
            return None, note
        params["progressToken"] = exchange.progress_token
        return exchange, Notification(note.method, join(params))

    def _by_id(self, request_id: object) -> Exchange | None:
        return self.exchanges.get(request_id) if _is_id(request_id) else None

    def _cancelled(self, request_id: object) -> Exchange | None:
        """Take back a question, or end a subscription, that the backend cancels."""
        if not _is_id(request_id):
            return None
        asked = self._questions.pop(request_id, None)
        if asked is not None:
            return asked
        # Its questions have ids of its own, which say nothing of our requests with equal ones:
        # of these it cancels subscriptions alone.
        exchange = self.exchanges.get(request_id)
        if exchange is not None and exchange.call.method == LISTEN:
            self.drop(exchange)
            exchange.fail(BackendLost("the backend ended the subscription"))
        return None

    # --- questions ---------------------------------------------------------------------------

    def _on_question(self, request: Request, stream: Exchange | None) -> None:
        if request.method == PING:
            self._send_answer(Response(request.id, Raw(b"{}")))
            return
        if request.method in ABOUT_TASKS:
            self._on_task_request(request, stream)
            return
        if request.method not in QUESTIONS:
            self._refuse(request, MethodNotFound(f"Method not found: {request.method[:80]}"))
            return
        # Whether its client can answer is for the call to say.
        task = tasks.related_task(request.params)
        exchange = self._attribute(stream) if task is None else self._of_task(task, stream)
        if self.watcher is not None:
            tells = stream is not None or task is not None
            suspects = [] if tells else [*clients_of(self._candidates(None))]
            self.watcher.on_question(request.method, exchange, suspects)
        if exchange is None:
            self._refuse(
                request,
                InteractionNotPossible(f"No single client can answer {request.method} now"),
            )
        else:
            self._put(request, exchange)

    def _put(self, request: Request, exchange: Exchange) -> None:
        """Put a question to a client."""
        try:
            asked = self.client_tasks.ask(request, exchange)
        except LocalError as error:
            self._refuse(request, error)
            return
        if len(self._questions) < MAX_QUESTIONS and exchange.deliver(asked):
            self._questions[request.id] = exchange
            return
        refused = Failure(request.id, Overloaded("Too many questions are unanswered").error)
        answer = self.client_tasks.translate(exchange, refused)
        if answer is not None:
            self._send_answer(answer)

    def _on_task_request(self, request: Request, stream: Exchange | None) -> None:
        """Serve what a backend asks about the task of a client, or carry it to the client."""
        try:
            carried = self.client_tasks.serve(request, partial(self._attribute, stream))
        except LocalError as error:
            self._refuse(request, error)
            return
        if carried is not None:
            self._put(carried[1], carried[0])
        elif request.method == TASKS_CANCEL:
            self._withdraw()

    def _withdraw(self) -> None:
        """Tell clients which questions need no answer any more, because tasks are cancelled."""
        for asked, exchange in list(self._questions.items()):
            if self.client_tasks.is_withdrawn(asked):
                del self._questions[asked]
                exchange.deliver(Notification(CANCELLED, raw({"requestId": asked})))

    def _refuse(self, request: Request, error: LocalError) -> None:
        self._send_answer(Failure(request.id, error.error))


def _is_id(value: object) -> TypeGuard[RequestId]:
    return isinstance(value, int | str) and not isinstance(value, bool)
