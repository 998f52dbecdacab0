"""The spans of questions: what servers ask of clients while they serve a request.

Implements the semantic conventions of OpenTelemetry for MCP, where an operation goes the other way:
who is asked by a server makes a span of kind ``SERVER``, and who asks a client one of kind
``CLIENT``. onemcp does either, for the same question or for one in the terms of another era.
"""

from __future__ import annotations

from typing import Final

from onemcp.protocol.errors import InvalidParams, RequestCancelled
from onemcp.protocol.fields import join, plain, split
from onemcp.protocol.jsonrpc import Failure, Notification, Request, RequestId, Response
from onemcp.protocol.methods import CANCELLED

from ._spans import Span, SpanKind

MOST: Final = 256
"""How many questions may be open at once and have a span, in the course of one request."""


class Questioned:
    """What is asked in the course of one request, from each question to its answer."""

    __slots__ = ("_kind", "_open", "_span", "_tells")

    def __init__(self, span: Span, kind: SpanKind, *, tells: bool) -> None:
        """Begin with no question.

        Args:
            span: The span of the request.
            kind: Whether onemcp is asked, or asks.
            tells: Whether questions that pass say which span they are part of.
        """
        self._span = span
        self._kind = kind
        self._tells = tells
        self._open: dict[RequestId, Span] = {}

    def passing(self, message: Notification | Request) -> Notification | Request:
        """Take note of a message before the answer, and return it as it is to be handed on."""
        if isinstance(message, Request):
            return self._asked(message)
        if message.method == CANCELLED and self._open:
            self._withdrawn(message)
        return message

    def answered(self, answer: Response | Failure) -> None:
        """Take note of the answer to a question; others don't matter."""
        span = None if answer.id is None else self._open.pop(answer.id, None)
        if span is not None:
            span.answer(answer)

    def end(self) -> None:
        """Take note that nothing is answered any more."""
        while self._open:
            self._open.popitem()[1].fail(RequestCancelled)

    def __repr__(self) -> str:
        return f"<Questioned {self._kind} open={len(self._open)}>"

    def _asked(self, question: Request) -> Request:
        span = None if len(self._open) >= MOST else self._span.of_question(self._kind, question)
        if span is None:
            return question
        self._open[question.id] = span
        if not self._tells or span.context is None:
            return question
        params = span.in_context(split(question.params))
        return Request(question.id, question.method, join(params))

    def _withdrawn(self, note: Notification) -> None:
        try:
            withdrawn = plain(split(note.params).get("requestId"))
        except InvalidParams:
            return
        span = self._open.pop(withdrawn, None) if isinstance(withdrawn, int | str) else None
        if span is not None:
            span.fail(RequestCancelled)
