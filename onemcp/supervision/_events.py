"""The one account of what happened: frozen events through one hook."""

from __future__ import annotations

from enum import Enum
from typing import Final

from attrs import frozen


class What(Enum):
    """Name what happened to a child, or (without a child) to a supervisor."""

    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESTARTING = "restarting"
    PAUSED = "paused"

    EXITED = "exited"
    CRASHED = "crashed"
    START_FAILED = "start_failed"
    CLEANUP_FAILED = "cleanup_failed"
    OVERDUE = "overdue"
    ADDED = "added"
    REMOVED = "removed"
    REPLACED = "replaced"
    REPLACEMENT_FAILED = "replacement_failed"
    EXHAUSTED = "exhausted"

    SUPERVISOR_STARTED = "supervisor_started"
    SUPERVISOR_STOPPING = "supervisor_stopping"
    SUPERVISOR_STOPPED = "supervisor_stopped"
    RELOADED = "reloaded"


OF_SUPERVISOR: Final = frozenset(
    {
        What.SUPERVISOR_STARTED,
        What.SUPERVISOR_STOPPING,
        What.SUPERVISOR_STOPPED,
        What.RELOADED,
    }
)
"""What happens to a supervisor rather than to a child."""


@frozen(kw_only=True)
class Event:
    """Report one change. Logs, metrics, status pages and tests read these and nothing else.

    Attributes:
        supervisor: The path of the supervisor, ids joined by "/".
        child: The id of the child, or ``None`` when it is about the supervisor itself.
        what: What happened.
        reason: The exception behind it, if one is.
        generation: Which incarnation of the child, from 1; 0 before the first.
        at: When, in seconds of ``trio.current_time()``.
        next_attempt: When it is started again, in the same seconds, if that is known.
    """

    supervisor: str
    what: What
    at: float
    child: str | None = None
    reason: BaseException | None = None
    generation: int = 0
    next_attempt: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse an event about nobody or about the wrong one."""
        if (self.child is None) is not (self.what in OF_SUPERVISOR):
            raise ValueError(f"{self.what} with child {self.child!r}")

    def __str__(self) -> str:
        where = self.supervisor if self.child is None else f"{self.supervisor}/{self.child}"
        about = f" #{self.generation}" if self.generation else ""
        why = f": {self.reason!r}" if self.reason is not None else ""
        return f"[{self.at:.3f}] {where}{about} {self.what.value}{why}"
