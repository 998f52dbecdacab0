"""What a backend sends, given to whom it belongs.

Every transport shares this: which exchange an answer, a notification or a question goes to, and
what happens to what belongs to none. Over one shared channel nothing tells, so `attribute`
decides; over streamable HTTP the stream of a request tells, and is given along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Raw

from onemcp.protocol import meta
from onemcp.protocol.errors import (
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    BackendLost,
    InvalidParams,
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
)

from .attribution import attribute
from .connection import ConnectionLost, NotificationHandler
from .exchange import Answer, Exchange, Incoming

MAX_QUESTIONS: Final = 256
"""How many questions of a backend may be unanswered at once."""

_HOP: Final = frozenset({PROGRESS, LOG_MESSAGE, CANCELLED})
"""Notifications that mean nothing outside of the exchange they belong to."""

_GLOBAL: Final = LIST_CHANGED | {RESOURCE_UPDATED}
"""Notifications that concern everyone, whatever stream a legacy backend sends them on."""


class Inbound:
    """What is in flight on a connection, and the way in for everything that comes back.

    Attributes:
        exchanges: What is in flight, by id, oldest first.
        last_violation: What the backend last did that it should not, or None.
    """

    def __init__(
        self, send_answer: Callable[[Answer], None], on_notification: NotificationHandler
    ) -> None:
        """Begin with nothing in flight.

        Args:
            send_answer: Sends the answer to a question that no client needs to see.
            on_notification: Takes what belongs to no exchange.
        """
        self.exchanges: dict[RequestId, Exchange] = {}
        self.last_violation: str | None = None
        self._questions: dict[RequestId, Exchange] = {}
        self._send_answer = send_answer
        self._on_notification = on_notification

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
        self.drop(exchange)
        exchange.finish(answer)

    def drop(self, exchange: Exchange) -> bool:
        """Expect nothing more for an exchange.

        Returns:
            Whether it was in flight.
        """
        known = self.exchanges.pop(exchange.id, None) is not None
        for request_id in [key for key, value in self._questions.items() if value is exchange]:
            del self._questions[request_id]
        return known

    def claim(self, exchange: Exchange, answer: Answer) -> bool:
        """Take an answer for a question that was put to an exchange.

        Returns:
            Whether it is awaited, and is to be sent.
        """
        if answer.id is None or self._questions.get(answer.id) is not exchange:
            return False
        del self._questions[answer.id]
        return True

    def fail_all(self, reason: ConnectionLost) -> None:
        """Fail everything in flight: the connection is over."""
        exchanges = list(self.exchanges.values())
        self.exchanges.clear()
        self._questions.clear()
        for exchange in exchanges:
            exchange.fail(BackendLost(f"the connection was lost with the call in flight: {reason}"))

    def __repr__(self) -> str:
        return f"<Inbound in_flight={len(self.exchanges)} questions={len(self._questions)}>"

    def _on_answer(self, answer: Answer) -> None:
        exchange = None if answer.id is None else self.exchanges.get(answer.id)
        if exchange is None:
            self.last_violation = f"it answered a request that nobody made (id {answer.id!r:.40})"
        else:
            self.finish(exchange, answer)

    # --- notifications -----------------------------------------------------------------------

    def _on_note(self, note: Notification, stream: Exchange | None) -> None:
        try:
            exchange, passed_on = self._owner_of(note, split(note.params), stream)
        except InvalidParams as error:
            raise InvalidParams(f"it sent a malformed {note.method[:80]}: {error}") from error
        if exchange is not None:
            exchange.deliver(passed_on)
        elif note.method not in _HOP:
            self._on_notification(note)

    def _owner_of(
        self, note: Notification, params: Fields, stream: Exchange | None
    ) -> tuple[Exchange | None, Notification]:
        """Find the exchange that a notification belongs to, and write it in the caller's terms."""
        if note.method == PROGRESS:
            return self._on_progress(note, params)
        if note.method == LOG_MESSAGE:
            level = value_of(params, "level", str)
            return attribute(self._candidates(stream), level=level), note
        if note.method == CANCELLED:
            return self._cancelled(plain(params.get("requestId"))), note
        if stream is not None:
            everyones = note.method in _GLOBAL and stream.call.method != LISTEN
            return (None if everyones else stream), note
        subscription = plain(meta.meta_of(params).get(meta.SUBSCRIPTION_ID))
        return (None if subscription is None else self._by_id(subscription)), note

    def _candidates(self, stream: Exchange | None) -> Iterable[Exchange]:
        return self.exchanges.values() if stream is None else (stream,)

    def _on_progress(
        self, note: Notification, params: Fields
    ) -> tuple[Exchange | None, Notification]:
        exchange = self._by_id(plain(params.get("progressToken")))
        if exchange is None or exchange.progress_token is None:
            return None, note
        params["progressToken"] = exchange.progress_token
        return exchange, Notification(note.method, join(params))

    def _by_id(self, request_id: object) -> Exchange | None:
        return self.exchanges.get(request_id) if isinstance(request_id, int | str) else None

    def _cancelled(self, request_id: object) -> Exchange | None:
        """Take back a question, or end a subscription, that the backend cancels."""
        if not isinstance(request_id, int | str):
            return None
        asked = self._questions.pop(request_id, None)
        if asked is not None:
            return asked
        exchange = self.exchanges.pop(request_id, None)
        if exchange is not None:
            exchange.fail(BackendLost("the backend cancelled the request"))
        return None

    # --- questions ---------------------------------------------------------------------------

    def _on_question(self, request: Request, stream: Exchange | None) -> None:
        if request.method == PING:
            self._send_answer(Response(request.id, Raw(b"{}")))
            return
        capability = QUESTIONS.get(request.method)
        if capability is None:
            self._refuse(request, METHOD_NOT_FOUND, f"Method not found: {request.method[:80]}")
            return
        exchange = attribute(self._candidates(stream), capability=capability)
        if exchange is None:
            self._refuse(
                request, INVALID_REQUEST, f"No single client can answer {request.method} now"
            )
        elif len(self._questions) >= MAX_QUESTIONS or not exchange.deliver(request):
            self._refuse(request, INVALID_REQUEST, "Too many questions are unanswered")
        else:
            self._questions[request.id] = exchange

    def _refuse(self, request: Request, code: int, message: str) -> None:
        self._send_answer(Failure(request.id, raw({"code": code, "message": message})))
