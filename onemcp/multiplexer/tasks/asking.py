"""Requests that onemcp makes about a task by itself, on behalf of the client whose task it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import trio
from msgspec import Raw

from onemcp.backend import Answer, Backend, Call, Caller
from onemcp.multiplexer.carry import carry
from onemcp.multiplexer.inquiry import Origin
from onemcp.multiplexer.reply import Reply
from onemcp.multiplexer.routed import RoutedCall
from onemcp.multiplexer.terms import Admit, Terms
from onemcp.protocol.fields import Fields, raw
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.methods import TASKS_CANCEL
from onemcp.protocol.tasks import TASK_ID

if TYPE_CHECKING:
    from onemcp.multiplexer.view import View

SEEN_TO: Final = Raw(b"{}")
"""The mark of a call whose task onemcp sees to, with no wish as to how."""


@attrs.frozen
class Asker:
    """Asks one backend about one task.

    Attributes:
        admit: Lets calls in.
        origin: The client's request.
        caller: Whose task it is.
        backend: The backend that has it.
        task: The backend's id of it.
        deadline: Until when there is time, by Trio's clock.
        next_question: Makes ids for questions to the client.
    """

    admit: Admit
    origin: Origin
    caller: Caller
    backend: Backend
    task: str
    deadline: float
    next_question: Callable[[], str]

    @classmethod
    def of(cls, view: View, origin: Origin, caller: Caller, backend: Backend, task: str) -> Asker:
        """Ask about a task for as long as a call of its backend may take."""
        multiplexer = view.multiplexer
        deadline = trio.current_time() + backend.config.timeouts.call
        return cls(
            multiplexer.admit, origin, caller, backend, task, deadline, multiplexer.next_question
        )

    def call(self, method: str, **params: Raw) -> Call:
        """Return a request about the task."""
        fields: Fields = {TASK_ID: raw(self.task), **params}
        return Call(method, fields, self.caller, SEEN_TO)

    async def open(self, method: str, **params: Raw) -> RoutedCall:
        """Send a request about the task.

        Raises:
            ProtocolError: It can't be sent.
        """
        return await carry(self._admit, self.origin, self.backend, self.call(method, **params))

    async def ask(self, method: str, **params: Raw) -> Answer:
        """Send a request about the task, and wait for the answer.

        Raises:
            ProtocolError: It can't be sent.
        """
        return await answer_of(await self.open(method, **params))

    def cancel(self) -> None:
        """Have the task cancelled, as soon as that is possible."""
        self.backend.errands.add(self.call(TASKS_CANCEL))

    async def _admit(
        self, backend: Backend, method: str, caller: Caller, latest: float = math.inf
    ) -> Terms:
        return await self.admit(backend, method, caller, min(latest, self.deadline))


async def answer_of(reply: Reply) -> Answer:
    """Wait for the answer, passing over what comes before it."""
    try:
        while True:
            message = await reply.receive()
            if isinstance(message, Response | Failure):
                return message
    finally:
        reply.close()
