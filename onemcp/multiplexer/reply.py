"""What a request to the multiplexer gives: messages, of which the last one is the answer."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import Final, Protocol

import trio

from onemcp.backend import Answer, Incoming

gives_up_at: Final = ContextVar("gives_up_at", default=math.inf)
"""When whoever receives in this context stops to, by Trio's clock, where Trio itself may not know.
Deadlines that come later need no scope of their own."""


class Reply(Protocol):
    """What comes back for one request of a client, in the client's terms.

    `receive` is safe to cancel, and may then be called by another task. Whoever has a reply closes
    it in the end; that may be another task than the one that receives.
    """

    async def receive(self) -> Incoming:
        """Wait for the next message.

        Notifications and questions come first; a ``Response`` or ``Failure`` with the id of the
        client's request is the last message.
        A reply that another task has closed ends with a ``Failure`` too.
        """

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question.

        Returns:
            False where no such question is open.
        """

    def close(self) -> None:
        """Stop caring; what is still in flight is cancelled."""


class Immediate:
    """A reply that is known at once."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        """Answer at once."""
        self._answer = answer

    async def receive(self) -> Incoming:
        """Return the answer."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._answer

    def answer(self, answer: Answer) -> bool:  # noqa: ARG002 - nothing was asked
        """Refuse: nothing was asked."""
        return False

    def close(self) -> None:
        """Do nothing: nothing is in flight."""
