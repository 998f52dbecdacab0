"""Wait for something that announces itself to nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

POLL = 0.02
"""Seconds between two looks."""
PATIENCE = 60.0
"""Seconds until it must have come true."""


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]],
    what: str,
    *,
    poll: float = POLL,
    patience: float = PATIENCE,
) -> None:
    """Look until a condition holds.

    Args:
        condition: A function, or an async one.
        what: What is waited for, in words.
        poll: Seconds between two looks.
        patience: Seconds until it must have come true.

    Raises:
        AssertionError: It has not come true in time.
    """
    with trio.move_on_after(patience):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await trio.sleep(poll)
    raise AssertionError(f"This has not come true: {what}")
