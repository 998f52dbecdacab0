"""An ordered piece of work on some children: stop them, wait, start them.

Theory of operation: everything a supervisor does takes the shape of a job: its first start, the
restart of a group, a pause, an operator's command, its end. A job stops the children in ``to_stop``
from the last to the first, each when the one before has ended (or is overdue); then, when all have
ended, waits until ``wake``; then starts those in ``to_start`` from the first to the last, each when
the one before has acknowledged. A child is part of one job at most: a new job takes it out of the
old one, which goes on without it. Jobs never block the supervisor's task, so those that have no
child in common proceed at the same time.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from onemcp.supervision._child import Child


class Origin(Enum):
    """Name who wanted a job; it decides what a failing start means."""

    BOOT = "boot"
    AUTOMATIC = "automatic"
    OPERATOR = "operator"
    FINAL = "final"


@define(eq=False)
class Job:
    """Hold what is left to do.

    Attributes:
        origin: Who wanted it.
        to_stop: Alive and not told to stop yet, in start order.
        to_start: To be started, in start order.
        wake: Not to be started before this time, in seconds.
        paused: It waits for the end of a cool-down rather than of a backoff.
        stopping: Told to stop, within their time.
        overdue: Told to stop, and their time is over.
        starting: The one whose acknowledgement is awaited.
    """

    origin: Origin
    to_stop: list[Child] = field(factory=list)
    to_start: deque[Child] = field(factory=deque)
    wake: float = -math.inf
    paused: bool = False
    stopping: set[Child] = field(factory=set)
    overdue: set[Child] = field(factory=set)
    starting: Child | None = None

    def takes_down(self, child: Child) -> bool:
        """Tell whether the child is to be stopped or being stopped by this job."""
        return child in self.stopping or child in self.overdue or child in self.to_stop

    @property
    def settled(self) -> bool:
        """Tell whether every child was told to stop, and has ended or is overdue."""
        return not self.to_stop and not self.stopping

    @property
    def down(self) -> bool:
        """Tell whether every child it stops has ended."""
        return self.settled and not self.overdue

    @property
    def done(self) -> bool:
        """Tell whether nothing is left to do."""
        return self.down and not self.to_start and self.starting is None

    def ended(self, child: Child) -> None:
        """Note that a child's incarnation has ended."""
        self.stopping.discard(child)
        self.overdue.discard(child)
        if child in self.to_stop:
            self.to_stop.remove(child)
        if self.starting is child:
            self.starting = None

    def drop(self, child: Child) -> None:
        """Go on without a child."""
        self.ended(child)
        if child in self.to_start:
            self.to_start.remove(child)
