"""Count how often others have their turn while something is at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def counting_turns() -> AsyncIterator[Callable[[], int]]:
    """Take every turn that there is for as long as the block runs; the function tells how many.

    Trio shuffles who goes first in a pass: what yields after each step has, at worst, two steps
    between two turns.
    """
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        yield lambda: turns
        nursery.cancel_scope.cancel()
