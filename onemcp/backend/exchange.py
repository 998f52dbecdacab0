"""One request to a backend, in flight.

Theory of operation: the connection's own tasks *deliver* what the backend sends; the task that
wants the answer *receives* it. Between the two stands a bounded queue, so that neither a slow
client nor a flooding backend makes the other wait. Where many messages wait, of progress the latest
is kept; other notifications beyond the bounds are dropped and counted, and whoever receives is
told how many log messages that were. The answer is always delivered. Receiving is
safe to cancel at any time; the exchange can then be received from by another task. `close` says
that nobody wants the answer any more: a request still in flight is cancelled at the backend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import trio
from msgspec import Raw

from onemcp.protocol.errors import LocalError, ProtocolError, RequestCancelled
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.methods import LOG_MESSAGE, PROGRESS
from onemcp.protocol.revisions import Era
from onemcp.telemetry import Questioned

from .call import Call

QUEUE_LIMIT: Final = 256
"""How many messages wait for a slow receiver before notifications are dropped."""

LAG: Final = 64
"""How many messages wait before of progress the latest alone is kept."""

QUEUE_BYTES: Final = 16 * 1024 * 1024
"""How large they may be together; one message is taken whatever its size."""

Answer: TypeAlias = Response | Failure
Incoming: TypeAlias = Notification | Request | Response | Failure


class _Latest:
    """The latest progress that nobody has received yet; it stands where the first of it stood."""

    __slots__ = ("note",)

    def __init__(self, note: Notification | Request) -> None:
        self.note = note


class Carrier(Protocol):
    """What an exchange needs of the connection that carries it."""

    def abandon(self, exchange: Exchange) -> None:
        """Cancel a request that nobody waits for any more."""

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        """Send the answer to a question that the backend asked during the exchange."""


class Exchange:
    """One request to a backend, and everything that comes back for it.

    Attributes:
        id: The request's id on the connection, which is also its progress token there.
        call: What was asked.
        progress_token: The caller's own progress token, undecoded, or None.
        failure: What onemcp itself has ended it with, or None.
        since: When it was sent, by Trio's clock, where an instance has sent it.
        is_answered: Whether the backend has answered, be it with an error of its own.
        is_expired: Whether the backend has let the time pass that it had.
        dropped: How many notifications were dropped because nobody received them in time.
        scope: Where a task of the connection serves this exchange alone, its cancel scope.
        backend: The name of the backend, for errors that clients see, or None.
        on_end: Called once, when it is finished or closed, or None.
        on_abandon: Called where it is closed before it is finished, or None.
    """

    __slots__ = (
        "_carrier",
        "_finished",
        "_messages",
        "_missed",
        "_progress",
        "_questioned",
        "_queued",
        "_waiter",
        "backend",
        "call",
        "dropped",
        "failure",
        "id",
        "is_answered",
        "is_expired",
        "on_abandon",
        "on_end",
        "progress_token",
        "scope",
        "since",
    )

    def __init__(
        self, request_id: int, call: Call, carrier: Carrier, progress_token: Raw | None = None
    ) -> None:
        """Begin an exchange that `carrier` has sent, or is about to send."""
        self.id = request_id
        self.call = call
        self.progress_token = progress_token
        self.failure: LocalError | None = None
        self.since = 0.0
        self.is_answered = False
        self.is_expired = False
        self.dropped = 0
        self.scope: trio.CancelScope | None = None
        self.backend: str | None = None
        self.on_end: Callable[[Exchange], object] | None = None
        self.on_abandon: Callable[[], object] | None = None
        self._carrier = carrier
        self._messages: deque[Incoming | _Latest] = deque()
        self._missed = 0
        self._progress: _Latest | None = None
        self._queued = 0
        self._questioned: Questioned | None = None
        if call.span is not None:  # modern clients are told of traces in their own requests alone
            tells = call.caller.era is Era.LEGACY
            self._questioned = Questioned(call.span, "server", tells=tells)
        self._finished = False
        self._waiter: trio.lowlevel.Task | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer has come, or can't come any more."""
        return self._finished

    async def receive(self) -> Incoming:
        """Wait for the next message; a :class:`Response` or :class:`Failure` is the last one.

        Raises:
            trio.BusyResourceError: Another task is receiving.
            trio.EndOfChannel: The last message has been received already.
        """
        if self._messages:
            await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._finished:
                raise trio.EndOfChannel
            if self._waiter is not None:
                raise trio.BusyResourceError("another task is receiving from this exchange")
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        message = self._messages.popleft()
        if isinstance(message, _Latest):
            self._progress, message = None, message.note
        if isinstance(message, Notification | Request):
            self._queued -= len(message.params)
        return message

    def deliver(self, message: Notification | Request) -> bool:
        """Pass on a message that came before the answer.

        Returns:
            False where it was dropped: the exchange is over, or its queue is full.
        """
        size = len(message.params)
        if message.method == PROGRESS and len(self._messages) >= LAG and not self._finished:
            self._put_latest(message)
            return True
        if self._finished or (
            self._messages
            and (len(self._messages) >= QUEUE_LIMIT or self._queued + size > QUEUE_BYTES)
        ):
            self.dropped += 1
            self._missed += message.method == LOG_MESSAGE
            return False
        if self._missed:
            self._tell_of_missed()
        if self._questioned is not None:
            message = self._questioned.passing(message)
        self._queued += len(message.params)
        self._messages.append(message)
        self._wake()
        return True

    def miss_log(self) -> None:
        """Take note of a log message that has been dropped before it came here."""
        self.dropped += 1
        self._missed += 1

    def finish(self, answer: Answer) -> None:
        """Pass on the answer, which ends the exchange. Later ones are ignored."""
        if not self._finished:
            self._finished = True
            self.is_answered = self.failure is None
            if self.call.span is not None:
                self.call.span.answer(answer)
            if self._missed:
                self._tell_of_missed()
            self._messages.append(answer)
            self._wake()
            self._end()

    def fail(self, error: ProtocolError) -> None:
        """End the exchange for want of an answer.

        Args:
            error: Why; where it is onemcp's own, it is kept as the `failure`.
        """
        if self._finished:
            return
        if self.call.span is not None:
            self.call.span.fail(type(error))
        if self.backend is not None:
            error = error.about(self.backend)
        self.failure = error if isinstance(error, LocalError) else None
        self.finish(Failure(self.id, error.error))

    def reply(self, answer: Answer) -> None:
        """Answer a question that the backend asked during this exchange, by its id."""
        if not self._finished:
            if self._questioned is not None:
                self._questioned.answered(answer)
            self._carrier.reply(self, answer)

    def close(self) -> None:
        """Stop caring for the answer; cancel the request where it is still in flight."""
        if not self._finished:
            self._finished = True
            if self.call.span is not None:
                self.call.span.fail(RequestCancelled)
            self._carrier.abandon(self)
            if self.on_abandon is not None:
                self.on_abandon()
            self._end()
        self._messages.clear()
        if self._waiter is not None:
            self._wake()

    def expire(self) -> None:
        """Stop caring, because the backend hasn't answered in time."""
        self.is_expired = not self._finished
        self.close()

    def __repr__(self) -> str:
        state = "finished" if self._finished else "in flight"
        return f"<Exchange {self.id} {self.call.method} {state}>"

    def _put_latest(self, message: Notification | Request) -> None:
        """Keep progress for a receiver who lags behind, the latest alone."""
        if self._progress is None:
            self._progress = _Latest(message)
            self._messages.append(self._progress)
        else:
            self._queued -= len(self._progress.note.params)
            self._progress.note = message
        self._queued += len(message.params)

    def _tell_of_missed(self) -> None:
        """Say how many log messages are missing, where they would have stood."""
        said = f"{self._missed} log messages are missing: they came faster than they were read"
        about = {"level": "warning", "logger": "onemcp", "data": said}
        self._missed, note = 0, Notification(LOG_MESSAGE, raw(about))
        self._queued += len(note.params)
        self._messages.append(note)

    def _end(self) -> None:
        if self._questioned is not None:
            self._questioned.end()
        if self.on_end is not None:
            self.on_end(self)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            trio.lowlevel.reschedule(waiter)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
