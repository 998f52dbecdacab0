"""What a supervisor does when things go wrong: one frozen value."""

from __future__ import annotations

import math
from enum import Enum

from attrs import field, frozen, validators

from onemcp.supervision._backoff import Backoff
from onemcp.supervision._intensity import Intensity
from onemcp.supervision._strategy import Strategy


class AutoShutdown(Enum):
    """Name when the end of significant children ends their supervisor (OTP's words)."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


@frozen
class Escalate:
    """On exhaustion, stop all children and raise `RestartIntensityExceeded` to the parent."""


@frozen
class Pause:
    """On exhaustion, leave the affected children down and try them again later.

    Attributes:
        cooldown: Seconds until the next attempt. An operator's command tries at once.
    """

    cooldown: float = field(default=60.0, validator=[validators.ge(0), validators.lt(math.inf)])


@frozen
class Policy:
    """Hold the rules of one supervisor.

    Attributes:
        strategy: Which siblings are restarted with a crashed child.
        intensity: How many restarts are too many.
        backoff: How long to wait before a restart.
        on_exhaustion: What to do when there were too many.
        auto_shutdown: When the end of significant children ends the supervisor.
        ordered: Stop children one after the other; otherwise all at once, and children that
            end for good are forgotten (OTP's simple_one_for_one).
        max_children: The most children at a time; ``None`` for a static supervisor.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: Intensity = field(factory=Intensity)
    backoff: Backoff = field(factory=Backoff)
    on_exhaustion: Escalate | Pause = field(factory=Escalate)
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    ordered: bool = True
    max_children: int | None = None

    @classmethod
    def of(
        cls,
        strategy: Strategy | None,
        intensity: Intensity | None,
        backoff: Backoff | None,
        on_exhaustion: Escalate | Pause | None,
        auto_shutdown: AutoShutdown,
        *,
        max_children: int | None = None,
    ) -> Policy:
        """Build the rules from a constructor's arguments, with the defaults for ``None``.

        Args:
            strategy: One for one, unless given.
            intensity: The allowance.
            backoff: The waits.
            on_exhaustion: Escalate, unless given.
            auto_shutdown: The setting for significant children.
            max_children: Given for a dynamic supervisor only.
        """
        return cls(
            strategy=strategy or Strategy.ONE_FOR_ONE,
            intensity=intensity or Intensity(),
            backoff=backoff or Backoff(),
            on_exhaustion=on_exhaustion or Escalate(),
            auto_shutdown=auto_shutdown,
            ordered=max_children is None,
            max_children=max_children,
        )
