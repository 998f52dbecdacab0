"""The log level of a legacy backend: one for all clients, so the lowest that any of them wants."""

from __future__ import annotations

from typing import Final

import trio

from onemcp.protocol.fields import raw
from onemcp.protocol.methods import LOG_LEVELS, SET_LEVEL
from onemcp.protocol.revisions import Era

from .call import Call, Caller
from .connection import Connection, ServerDescription
from .handshake import answer_of

LEVEL_TIMEOUT: Final = 5.0
"""How long a call waits for the backend to confirm a level, in seconds."""


class LogLevel:
    """What a connection has asked its backend for; each client gets only what it wants of it."""

    def __init__(self, caller: Caller, server: ServerDescription) -> None:
        """Ask a backend that has described itself as `server`, as `caller`: onemcp itself."""
        self._caller = caller
        self._can_be_asked = server.era is Era.LEGACY and server.has("logging")
        self._level: str | None = None

    def is_too_high(self, connection: Connection, caller: Caller) -> bool:
        """Tell whether a client wants messages that the backend doesn't send yet."""
        if caller.log_level is None or not self._can_be_asked or connection.server is None:
            return False
        level = LOG_LEVELS.index(caller.log_level)
        return self._level is None or level < LOG_LEVELS.index(self._level)

    async def lower(self, connection: Connection, caller: Caller) -> None:
        """Ask for what a client wants, and wait a while for the confirmation."""
        params = {"level": raw(caller.log_level)}
        exchange = connection.open(Call(SET_LEVEL, params, self._caller))
        self._level = caller.log_level
        try:
            with trio.move_on_after(LEVEL_TIMEOUT):
                await answer_of(exchange)
        finally:
            exchange.close()
