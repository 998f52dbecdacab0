"""One call that waits for its client: a child of the `interactions` supervisor owns it."""

from __future__ import annotations

import trio

from onemcp.backend import Answer
from onemcp.protocol.errors import MessageTooLarge
from onemcp.protocol.jsonrpc import Failure, Request, Response
from onemcp.protocol.methods import CANCELLED

from .inquiry import Inquiry, too_large


class ParkedCall:
    """A call that waits for its client.

    Attributes:
        inquiry: The call, and what its backend asks.
        outcome: How it has ended meanwhile, if it has.
        asked: Set once its backend has asked something since it was parked, or has answered.
    """

    def __init__(self, inquiry: Inquiry, seconds: float) -> None:
        """Describe it; `run` owns the call from then on."""
        self.inquiry = inquiry
        self.outcome: Answer | None = None
        self.expired = False
        self.asked = trio.Event()
        self._scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self._is_let_go = False
        self._left = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[ParkedCall]) -> None:
        """Own the call until it is taken away, or its time is over."""
        task_status.started(self)
        if self._is_let_go:  # it was not waited for any longer
            return
        try:
            with self._scope:
                await self._listen()
            self.expired = self._scope.cancelled_caught and not self._is_let_go
        finally:
            self._left.set()
            if not self._is_let_go:
                self.inquiry.exchange.close()

    def give_up(self) -> None:
        """End the call, as if its time were over."""
        self._scope.cancel()

    async def let_go(self) -> None:
        """Take the call away; it is the caller's when this returns."""
        self.disown()
        await self._left.wait()

    def disown(self) -> None:
        """Take the call away, from a child that may never have started."""
        self._is_let_go = True
        self._scope.cancel()

    def __repr__(self) -> str:
        return f"<ParkedCall {self.inquiry!r}>"

    async def _listen(self) -> None:
        while True:
            try:
                message = await self.inquiry.exchange.receive()
            except trio.EndOfChannel:  # closed by who was about to park it
                return
            if isinstance(message, Response | Failure):
                self.outcome = _kept(message)
                self.asked.set()
                await trio.sleep_forever()
            elif isinstance(message, Request):
                self.inquiry.ask(message)
                self.asked.set()
            elif message.method == CANCELLED:
                self.inquiry.withdraw(message)
            # Others are for a client that is listening, and nobody is.


def _kept(answer: Answer) -> Answer:
    if not too_large(answer):
        return answer
    error = MessageTooLarge("the backend answered while its client was away, with too much to keep")
    return Failure(answer.id, error.error)
