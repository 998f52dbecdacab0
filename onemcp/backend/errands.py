"""Requests of onemcp's own whose answers nobody waits for, such as to cancel a task."""

from __future__ import annotations

import contextlib
from typing import Final

import trio

from onemcp.protocol.errors import ProtocolError

from .call import Call
from .connection import Connection
from .handshake import answer_of

MAX_WAITING: Final = 256
"""How many errands wait for their turn; more are dropped."""

PATIENCE: Final = 10.0
"""How long a backend may take to answer one, in seconds."""


class Errands:
    """What is to be sent to one backend, one after the other."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._send, self._receive = trio.open_memory_channel[Call](MAX_WAITING)

    def add(self, call: Call) -> None:
        """Send a request as soon as possible; it is dropped where too much waits."""
        with contextlib.suppress(trio.WouldBlock):
            self._send.send_nowait(call)

    async def run(self, connection: Connection) -> None:
        """Send what there is over a connection, until cancelled."""
        while True:
            call = await self._receive.receive()
            with trio.move_on_after(PATIENCE), contextlib.suppress(ProtocolError):
                exchange = connection.open(call)
                try:
                    await answer_of(exchange)
                finally:
                    exchange.close()
