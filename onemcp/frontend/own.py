"""What a legacy session answers by itself: its log level and its subscriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio

from onemcp.protocol.errors import InvalidParams, ShuttingDown
from onemcp.protocol.fields import Fields, text, value_of
from onemcp.protocol.methods import LOG_LEVELS, SET_LEVEL, SUBSCRIBE, UNSUBSCRIBE

from .session import Session

Handler: TypeAlias = Callable[[Session, Fields], Awaitable[None]]


async def set_level(session: Session, params: Fields) -> None:
    """Set the lowest level of log messages that the client wants (Logging).

    Raises:
        InvalidParams: There is no such level.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    level = value_of(params, "level", str)
    if level not in LOG_LEVELS:
        raise InvalidParams(f"params.level must be one of {', '.join(LOG_LEVELS)}")
    session.level = level


async def subscribe(session: Session, params: Fields) -> None:
    """Let the client hear of a resource (Resources, Subscriptions).

    Raises:
        ProtocolError: Nobody offers that, or the owner of the resource refuses.
    """
    uri = text(params, "uri", "params.uri")
    subscriber = session.subscriber
    if subscriber is None:
        raise ShuttingDown("the session has ended")
    await session.opening.view.subscribe_resource(subscriber, uri)


async def unsubscribe(session: Session, params: Fields) -> None:
    """Let the client hear of a resource no more; unknown ones are ignored."""
    await trio.lowlevel.checkpoint_if_cancelled()
    uri = text(params, "uri", "params.uri")
    if session.subscriber is not None:
        session.opening.view.unsubscribe_resource(session.subscriber, uri)


OWN: Final[dict[str, Handler]] = {
    SET_LEVEL: set_level,
    SUBSCRIBE: subscribe,
    UNSUBSCRIBE: unsubscribe,
}
"""The requests that a session answers with an empty result."""
