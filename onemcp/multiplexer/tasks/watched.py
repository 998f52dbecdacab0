"""A reply whose answer is looked at on its way to the client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from onemcp.backend import Answer, Incoming
from onemcp.multiplexer.reply import Reply
from onemcp.protocol.jsonrpc import Failure, Response


class Watched:
    """A reply whose answer goes through a function; see :class:`..reply.Reply`."""

    __slots__ = ("_answer", "_on_answer", "_reply")

    def __init__(self, reply: Reply, on_answer: Callable[[Answer], Awaitable[Answer]]) -> None:
        """Watch a reply.

        Args:
            reply: The reply.
            on_answer: Takes the answer, and gives the one for the client. Where receiving is
                cancelled it is called again.
        """
        self._reply = reply
        self._on_answer = on_answer
        self._answer: Answer | None = None

    async def receive(self) -> Incoming:
        """Wait for the next message."""
        if self._answer is None:
            message = await self._reply.receive()
            if not isinstance(message, Response | Failure):
                return message
            self._answer = message
        return await self._on_answer(self._answer)

    def answer(self, answer: Answer) -> bool:
        """Take the client's answer to a question."""
        return self._reply.answer(answer)

    def close(self) -> None:
        """Stop caring."""
        self._reply.close()
