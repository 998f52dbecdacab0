"""Asking a backend that says nothing whether it is still there.

Implements 2025-11-25, Utilities, Ping: whoever gets a ping answers it promptly; who gets no answer
may take the connection to be dead. Modern revisions have no ping: there, calls have deadlines, and
what is listened to is asked for again when it ends.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NoReturn

import trio

from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.methods import PING
from onemcp.protocol.revisions import Era

from .call import Call, Caller
from .connection import Connection, ConnectionLost, ServerDescription

PATIENCE: Final = 30.0
"""How long an answer to a ping may take, in seconds."""


async def probe(
    connection: Connection, server: ServerDescription, caller: Caller, every: float
) -> NoReturn:
    """Ping a backend for as long as nothing else is asked of it, until cancelled.

    While a call is in flight nothing is asked: many servers do one thing at a time, and the call
    has a deadline of its own.

    Args:
        connection: The connection.
        server: What the backend has said of itself.
        caller: Who asks.
        every: How often, in seconds; 0 for never.

    Raises:
        ConnectionLost: It has not answered in time.
    """
    if not every or server.era is not Era.LEGACY:
        await trio.sleep_forever()
    while True:
        await trio.sleep(every)
        if not connection.inbound.in_flight:
            with suppress(ProtocolError):  # it is busy, or lost already: others see to that
                await _ping(connection, caller)


async def _ping(connection: Connection, caller: Caller) -> None:
    exchange = connection.open(Call(PING, {}, caller))
    try:
        with trio.move_on_after(PATIENCE):
            # Any answer will do, an error as well: it is there.
            while not isinstance(await exchange.receive(), Response | Failure):
                pass
            return
    finally:
        exchange.close()
    if not connection.inbound.in_flight:
        raise ConnectionLost(f"it did not answer a ping within {PATIENCE:g} s")
