"""A child as its supervisor's task sees it, and the task of one incarnation.

Theory of operation: every incarnation has a cancel scope of its own, shielded, so that nothing but
the supervisor stops it: this is what makes an ordered stop possible, because a plain nursery
cancels its children in any order. The task runs in the supervisor's nursery from the start; the
acknowledgement is a message, not a move between nurseries as with ``nursery.start``. So two traps
of ``nursery.start`` cannot happen here: a start into a cancelled nursery cannot hang, and a child
that absorbs its cancellation before ``started()`` is no ``RuntimeError``. The task never raises an
``Exception`` into the nursery; it reports it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field

from onemcp.supervision._lifecycle import ALIVE, ChildState
from onemcp.supervision._mailbox import Acknowledged, Exited
from onemcp.supervision._snapshot import ChildSnapshot, Role

if TYPE_CHECKING:
    from onemcp.supervision._job import Job
    from onemcp.supervision._mailbox import Mailbox, Reply
    from onemcp.supervision._spec import ChildSpec


@define(eq=False)
class Child:
    """Hold the state of one child; only the supervisor's task writes it.

    Attributes:
        spec: What it is started from.
        next_spec: What it will be started from next time, if that differs.
        state: Where it is in the table of `_lifecycle`.
        since: When it came there.
        generation: The number of its incarnation.
        restarts: How often it was restarted automatically.
        attempt: Failures in a row, for the backoff.
        value: What it acknowledged with.
        acknowledged_at: When it did, or ``None`` if this incarnation has not.
        reason: Its last failure.
        start_error: Why its start is being given up, while it is being cancelled for that.
        scope: The cancel scope of its incarnation.
        done: Set when its incarnation has ended.
        job: The job it is part of, if any.
        role: Current, or one of a pair during a reload.
        overdue: It did not stop in time.
        halted: It was told to stay down, so that no group restart brings it up again.
        forget: It leaves the table as soon as it is down for good.
        on_up: Who waits for it to run.
        on_down: Who waits for it to be down.
    """

    spec: ChildSpec
    since: float
    generation: int = 0
    role: Role = Role.CURRENT
    halted: bool = False
    forget: bool = False
    next_spec: ChildSpec | None = None
    state: ChildState = ChildState.PENDING
    restarts: int = 0
    attempt: int = 0
    value: Any = None
    acknowledged_at: float | None = None
    reason: BaseException | None = None
    start_error: Exception | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    done: trio.Event = field(factory=trio.Event)
    job: Job | None = None
    overdue: bool = False
    on_up: list[Reply[Any]] = field(factory=list)
    on_down: list[Reply[Any]] = field(factory=list)

    @property
    def id(self) -> str:
        """Return its id."""
        return self.spec.id

    @property
    def alive(self) -> bool:
        """Tell whether a task of it exists."""
        return self.state in ALIVE

    @property
    def next_attempt(self) -> float | None:
        """Return when it is started again, in seconds, if it waits for that."""
        if self.state in {ChildState.RESTARTING, ChildState.PAUSED} and self.job is not None:
            return self.job.wake if self.job.wake > -math.inf else None
        return None

    def snapshot(self) -> ChildSnapshot:
        """Return its state now, with the subtree if it is a supervisor."""
        subtree = self.spec.subtree
        return ChildSnapshot(
            id=self.id,
            state=self.state,
            kind=self.spec.kind,
            restart=self.spec.restart,
            generation=self.generation,
            restarts=self.restarts,
            value=self.value,
            reason=self.reason,
            since=self.since,
            next_attempt=self.next_attempt,
            role=self.role,
            halted=self.halted,
            subtree=None if subtree is None else subtree.snapshot(),
        )

    def renew(self) -> None:
        """Prepare a new incarnation: scopes and events cannot be used twice."""
        if self.next_spec is not None:
            self.spec, self.next_spec = self.next_spec, None
        self.generation += 1
        self.value = None
        self.acknowledged_at = None
        self.start_error = None
        self.overdue = False
        self.scope = trio.CancelScope(shield=True)
        self.done = trio.Event()


@define(eq=False)
class Status:
    """Be the ``task_status`` of one incarnation."""

    _child: Child
    _generation: int
    _mailbox: Mailbox
    _called: bool = False

    def started(self, value: Any = None) -> None:
        """Acknowledge the start.

        Args:
            value: Kept as the child's value.

        Raises:
            RuntimeError: It was called before.
        """
        if self._called:
            raise RuntimeError("called 'started' twice on the same task status")
        self._called = True
        self._mailbox.post(Acknowledged(self._child, self._generation, value))


async def incarnate(child: Child, mailbox: Mailbox) -> None:
    """Run one incarnation of a child and report how it ended.

    A crash during cancellation arrives as a group of ``Cancelled`` and the real error: the scope
    takes its own ``Cancelled`` out of it, and the rest is reported. What is not an ``Exception``
    (``KeyboardInterrupt``, ``SystemExit``) is reported and raised.

    Args:
        child: The child, renewed.
        mailbox: Where to report.
    """
    generation, done = child.generation, child.done
    await trio.lowlevel.cancel_shielded_checkpoint()
    error: BaseException | None = None
    try:
        with child.scope:
            await child.spec.start(task_status=Status(child, generation, mailbox))
    except Exception as failure:  # noqa: BLE001 - a supervisor's purpose
        error = failure
    except BaseException as failure:
        error = failure
        raise
    finally:
        done.set()
        mailbox.post(Exited(child, generation, error))
