"""The decisions of a supervisor: what follows from a report, a deadline or a failure.

Theory of operation: what takes time arrives as a message (`Core.handle`) or as a deadline
(`Core.fire`), and each is answered by arranging jobs, which the `Engine` carries out. Reports carry
the generation of the incarnation they are about; one that is not the present one is dropped.

What a failure means depends on who started the child. While the supervisor itself is starting, a
failing child ends it (OTP) unless it pauses. A start that an operator ordered is answered with the
error and not repeated, except that a pausing supervisor tries it again after the cool-down. Every
other failure is a restart, which counts: too many within the period are exhaustion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import trio
from attrs import define

from onemcp.supervision import _strategy
from onemcp.supervision._child import Child
from onemcp.supervision._engine import Engine
from onemcp.supervision._errors import (
    NotAcknowledgedError,
    RestartIntensityExceeded,
    StartFailedError,
    StartTimeout,
    SupervisionError,
)
from onemcp.supervision._events import What
from onemcp.supervision._job import Job, Origin
from onemcp.supervision._lifecycle import ChildState, Step
from onemcp.supervision._mailbox import Acknowledged, Exited
from onemcp.supervision._policy import AutoShutdown, Escalate, Pause
from onemcp.supervision._snapshot import Role
from onemcp.supervision._spec import Restart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onemcp.supervision._spec import ChildSpec


@define(eq=False)
class Core(Engine):
    """Decide for one run of a supervisor."""

    # What arrives

    def boot(self, specs: Iterable[ChildSpec]) -> None:
        """Start all children, in order."""
        now = trio.current_time()
        self.children = {spec.id: Child(spec, now) for spec in specs}
        self.launch(Job(Origin.BOOT), start=list(self.children.values()))

    def handle(self, report: Acknowledged | Exited) -> None:
        """Take a report of a child, unless it is stale."""
        child = report.child
        if report.generation != child.generation or not child.alive:
            return
        if isinstance(report, Acknowledged):
            self._acknowledged(child, report.value)
        else:
            self._exited(child, report.error)

    def fire(self) -> None:
        """Act on every deadline that has come."""
        now = trio.current_time()
        while (key := self.timers.pop_due(now)) is not None:
            if isinstance(key, Job):
                self.proceed(key)
            elif key.state is ChildState.STARTING:
                self._start_timed_out(key)
            else:
                self._overdue(key)

    def _acknowledged(self, child: Child, value: object) -> None:
        if child.state is not ChildState.STARTING:
            return
        child.value = value
        child.acknowledged_at = trio.current_time()
        child.forget = child.spec.restart is Restart.TEMPORARY or not self.policy.ordered
        self.timers.clear(child)
        self.step(child, Step.ACKNOWLEDGE)
        for reply in child.on_up:
            reply.resolve(value)
        child.on_up.clear()
        job = child.job
        if job is not None and job.starting is child:
            self.leave(child)

    def _exited(self, child: Child, error: BaseException | None) -> None:
        self.timers.clear(child)
        job = child.job
        if error is not None:
            child.reason = error
        if child.state is not ChildState.STOPPING:
            self._ended_by_itself(child, error)
        elif job is not None and job.starting is child and child.start_error is not None:
            child.start_error.__cause__ = error
            self._start_failed(child, child.start_error)
        else:
            if error is not None:
                self.report(child, What.CLEANUP_FAILED, error)
            self.settle(child)

    def _ended_by_itself(self, child: Child, error: BaseException | None) -> None:
        job = child.job
        if child.state is ChildState.STARTING and not (job and job.takes_down(child)):
            missing = NotAcknowledgedError(f"child {child.id!r} ended without acknowledging")
            self._start_failed(child, error or missing)
            return
        self.report(child, What.EXITED if error is None else What.CRASHED, error)
        if job is not None and job.takes_down(child):
            self.settle(child)
        elif self._restartable(child, error):
            self._retry(child, error)
        else:
            self.rest(child)
            self._auto_shutdown(child)

    def _start_timed_out(self, child: Child) -> None:
        seconds = child.spec.start_timeout
        child.start_error = StartTimeout(f"child {child.id!r} did not start within {seconds:g} s")
        self.cancel(child)

    def _overdue(self, child: Child) -> None:
        child.overdue = True
        self.report(child, What.OVERDUE, child.start_error)
        job = child.job
        if job is None:
            return
        if job.starting is child and child.start_error is not None:
            self._start_overdue(child, job, child.start_error)
        else:
            job.stopping.discard(child)
            job.overdue.add(child)
            self.proceed(job)

    def _start_overdue(self, child: Child, job: Job, error: Exception) -> None:
        """Go on although a child that is given up ignores its cancellation."""
        self._refuse_waiters(child, error)
        if job.origin is Origin.BOOT and isinstance(self.policy.on_exhaustion, Escalate):
            self.finish(self._start_error(child, error))
        elif self.policy.strategy is _strategy.Strategy.ONE_FOR_ONE:
            origin = Origin.AUTOMATIC if job.origin is Origin.BOOT else job.origin
            self.leave(child)
            child.job = Job(origin, starting=child)

    # What follows from a failure

    def _restartable(self, child: Child, error: BaseException | None) -> bool:
        if child.role is not Role.CURRENT:
            return False
        return child.spec.restart is Restart.PERMANENT or (
            child.spec.restart is Restart.TRANSIENT and error is not None
        )

    def _start_failed(self, child: Child, error: BaseException) -> None:
        child.reason = error
        self.report(child, What.START_FAILED, error)
        self._refuse_waiters(child, error)
        origin = child.job.origin if child.job is not None else Origin.AUTOMATIC
        pauses = isinstance(self.policy.on_exhaustion, Pause)
        retries = self._restartable(child, error) and not child.forget
        if origin is Origin.BOOT and not pauses:
            self._give_up(child, self._start_error(child, error))
        elif origin is Origin.OPERATOR and retries and pauses:
            self._pause(child)
        elif origin is not Origin.OPERATOR and self._restartable(child, error):
            self._retry(child, error)
        else:
            self.rest(child)

    def _start_error(self, child: Child, error: BaseException) -> StartFailedError:
        failure = StartFailedError(f"child {child.id!r} of {self.path!r} did not start: {error}")
        failure.__cause__ = error
        return failure

    def _refuse_waiters(self, child: Child, error: BaseException) -> None:
        for reply in child.on_up:
            timed_out = isinstance(error, StartTimeout)
            reply.fail(StartTimeout(str(error)) if timed_out else self._start_error(child, error))
        child.on_up.clear()

    def _retry(self, child: Child, error: BaseException | None) -> None:
        now = trio.current_time()
        backoff = self.policy.backoff
        up_since = child.acknowledged_at
        if up_since is not None and now - up_since >= backoff.stable_after:
            child.attempt = 0
        if not self.window.admit(now):
            self._exhausted(child, error)
            return
        wake = now + backoff.delay(child.attempt)
        child.attempt += 1
        self._regroup(child, Job(Origin.AUTOMATIC, wake=wake))

    def _exhausted(self, child: Child, error: BaseException | None) -> None:
        self.report(child, What.EXHAUSTED, error)
        action = self.policy.on_exhaustion
        match action:
            case Pause():
                self._pause(child)
            case Escalate():
                intensity = self.policy.intensity
                failure = RestartIntensityExceeded(
                    self.path, child.id, intensity.restarts, intensity.period
                )
                failure.__cause__ = error
                self._give_up(child, failure)
            case _:
                assert_never(action)

    def _give_up(self, child: Child, failure: SupervisionError) -> None:
        self.detach(child)  # without letting the job start the next one
        self.rest(child)
        self.finish(failure)

    def _pause(self, child: Child) -> None:
        action = self.policy.on_exhaustion
        cooldown = action.cooldown if isinstance(action, Pause) else 0.0
        child.attempt = 0
        self.window.clear()
        wake = trio.current_time() + cooldown
        self._regroup(child, Job(Origin.AUTOMATIC, wake=wake, paused=True))

    def _regroup(self, crashed: Child, job: Job) -> None:
        """Give the crashed child and the siblings that its crash concerns to a new job."""
        ids = _strategy.affected(tuple(self.children), crashed.id, self.policy.strategy)
        members = [self.children[child_id] for child_id in ids]
        self.launch(
            job,
            stop=[child for child in members if child is not crashed],
            start=[child for child in members if self._goes_up_again(child)],
            down=crashed,
        )

    def _goes_up_again(self, child: Child) -> bool:
        if child.spec.restart is Restart.TEMPORARY:
            return child.state is ChildState.PENDING
        return not child.halted

    def _auto_shutdown(self, child: Child) -> None:
        if not child.spec.significant:
            return
        rule = self.policy.auto_shutdown
        left = any(
            other.spec.significant and other is not child and other.state is not ChildState.STOPPED
            for other in self.children.values()
        )
        if rule is AutoShutdown.ANY_SIGNIFICANT or (
            rule is AutoShutdown.ALL_SIGNIFICANT and not left
        ):
            self.finish(None)
