"""A backend that takes the place of another of the same name, and the calls that wait meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from onemcp.protocol.errors import ShuttingDown

from .call import Call
from .exchange import Exchange

if TYPE_CHECKING:
    from .backend import Backend


class Replaced(ShuttingDown):
    """A call did not begin yet at a backend whose place another one has taken.

    Attributes:
        successor: The other backend.
    """

    def __init__(self, successor: Backend) -> None:
        """Name the other backend."""
        super().__init__(f"backend {successor.name!r} is being replaced; try again")
        self.successor = successor


async def open_call(backend: Backend, call: Call) -> tuple[Backend, Exchange]:
    """Send a call to a backend, or to the one that takes its place while the call waits.

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


def open_call_nowait(backend: Backend, call: Call) -> Exchange | None:
    """Send a call to a backend that can take it at once, or return None.

    Raises:
        ProtocolError: As for `Backend.open`.
    """
    try:
        return backend.open_nowait(call)
    except (trio.WouldBlock, Replaced):
        return None
