"""A call of a tool that is always a task, for a client that wants the result alone.

Implements the 2025-11-25 side of Tool-Level Negotiation on behalf of clients that know nothing of
it: the task is made, its result is waited for, and what it asks meanwhile is the call's.
"""

from __future__ import annotations

import attrs
from msgspec import Raw

from onemcp.backend import Answer, Incoming
from onemcp.multiplexer.reply import Reply
from onemcp.multiplexer.routed import RoutedCall
from onemcp.protocol.errors import ProtocolError, RequestCancelled
from onemcp.protocol.fields import text
from onemcp.protocol.jsonrpc import Failure
from onemcp.protocol.methods import TASKS_RESULT
from onemcp.protocol.tasks import TASK_ID, made_task

from .asking import Asker


class Awaited:
    """A reply that is the result of a task; see :class:`onemcp.multiplexer.reply.Reply`.

    Closing it cancels the task, also while the call is parked.
    """

    def __init__(self, first: RoutedCall, asker: Asker) -> None:
        """Wait for the task that a call makes, if it does.

        Args:
            first: The call.
            asker: Asks about the task, once it is known.
        """
        self._first = first
        self._current: Reply = first
        self._asker = asker
        self._made: Asker | None = None
        self._closed = False

    async def receive(self) -> Incoming:
        """Wait for the next message."""
        if self._made is None:
            message = await self._first.receive()
            if self._first.handle is None:
                return message
            self._made = self._of_task(self._first.handle)
        if self._current is self._first:
            try:
                self._current = await self._wait_for_result(self._made)
            except ProtocolError as error:
                self._closed = True
                self._made.cancel()
                return Failure(self._asker.origin.id, error.error)
        return await self._current.receive()

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        return self._current.answer(answer)

    def close(self) -> None:
        """Stop caring."""
        if self._closed:
            return
        self._closed = True
        if self._current is self._first and self._made is not None:
            self._made.cancel()
        self._current.close()

    def _of_task(self, handle: Raw) -> Asker:
        made = made_task(handle) or {}
        task_id = text(made, TASK_ID, "the task's id")
        return attrs.evolve(self._asker, backend=self._first.backend, task=task_id)

    async def _wait_for_result(self, made: Asker) -> RoutedCall:
        if self._closed:
            raise RequestCancelled("the client cancelled the request")
        waiting = await made.open(TASKS_RESULT)
        waiting.on_abandon(made.cancel)
        return waiting
