"""What a legacy session answers by itself: its log level and its subscriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, text, value_of
from onemcp.protocol.methods import LOG_LEVELS, SET_LEVEL, SUBSCRIBE, UNSUBSCRIBE

from .session import Session

Handler: TypeAlias = Callable[[Session, Fields], Awaitable[None]]


async def set_level(session: Session, params: Fields) -> None:
    """Set the lowest level of log messages that the client wants (Logging).

    Raises:
        InvalidParams: There is no such level.
    """
    level = value_of(params, "level", str)
    if level not in LOG_LEVELS:
        raise InvalidParams(f"params.level must be one of {', '.join(LOG_LEVELS)}")
    await session.set_level(level)


async def subscribe(session: Session, params: Fields) -> None:
    """Let the client hear of a resource (Resources, Subscriptions).

    Raises:
        ProtocolError: Nobody offers that, or the owner of the resource refuses.
    """
    await session.subscribe(text(params, "uri", "params.uri"))


async def unsubscribe(session: Session, params: Fields) -> None:
    """Let the client hear of a resource no more; unknown ones are ignored."""
    await session.unsubscribe(text(params, "uri", "params.uri"))


OWN: Final[dict[str, Handler]] = {
    SET_LEVEL: set_level,
    SUBSCRIBE: subscribe,
    UNSUBSCRIBE: unsubscribe,
}
"""The requests that a session answers with an empty result."""
