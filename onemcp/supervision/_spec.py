"""What a child is: an immutable description, valid once constructed."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

from onemcp.supervision._errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    import trio

    from onemcp.supervision._events import Event
    from onemcp.supervision._policy import AutoShutdown
    from onemcp.supervision._snapshot import TreeSnapshot

WORKER_SHUTDOWN = 5.0
"""Seconds a worker may take to stop, unless its spec says otherwise."""
WORKER_START_TIMEOUT = 30.0
"""Seconds a worker may take to acknowledge its start, unless its spec says otherwise."""
READY_TIMEOUT = 30.0
"""Seconds a replacement may take to become ready, unless its spec says otherwise."""
DRAIN_TIMEOUT = 30.0
"""Seconds a replaced child may take to drain, unless its spec says otherwise."""


class Restart(Enum):
    """Name when an ended child is started again (OTP's words).

    ``PERMANENT``: always. ``TRANSIENT``: after an abnormal exit, that is, an exception.
    ``TEMPORARY``: never, not even when a sibling's crash restarts the group; a temporary child
    that ended is forgotten.
    """

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Kind(Enum):
    """Name what a child is; it sets the defaults of ``shutdown`` and ``start_timeout``."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class StartFunction(Protocol):
    """Run one incarnation of a child: returning or raising means that it ended."""

    def __call__(self, *, task_status: trio.TaskStatus[Any]) -> Awaitable[object]:
        """Start, call ``task_status.started(value)`` once, then work until the end."""
        ...


class Subtree(Protocol):
    """Is what a nested supervisor shows to its parent."""

    @property
    def name(self) -> str:
        """Return the name of the supervisor."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[Any]) -> None:
        """Run the supervisor until it ends."""
        ...

    def adopt(self, path: str, hook: Callable[[Event], None]) -> None:
        """Take the path and the event hook that the parent gives."""
        ...

    def snapshot(self) -> TreeSnapshot:
        """Return the state of the subtree."""
        ...


@frozen(kw_only=True)
class ChildSpec:
    """Describe a child: how it starts, when it is started again, how it stops.

    Attributes:
        id: Unique among siblings and stable across restarts; also the name of the task.
        start: ``async def start(*, task_status)``. Its ``task_status.started(value)`` is OTP's
            acknowledgement; the value is kept and readable.
        restart: When it is started again after it ended.
        shutdown: Seconds it may take to stop once cancelled; ``math.inf`` waits for ever,
            0 does not wait at all before the next sibling is stopped. Default: 5 for a worker,
            infinity for a supervisor.
        start_timeout: Seconds it may take to acknowledge. Default: 30 for a worker, infinity
            for a supervisor, whose children are each bounded themselves.
        kind: Worker or supervisor.
        significant: Its end by itself may end the supervisor, see `AutoShutdown`.
        version: What a reload compares: a child whose version differs is restarted or replaced.
        ready: Awaited during a reload replacement, before the old incarnation is stopped.
        ready_timeout: Seconds ``ready`` may take.
        coexists: Old and new can run side by side, so a reload has no gap.
        drain: Awaited after a reload whose new one is ready, before the old one is cancelled.
        drain_timeout: Seconds ``drain`` may take.
        subtree: The nested supervisor, set by `for_supervisor`.
    """

    id: str
    start: StartFunction
    restart: Restart = Restart.PERMANENT
    kind: Kind = Kind.WORKER
    shutdown: float = field()
    start_timeout: float = field()
    significant: bool = False
    version: Hashable = None
    ready: Callable[[], Awaitable[object]] | None = None
    ready_timeout: float = READY_TIMEOUT
    coexists: bool = False
    drain: Callable[[], Awaitable[object]] | None = None
    drain_timeout: float = DRAIN_TIMEOUT
    subtree: Subtree | None = field(default=None, repr=False)

    @shutdown.default
    def _default_shutdown(self) -> float:
        return math.inf if self.kind is Kind.SUPERVISOR else WORKER_SHUTDOWN

    @start_timeout.default
    def _default_start_timeout(self) -> float:
        return math.inf if self.kind is Kind.SUPERVISOR else WORKER_START_TIMEOUT

    def __attrs_post_init__(self) -> None:
        """Refuse a spec that contradicts itself."""
        if not self.id:
            raise SpecError("a child needs an id")
        if not self.shutdown >= 0:
            raise SpecError(f"child {self.id!r}: shutdown must be >= 0 seconds")
        for name in ("start_timeout", "ready_timeout", "drain_timeout"):
            if not getattr(self, name) > 0:
                raise SpecError(f"child {self.id!r}: {name} must be > 0 seconds")
        if self.significant and self.restart is Restart.PERMANENT:
            raise SpecError(
                f"child {self.id!r} is permanent, so it never ends for good and cannot be "
                "significant: make it transient or temporary"
            )

    @classmethod
    def for_supervisor(cls, supervisor: Subtree, *, id: str = "", **fields: Any) -> ChildSpec:  # noqa: A002 - the field's name
        """Describe a nested supervisor as a child.

        When it starts, the parent gives it its path and its event hook, and snapshots of the
        parent contain it.

        Args:
            supervisor: The supervisor to nest; one object has one parent.
            id: The id among its siblings; by default the supervisor's name.
            fields: Any other field of a spec.
        """
        fields.setdefault("kind", Kind.SUPERVISOR)
        return cls(id=id or supervisor.name, start=supervisor.run, subtree=supervisor, **fields)


def check_siblings(specs: Iterable[ChildSpec], auto_shutdown: AutoShutdown) -> None:
    """Refuse specs that cannot be siblings under a supervisor.

    Args:
        specs: The children in start order.
        auto_shutdown: The supervisor's setting; a significant child needs one.

    Raises:
        SpecError: Two have the same id, or one is significant for nothing.
    """
    seen: set[str] = set()
    for spec in specs:
        if spec.id in seen:
            raise SpecError(f"two children have the id {spec.id!r}")
        seen.add(spec.id)
        if spec.significant and auto_shutdown.value == "never":
            raise SpecError(
                f"child {spec.id!r} is significant, but the supervisor's auto_shutdown is never"
            )
