"""Which siblings a crash concerns. Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Sequence


class Strategy(Enum):
    """Name which siblings are restarted together with a crashed child (OTP's words)."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    ONE_FOR_ALL = "one_for_all"


def affected(children: Sequence[str], crashed: str, strategy: Strategy) -> tuple[str, ...]:
    """Return the ids that are restarted when a child crashes, in start order.

    They are to be stopped in the reverse of this order and started again in this order.

    Args:
        children: The ids of all siblings in start order.
        crashed: The id of the child that crashed.
        strategy: The strategy of the supervisor.

    Raises:
        ValueError: ``crashed`` is not among ``children``.
    """
    position = children.index(crashed)
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (crashed,)
        case Strategy.REST_FOR_ONE:
            return tuple(children[position:])
        case Strategy.ONE_FOR_ALL:
            return tuple(children)
        case _:
            assert_never(strategy)
