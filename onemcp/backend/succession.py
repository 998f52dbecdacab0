"""Where calls go that are another backend's to take: one that has replaced theirs, or a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from onemcp.protocol.errors import ShuttingDown

from .call import Call
from .exchange import Exchange

if TYPE_CHECKING:
    from .backend import Backend


class Replaced(ShuttingDown):
    """A call did not begin yet, and is another backend's to take.

    That one has replaced this one, is a replica of it, or has it for a replica that can't.

    Attributes:
        successor: The other backend.
    """

    def __init__(self, successor: Backend) -> None:
        """Name the other backend."""
        super().__init__(f"backend {successor.name!r} is being replaced; try again")
        self.successor = successor


async def open_call(backend: Backend, call: Call) -> tuple[Backend, Exchange]:
    """Send a call to a backend, or to the one that is to take it instead.

    Returns:
        The backend that has got it, and the call in flight.

    Raises:
        ProtocolError: As for `Backend.open`.
    """
    while True:
        try:
            return backend, await backend.open(call)
        except Replaced as replaced:
            backend = replaced.successor


def open_call_nowait(backend: Backend, call: Call) -> tuple[Backend, Exchange] | None:
    """Send a call to a backend that can take it at once, or return None; as for `open_call`.

    Raises:
        ProtocolError: As for `Backend.open`.
    """
    while True:
        try:
            return backend, backend.open_nowait(call)
        except trio.WouldBlock:
            return None
        except Replaced as replaced:
            backend = replaced.successor
