"""How a supervisor carries out jobs: the mechanics under the decisions of `_core`.

Theory of operation: an `Engine` is used by one supervisor's task only and is synchronous
throughout: it moves children along the table of `_lifecycle`, lets `Job` objects proceed, and has
two effects, both of which return at once: a task is spawned (through ``spawn``, in the
supervisor's own nursery, so that no caller's context variables leak into a child) or a scope is
cancelled. Deadlines belong to a child (of its start or of its stop, by its state) or to a job (the
end of its wait), and are cleared when they no longer matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from onemcp.supervision._errors import StartOvertakenError, SupervisionError
from onemcp.supervision._events import Event, What
from onemcp.supervision._intensity import RestartWindow
from onemcp.supervision._job import Job, Origin
from onemcp.supervision._lifecycle import ChildState, Step, advance
from onemcp.supervision._snapshot import Role
from onemcp.supervision._spec import Restart
from onemcp.supervision._timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onemcp.supervision._child import Child
    from onemcp.supervision._policy import Policy

_EVENT_OF: Final = {
    Step.SPAWN: What.STARTING,
    Step.ACKNOWLEDGE: What.STARTED,
    Step.CANCEL: What.STOPPING,
    Step.RETRY: What.RESTARTING,
    Step.PAUSE: What.PAUSED,
    Step.END: What.STOPPED,
}


@define(eq=False)
class Engine:
    """Carry out jobs for one run of a supervisor.

    Attributes:
        path: The supervisor's path.
        policy: Its rules.
        spawn: Start the task of a child that was renewed.
        emit: Report an event.
        children: The children by id, in start order.
        beside: Incarnations of a reload that stand beside those in ``children``.
        window: The restarts that still count.
        timers: The deadlines of children and jobs.
        booted: The first start of all children is over.
        final: The job that ends the supervisor, once there is one.
        error: What the supervisor raises when it has ended.
        reloads: The scopes of the reloads in progress.
    """

    path: str
    policy: Policy
    spawn: Callable[[Child], None]
    emit: Callable[[Event], None]
    children: dict[str, Child] = field(factory=dict, init=False)
    beside: list[Child] = field(factory=list, init=False)
    window: RestartWindow = field(init=False)
    timers: Timers[Child | Job] = field(factory=Timers, init=False)
    booted: bool = field(default=False, init=False)
    final: Job | None = field(default=None, init=False)
    error: SupervisionError | None = field(default=None, init=False)
    reloads: set[trio.CancelScope] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Give the window its allowance."""
        self.window = RestartWindow(self.policy.intensity)

    @property
    def finished(self) -> bool:
        """Tell whether every child was told to stop, and has ended or is overdue."""
        return self.final is not None and self.final.settled

    def everyone(self) -> Iterable[Child]:
        """Return all children in start order, then those beside them."""
        return (*self.children.values(), *self.beside)

    # Jobs

    def launch(
        self,
        job: Job,
        *,
        stop: Iterable[Child] = (),
        start: Iterable[Child] = (),
        down: Child | None = None,
    ) -> None:
        """Hand children over to a new job and let it proceed.

        Args:
            job: The job, still empty.
            stop: Children to be stopped if they are alive, in start order.
            start: Children to be started afterwards, in start order.
            down: A child whose incarnation has just ended, although its state does not say so.
        """
        job.to_start.extend(start)
        job.to_stop = [child for child in stop if child.alive]
        members = dict.fromkeys([*job.to_stop, *job.to_start])
        earlier = [self.detach(child) for child in members]
        for child in members:
            child.job = job
        for child in job.to_start:
            first = child.state is ChildState.PENDING and not job.paused
            if child is down or not (child.alive or first):
                reason = child.reason if child is down else None
                self.step(child, Step.PAUSE if job.paused else Step.RETRY, reason)
        self.proceed(job)
        for other in dict.fromkeys(earlier):
            if other is not None:
                self.proceed(other)

    def detach(self, child: Child) -> Job | None:
        """Take a child out of its job and return the job, which is left as it is."""
        job, child.job = child.job, None
        if job is not None:
            job.drop(child)
        return job

    def leave(self, child: Child) -> None:
        """Take a child out of its job, which goes on without it."""
        job = self.detach(child)
        if job is not None:
            self.proceed(job)

    def proceed(self, job: Job) -> None:
        """Do what the job allows now."""
        while job.to_stop and not (self.policy.ordered and job.stopping):
            child = job.to_stop.pop()
            self.cancel(child)
            if child.overdue or child.spec.shutdown == 0:
                job.overdue.add(child)
            else:
                job.stopping.add(child)
        if job.origin is Origin.FINAL or not job.down:
            return
        if job.to_start and trio.current_time() < job.wake:
            self.timers.set(job, job.wake)
            return
        self.timers.clear(job)
        if job.to_start and job.starting is None:
            job.starting = job.to_start.popleft()
            self._spawn(job.starting, job)
        if job.origin is Origin.BOOT and job.done:
            self.booted = True

    def _spawn(self, child: Child, job: Job) -> None:
        if job.origin is Origin.AUTOMATIC and child.generation > 0:
            child.restarts += 1
        child.renew()
        self.step(child, Step.SPAWN)
        self.timers.set(child, trio.current_time() + child.spec.start_timeout)
        self.spawn(child)

    def cancel(self, child: Child) -> None:
        """Tell a child to stop, unless that was done before."""
        if child.state is ChildState.STOPPING:
            return
        self.step(child, Step.CANCEL)
        self.timers.clear(child)
        if child.spec.shutdown > 0:
            self.timers.set(child, trio.current_time() + child.spec.shutdown)
        child.scope.cancel()

    def settle(self, child: Child) -> None:
        """Note that a child is down because a job stopped it."""
        job = child.job
        if job is None or child not in job.to_start:
            self.rest(child)
            return
        self.step(child, Step.PAUSE if job.paused else Step.RETRY)
        job.ended(child)
        self._down(child)
        self.proceed(job)

    def rest(self, child: Child) -> None:
        """Leave a child down for good, and forget it if that is what becomes of it."""
        self.timers.clear(child)
        if child.state is not ChildState.STOPPED:
            self.step(child, Step.END)
        if self._forgotten(child):
            self.forget(child)
        overtaken = StartOvertakenError(f"child {child.id!r} was stopped before it had started")
        for reply in child.on_up:
            reply.fail(overtaken)
        child.on_up.clear()
        self._down(child)
        self.leave(child)

    def _forgotten(self, child: Child) -> bool:
        temporary = child.spec.restart is Restart.TEMPORARY
        return child.forget or temporary or child.role is not Role.CURRENT

    def forget(self, child: Child) -> None:
        """Take a child out of the table."""
        if child in self.beside:
            self.beside.remove(child)
        elif self.children.get(child.id) is child:
            del self.children[child.id]
        self.report(child, What.REMOVED)

    def _down(self, child: Child) -> None:
        for reply in child.on_down:
            reply.resolve(None)
        child.on_down.clear()

    def finish(self, error: SupervisionError | None) -> None:
        """End the supervisor: stop all children, and start none any more.

        Args:
            error: What the supervisor raises afterwards, if anything.
        """
        if self.final is not None:
            return
        self.emit_of_supervisor(What.SUPERVISOR_STOPPING, error)
        self.error = error
        self.final = Job(Origin.FINAL)
        for scope in self.reloads:
            scope.cancel()
        everyone = list(self.everyone())
        for child in everyone:
            self.detach(child)
            child.on_up, waiting = [], child.on_up
            for reply in waiting:
                reply.fail(StartOvertakenError(f"supervisor {self.path!r} is stopping"))
        for child in everyone:
            if not child.alive and child.state is not ChildState.STOPPED:
                self.step(child, Step.END)
        self.launch(self.final, stop=everyone)

    # Reporting

    def step(self, child: Child, step: Step, reason: BaseException | None = None) -> None:
        """Move a child along the table and report it."""
        child.state = advance(child.state, step)
        child.since = trio.current_time()
        if not child.alive:
            child.value = None
        self.report(child, _EVENT_OF[step], reason)

    def report(self, child: Child, what: What, reason: BaseException | None = None) -> None:
        """Report an event about a child."""
        self.emit(
            Event(
                supervisor=self.path,
                child=child.id,
                what=what,
                reason=reason,
                generation=child.generation,
                at=trio.current_time(),
                next_attempt=child.next_attempt,
            )
        )

    def emit_of_supervisor(self, what: What, reason: BaseException | None = None) -> None:
        """Report an event about the supervisor itself."""
        self.emit(Event(supervisor=self.path, what=what, reason=reason, at=trio.current_time()))
