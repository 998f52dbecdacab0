"""Clients of both eras that call one tool again and again, and put up with no failure."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.support.clients import Clients, LegacyClient, ModernClient

CLIENTS = 6


class Load:
    """What the clients have done.

    Attributes:
        calls: How many calls each has finished.
        is_over: Whether to end with the calls that are under way.
    """

    def __init__(self) -> None:
        self.calls = [0] * CLIENTS
        self.is_over = False
        self._more = trio.Event()

    async def turn(self) -> None:
        """Wait until every client has begun and finished another call."""
        goal = [calls + 2 for calls in self.calls]
        while any(calls < wanted for calls, wanted in zip(self.calls, goal, strict=True)):
            await self._more.wait()

    async def run(self, number: int, client: ModernClient | LegacyClient, tool: str) -> None:
        turns = itertools.count()
        while not self.is_over:
            turn = next(turns)
            marker = f"{number}:{turn}"
            assert await client.call(tool, message=marker) == marker
            self.calls[number] += 1
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def load(session: Clients, tool: str) -> AsyncIterator[Load]:
    """Call a tool that echoes for as long as the block runs; the first failure ends it."""
    running = Load()
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            client = await session.of("modern" if number % 2 else "legacy")
            nursery.start_soon(running.run, number, client, tool)
        await running.turn()
        yield running
        await running.turn()
        running.is_over = True
