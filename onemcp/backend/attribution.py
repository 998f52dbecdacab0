"""Whose a message is that says nothing about it.

Over stdio everything shares one channel, so a question, a log message or a notification doesn't
tell which client it belongs to. The rule: it reaches the one client it can belong to, or no one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .exchange import Exchange

INTERNAL: Final = "onemcp"
"""The owner of onemcp's own calls, to which nothing of a client can belong."""


def clients_of(exchanges: Iterable[Exchange]) -> Iterator[Exchange]:
    """Yield the exchanges that are not onemcp's own."""
    return (exchange for exchange in exchanges if exchange.call.caller.owner != INTERNAL)


def attribute(exchanges: Iterable[Exchange], level: str | None = None) -> Exchange | None:
    """Find the exchange that an unaddressed message belongs to.

    Args:
        exchanges: What is in flight, oldest first.
        level: The level of the message, for a log message.

    Returns:
        The youngest exchange of the only client with calls in flight, or None where there are
        several clients, no client, or one that doesn't want the message.
    """
    found: Exchange | None = None
    for exchange in clients_of(exchanges):
        if found is not None and found.call.caller.owner != exchange.call.caller.owner:
            return None
        found = exchange
    if found is None or level is None or found.call.caller.wants(level):
        return found
    return None
