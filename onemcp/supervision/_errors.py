"""The errors of the supervision library: one hierarchy, each class names one situation."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SupervisionError(Exception):
    """Is the base of every error this package raises on its own account."""


class SpecError(SupervisionError, ValueError):
    """Say that a child spec or a policy contradicts itself."""


class UnknownChildError(SupervisionError, LookupError):
    """Say that no child has this id, and name the nearest one that exists.

    Attributes:
        child: The id that was asked for.
        nearest: The known id most like it, if any child is known.
    """

    def __init__(self, supervisor: str, child: str, known: Iterable[str]) -> None:
        self.child = child
        close = difflib.get_close_matches(child, list(known), n=1, cutoff=0.0)
        self.nearest: str | None = close[0] if close else None
        hint = f"; did you mean {self.nearest!r}?" if close else " (it has no children)"
        super().__init__(f"supervisor {supervisor!r} has no child {child!r}{hint}")


class DuplicateChildError(SupervisionError):
    """Say that a sibling already has this id."""


class ChildRunningError(SupervisionError):
    """Say that the command needs the child to be stopped first."""


class ChildNotRunningError(SupervisionError):
    """Say that the child has no value now, because it is not running."""


class TooManyChildrenError(SupervisionError):
    """Say that a dynamic supervisor is full."""


class AlreadyRunningError(SupervisionError):
    """Say that one supervisor object was run twice at the same time."""


class SupervisorNotRunningError(SupervisionError):
    """Say that the supervisor was not started, is stopping, or has ended."""


class StartFailedError(SupervisionError):
    """Say that a child ended before it acknowledged its start; the cause is chained."""


class NotAcknowledgedError(SupervisionError):
    """Say that a child returned without calling ``task_status.started()``."""


class StartOvertakenError(SupervisionError):
    """Say that a start was overtaken by a stop of the same child."""


class StartTimeout(SupervisionError):
    """Say that a child did not acknowledge its start within ``start_timeout`` seconds."""


class NotReadyError(SupervisionError):
    """Say that a replacement did not become ready, so that the old child was kept."""


class RestartIntensityExceeded(SupervisionError):
    """Escalate: the children of a supervisor needed more restarts than it allows.

    Attributes:
        supervisor: The path of the supervisor that gave up.
        child: The id of the child whose failure was one too many.
        restarts: The number of restarts that are allowed.
        period: The window in seconds.
    """

    def __init__(self, supervisor: str, child: str, restarts: int, period: float) -> None:
        self.supervisor = supervisor
        self.child = child
        self.restarts = restarts
        self.period = period
        super().__init__(
            f"supervisor {supervisor!r} gives up: child {child!r} failed and more than "
            f"{restarts} restarts in {period:g} s would be needed"
        )
