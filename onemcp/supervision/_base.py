"""What all supervisors share: one task that owns the state and reads one channel.

Theory of operation: `BaseSupervisor.run` opens a nursery for the children and then loops: wait for
a message or for the next deadline, whichever comes first; handle it; act on deadlines. Every turn
passes a checkpoint, so that even a child that fails at once and for ever cannot spin inside an
expired scope. The loop ends when the children are to be stopped: because the caller cancelled
`run`, because a significant child ended, because restarts were exhausted, or on `shutdown`. From
then on the same loop runs shielded, until every child has ended or is overdue, which the children's
``shutdown`` bounds. The nursery then waits for those that are overdue, unshielded: nothing can
kill a task. An escalation is raised outside the nursery, so that it arrives as itself and not
inside a group, with the child's error as its cause.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field

from onemcp.supervision._child import Child, incarnate
from onemcp.supervision._commands import Operator
from onemcp.supervision._conductor import Conductor
from onemcp.supervision._core import Core
from onemcp.supervision._errors import (
    AlreadyRunningError,
    ChildNotRunningError,
    SupervisorNotRunningError,
    UnknownChildError,
)
from onemcp.supervision._events import What
from onemcp.supervision._lifecycle import ChildState
from onemcp.supervision._mailbox import (
    Acknowledged,
    Command,
    Exited,
    Mailbox,
    Respond,
    RestartChild,
    Shutdown,
    StartChild,
    StopChild,
)
from onemcp.supervision._snapshot import Counts, TreeSnapshot
from onemcp.supervision._spec import Kind, check_siblings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from onemcp.supervision._events import Event
    from onemcp.supervision._mailbox import Message
    from onemcp.supervision._policy import Policy
    from onemcp.supervision._snapshot import ChildSnapshot
    from onemcp.supervision._spec import ChildSpec

_log = logging.getLogger("onemcp.supervision")

STOP_GRACE = 1.0
"""Seconds added to the children's own time to stop, before the shield around it gives up."""


@define(eq=False)
class _Run:
    """Hold what belongs to one run of a supervisor."""

    core: Core
    mailbox: Mailbox
    started: Callable[[], None]
    ended: trio.Event = field(factory=trio.Event, init=False)
    acknowledged: bool = field(default=False, init=False)

    def acknowledge(self) -> None:
        """Tell the caller, once, that all children were started."""
        if not self.acknowledged:
            self.acknowledged = True
            self.core.emit_of_supervisor(What.SUPERVISOR_STARTED)
            self.started()


class BaseSupervisor:
    """Share what `Supervisor` and `DynamicSupervisor` have in common."""

    def __init__(
        self,
        name: str,
        specs: Iterable[ChildSpec],
        policy: Policy,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self._name = name
        self._path = name
        self._specs = tuple(specs)
        self._policy = policy
        self._hooks = [on_event] if on_event is not None else []
        self._parent_hook: Callable[[Event], None] | None = None
        self._last: _Run | None = None
        check_siblings(self._specs, policy.auto_shutdown)

    def __repr__(self) -> str:
        counts = self.count_children()
        state = "running" if self.running else "not running"
        kind = type(self).__name__
        return f"<{kind} {self._path!r} {state}, {counts.active} of {counts.specs} children active>"

    @property
    def name(self) -> str:
        """Return the name it was given."""
        return self._name

    @property
    def path(self) -> str:
        """Return its path from the root, ids joined by "/"."""
        return self._path

    @property
    def policy(self) -> Policy:
        """Return its rules."""
        return self._policy

    @property
    def running(self) -> bool:
        """Tell whether `run` is in progress."""
        return self._last is not None and not self._last.ended.is_set()

    def adopt(self, path: str, hook: Callable[[Event], None]) -> None:
        """Take the path and the event hook of a parent; parents call this.

        Args:
            path: The new path.
            hook: Receives every event, after the supervisor's own hook.
        """
        self._path = path
        self._parent_hook = hook

    # Running

    async def run(self, *, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Start all children in order, acknowledge, and supervise them until the end.

        It can be run again after it ended; it then starts from its initial specs (after a
        `reconfigure`, from those).

        Args:
            task_status: Acknowledged with the supervisor when all children were started.

        Raises:
            RestartIntensityExceeded: Too many restarts, and it escalates.
            StartFailedError: A child's first start failed, and it escalates.
            AlreadyRunningError: It is running.
        """
        if self.running:
            raise AlreadyRunningError(f"supervisor {self._path!r} is running already")
        run: _Run | None = None
        try:
            async with trio.open_nursery() as nursery:
                run = self._last = self._prepare(nursery, task_status)
                conductor = Conductor(run.core, self._ask, self._settled)
                operator = Operator(
                    run.core, lambda reload: nursery.start_soon(conductor.conduct, reload)
                )
                try:
                    run.core.boot(self._specs)
                    await self._supervise(run, operator)
                finally:
                    run.core.finish(None)
                    deadline = trio.current_time() + self._stop_bound(run.core)
                    with trio.CancelScope(deadline=deadline, shield=True):
                        await self._supervise(run, operator)
        finally:
            if run is not None:
                self._conclude(run)
        if run.core.error is not None:
            raise run.core.error
        if not run.acknowledged:
            task_status.started(self)

    def _prepare(self, nursery: trio.Nursery, status: trio.TaskStatus[Self]) -> _Run:
        mailbox = Mailbox()
        spawn = partial(self._spawn, nursery, mailbox)
        core = Core(self._path, self._policy, spawn, self._emit)
        return _Run(core, mailbox, partial(status.started, self))

    async def _supervise(self, run: _Run, operator: Operator) -> None:
        core = run.core
        while not core.finished:
            if core.booted and core.final is None:
                run.acknowledge()
            message = None
            with trio.move_on_at(core.timers.next()):
                message = await run.mailbox.receive()
            if message is not None:
                self._take(message, core, operator)
            core.fire()
        await trio.lowlevel.checkpoint()

    def _take(self, message: Message, core: Core, operator: Operator) -> None:
        if isinstance(message, Acknowledged | Exited):
            core.handle(message)
        else:
            operator.handle(message)

    def _spawn(self, nursery: trio.Nursery, mailbox: Mailbox, child: Child) -> None:
        if child.spec.subtree is not None:
            child.spec.subtree.adopt(f"{self._path}/{child.id}", self._emit)
        nursery.start_soon(incarnate, child, mailbox, name=f"{self._path}/{child.id}")

    def _settled(self, specs: tuple[ChildSpec, ...]) -> None:
        self._specs = specs

    def _stop_bound(self, core: Core) -> float:
        times = [child.spec.shutdown for child in core.everyone() if child.alive]
        longest = sum(times) if self._policy.ordered else max(times, default=0.0)
        return longest + STOP_GRACE

    def _conclude(self, run: _Run) -> None:
        """Take the last reports, and answer whoever still waits."""
        run.core.finish(None)
        while (message := run.mailbox.receive_nowait()) is not None:
            if isinstance(message, Command):
                error = SupervisorNotRunningError(f"supervisor {self._path!r} has ended")
                message.reply.fail(error)
            else:
                run.core.handle(message)
        run.mailbox.close()
        run.core.emit_of_supervisor(What.SUPERVISOR_STOPPED, run.core.error)
        run.ended.set()

    def _emit(self, event: Event) -> None:
        hooks = [*self._hooks, *([self._parent_hook] if self._parent_hook is not None else [])]
        for hook in hooks:
            try:
                hook(event)
            except Exception:  # noqa: BLE001 - a faulty observer must not fell the tree
                _log.exception("an event hook of supervisor %r failed on %s", self._path, event)

    # Commands

    async def _ask(self, command: Command) -> Any:
        run = self._last
        if run is None or run.core.final is not None:
            raise SupervisorNotRunningError(f"supervisor {self._path!r} is not running")
        await run.mailbox.ask(command)
        return await command.reply.wait()

    async def start_child(self, spec: ChildSpec) -> Any:
        """Add a child and start it; wait until it has acknowledged.

        A child whose first start fails is not kept. A caller that is cancelled stops waiting; the
        command is carried out nevertheless. This holds for all commands.

        Args:
            spec: The new child, which becomes the last in start order.

        Returns:
            What the child acknowledged with.

        Raises:
            DuplicateChildError: There is a child with this id.
            TooManyChildrenError: A dynamic supervisor has as many as it may have.
            StartTimeout: It did not acknowledge in time.
            StartFailedError: It ended before it acknowledged.
            StartOvertakenError: It was stopped before it acknowledged.
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
            SpecError: It is significant, and the supervisor has no use for that.
        """
        return await self._ask(StartChild(spec=spec))

    async def stop_child(self, child_id: str) -> None:
        """Stop a child and wait until it is down; it stays down, even when its group restarts.

        Stopping a stopped child does nothing. A temporary or dynamic child is forgotten.

        Args:
            child_id: Which child.

        Raises:
            UnknownChildError: There is no such child.
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
        """
        await self._ask(StopChild(id=child_id))

    async def restart_child(self, child_id: str) -> Any:
        """Stop a child if it is alive, and start it at once; wait until it has acknowledged.

        This cuts short a backoff or a cool-down. If the child is part of a group that is being
        restarted, the group's wait is cut short.

        Args:
            child_id: Which child.

        Returns:
            What the child acknowledged with.

        Raises:
            UnknownChildError: There is no such child.
            StartTimeout: It did not acknowledge in time.
            StartFailedError: It ended before it acknowledged.
            StartOvertakenError: It was stopped before it acknowledged.
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
        """
        return await self._ask(RestartChild(id=child_id))

    async def shutdown(self) -> None:
        """End the supervisor normally and wait until it has ended.

        Raises:
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
        """
        run = self._last
        await self._ask(Shutdown())
        if run is not None:
            await run.ended.wait()

    async def respond(self) -> None:
        """Return once the supervisor's own task has answered: it is alive, and does its work.

        Raises:
            SupervisorNotRunningError: The supervisor does not run, or is stopping.
        """
        await self._ask(Respond())

    # Questions, answered at once

    def value(self, child_id: str) -> Any:
        """Return what a running child acknowledged with.

        Args:
            child_id: Which child.

        Raises:
            UnknownChildError: There is no such child.
            ChildNotRunningError: It is not running now.
        """
        children = (
            self._last.core.children
            if self._last is not None
            else {child.id: child for child in self._children()}
        )
        child = children.get(child_id)
        if child is None:
            raise UnknownChildError(self._path, child_id, children)
        if child.state is not ChildState.RUNNING:
            reason = f"child {child_id!r} of {self._path!r} is {child.state.value}"
            raise ChildNotRunningError(reason)
        return child.value

    def which_children(self) -> tuple[ChildSnapshot, ...]:
        """Return the children in start order, with those of a reload in progress at the end."""
        return self.snapshot().children

    def count_children(self) -> Counts:
        """Return how many children there are, by kind and activity."""
        children = list(self._children())
        supervisors = sum(child.spec.kind is Kind.SUPERVISOR for child in children)
        return Counts(
            specs=len(children),
            active=sum(child.alive for child in children),
            workers=len(children) - supervisors,
            supervisors=supervisors,
        )

    def snapshot(self) -> TreeSnapshot:
        """Return the state of the tree below this supervisor; ``str()`` of it is a drawing."""
        at, core = _now(), self._last.core if self._last is not None else None
        return TreeSnapshot(
            name=self._name,
            path=self._path,
            running=self.running,
            strategy=self._policy.strategy,
            at=at,
            restarts=core.window.used(at) if core is not None else 0,
            allowed=self._policy.intensity.restarts,
            period=self._policy.intensity.period,
            children=tuple(child.snapshot() for child in self._children()),
        )

    def _children(self) -> Iterable[Child]:
        if self._last is not None:
            return self._last.core.everyone()
        return tuple(Child(spec, _now()) for spec in self._specs)


def _now() -> float:
    """Return the time of the present Trio run in seconds, or 0 outside of one."""
    try:
        return trio.current_time()
    except RuntimeError:
        return 0.0
