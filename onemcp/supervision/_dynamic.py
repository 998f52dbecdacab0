"""The supervisor of children that come and go (OTP's simple_one_for_one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onemcp.supervision._base import BaseSupervisor
from onemcp.supervision._errors import SpecError
from onemcp.supervision._policy import AutoShutdown, Escalate, Pause, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from onemcp.supervision._backoff import Backoff
    from onemcp.supervision._events import Event
    from onemcp.supervision._intensity import Intensity


class DynamicSupervisor(BaseSupervisor):
    """Supervise children that are added at run time: unordered, bounded, stopped all at once.

    A child that ends for good is forgotten, whatever its restart type.
    """

    def __init__(
        self,
        name: str,
        *,
        max_children: int,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        on_exhaustion: Escalate | Pause | None = None,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Describe a supervisor that starts empty; nothing runs yet.

        Args:
            name: Its name; the path of a root.
            max_children: The most children at a time, 1 or more.
            intensity: How many restarts are too many; by default more than 3 in 5 seconds.
            backoff: How long to wait before a restart; by default from 0.1 to 30 seconds.
            on_exhaustion: What to do when there were too many; by default escalate.
            auto_shutdown: When the end of significant children ends the supervisor.
            on_event: Receives every event of this supervisor and of all below it; must not block.

        Raises:
            SpecError: ``max_children`` is less than 1.
        """
        if max_children < 1:
            raise SpecError(f"supervisor {name!r}: max_children must be >= 1")
        policy = Policy.of(
            None, intensity, backoff, on_exhaustion, auto_shutdown, max_children=max_children
        )
        super().__init__(name, (), policy, on_event)
