"""Run tests that use the official SDK's client, which leaves open generators behind on Trio."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def on_asyncio(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on asyncio, which closes the generators that are left at the end."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        anyio.run(functools.partial(test, **fixtures), backend="asyncio")

    return run
