"""What happens in the multiplexer, as typed events."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from onemcp.protocol.jsonrpc import RequestId
from onemcp.telemetry import OfRequest

from .table import Conflict
from .unmatched import UnmatchedPattern


@attrs.frozen
class ConflictsChanged:
    """Other names or URIs than before are exposed by several backends.

    Attributes:
        conflicts: All of them; empty when the last one has gone.
    """

    conflicts: tuple[Conflict, ...]


@attrs.frozen
class CallRepeated(OfRequest):
    """A call is made again, because the backend went away before it had answered.

    Attributes:
        backend: The backend.
        method: What is called.
        reason: What the call had failed with.
    """

    backend: str
    method: str
    reason: str


@attrs.frozen
class CallParked(OfRequest):
    """A call waits for its client to come back with answers.

    Attributes:
        backend: The backend that has asked.
        method: What was called.
        round: How often the client has been asked by now.
        questions: How many questions there are this time.
    """

    backend: str
    method: str
    round: int
    questions: int


@attrs.frozen
class CallResumed(OfRequest):
    """The client of a parked call has come back.

    Attributes:
        backend: The backend.
        method: What was called.
        round: How often the client had been asked.
    """

    backend: str
    method: str
    round: int


@attrs.frozen
class ParkedCallExpired(OfRequest):
    """The client of a parked call has not come back in time; the call was cancelled.

    Attributes:
        backend: The backend.
        method: What was called.
        seconds: How long it was waited for.
    """

    backend: str
    method: str
    seconds: float


@attrs.frozen
class RetryRefused:
    """A client came back with a ``requestState`` that it can't have been given for that.

    Attributes:
        principal: Who it was.
        method: What was called.
        reason: Why, in more detail than the client is told.
        request: The id of its request.
        session: What its session is called, or None.
        trace: The trace that it is part of, or None.
    """

    principal: str
    method: str
    reason: str
    request: RequestId | None = attrs.field(default=None, eq=False)
    session: str | None = attrs.field(default=None, eq=False)
    trace: str | None = attrs.field(default=None, eq=False)


@attrs.frozen
class TaskRefused:
    """A client has named a task that it can't have been given.

    Attributes:
        principal: Who it was.
        reason: Why, in more detail than the client is told.
        session: What its session is called, or None.
    """

    principal: str
    reason: str
    session: str | None = attrs.field(default=None, eq=False)


@attrs.frozen
class TasksNotNoted:
    """What tasks a principal has could not be written down, or read.

    Attributes:
        reason: What is wrong with the ledger.
    """

    reason: str


@attrs.frozen
class QuestionRefused(OfRequest):
    """A question of a backend was not put to the client.

    Attributes:
        backend: The backend.
        method: What it asked.
        reason: What it was told.
    """

    backend: str
    method: str
    reason: str


InteractionEvent: TypeAlias = (
    CallParked | CallRepeated | CallResumed | ParkedCallExpired | RetryRefused | QuestionRefused
)

TaskEvent: TypeAlias = TaskRefused | TasksNotNoted

MultiplexerEvent: TypeAlias = ConflictsChanged | UnmatchedPattern | InteractionEvent | TaskEvent
