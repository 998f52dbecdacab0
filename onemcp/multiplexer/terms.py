"""On which terms a call is let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from onemcp.backend import Backend, Caller

from .parking import Parking
from .tasks import TaskIds


class Terms(msgspec.Struct, frozen=True):
    """How a call is carried.

    Attributes:
        deadline: When it is given up, by Trio's clock.
        next_question: Makes ids for questions, unique among all that are open.
        on_end: Called once when the call is over, with what it has failed with, if it has.
        parking: Where it can wait for its client.
        tasks: Makes the ids by which clients know tasks.
    """

    deadline: float
    next_question: Callable[[], str]
    on_end: Callable[[type[BaseException] | None], object]
    parking: Parking
    tasks: TaskIds


class Admit(Protocol):
    """Lets one more call in; see :meth:`.multiplexer.Multiplexer.admit`."""

    async def __call__(
        self, backend: Backend, method: str, caller: Caller, latest: float = ...
    ) -> Terms:
        """Wait for a place, if necessary."""
        ...
