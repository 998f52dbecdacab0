"""Whose a message is that says nothing about it.

Over stdio everything shares one channel, so a question, a log message or a notification doesn't
tell which client it belongs to. The rule: it reaches the one client it can belong to, or no one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .call import Caller
from .exchange import Exchange

INTERNAL: Final = "onemcp"
"""The owner of onemcp's own calls, to which nothing of a client can belong."""


def attribute(
    exchanges: Iterable[Exchange], capability: str | None = None, level: str | None = None
) -> Exchange | None:
    """Find the exchange that an unaddressed message belongs to.

    Args:
        exchanges: What is in flight, oldest first.
        capability: The client capability that the message takes, for a question.
        level: The level of the message, for a log message.

    Returns:
        The youngest exchange of the only client with calls in flight, or None where there are
        several clients, no client, or one that can't take the message.
    """
    found: Exchange | None = None
    for exchange in exchanges:
        owner = exchange.call.caller.owner
        if owner == INTERNAL:
            continue
        if found is not None and found.call.caller.owner != owner:
            return None
        found = exchange
    if found is None or not _takes(found.call.caller, capability, level):
        return None
    return found


def _takes(caller: Caller, capability: str | None, level: str | None) -> bool:
    if capability is not None:
        return caller.can(capability)
    return level is None or caller.wants(level)
