"""A reload, carried out step by step without holding up the supervisor's task.

Theory of operation: the plan is computed purely (`plan_reload`) and carried out by a task of the
supervisor's nursery that sends ordinary commands through the one channel, so a reload needs no
second owner of the state and a caller that is cancelled does not leave it half done. Reloads of
one supervisor follow each other. Under one_for_one the steps for different children run at the
same time, so a child that needs long to become ready delays no other; under the other strategies
they follow the start order. Draining comes after the report: it may take long, and the next reload
need not wait for it. When the supervisor ends, so does the reload, with an error.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import trio
from attrs import define, field, frozen

from onemcp.supervision._errors import (
    NotReadyError,
    SupervisionError,
    SupervisorNotRunningError,
    UnknownChildError,
)
from onemcp.supervision._events import What
from onemcp.supervision._mailbox import (
    Conclude,
    Promote,
    RestartChild,
    Retire,
    StartBeside,
    StartChild,
    StopChild,
)
from onemcp.supervision._reload import ReloadReport, plan_reload
from onemcp.supervision._snapshot import Role
from onemcp.supervision._strategy import Strategy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from onemcp.supervision._child import Child
    from onemcp.supervision._core import Core
    from onemcp.supervision._mailbox import Command, Reconfigure
    from onemcp.supervision._spec import ChildSpec


@frozen
class Conductor:
    """Carry out the reloads of one run of a supervisor.

    Attributes:
        core: The core of the run; only read, and told of events.
        ask: Send a command and wait for its answer.
        settled: Called with the specs of all children after a reload.
    """

    core: Core
    ask: Callable[[Command], Awaitable[Any]]
    settled: Callable[[tuple[ChildSpec, ...]], None]
    _turn: trio.Lock = field(factory=trio.Lock, init=False)

    async def conduct(self, command: Reconfigure) -> None:
        """Carry out one reload and answer it with a `ReloadReport`.

        Args:
            command: What was asked for.
        """
        await trio.lowlevel.checkpoint()
        ended = SupervisorNotRunningError(f"supervisor {self.core.path!r} ended during the reload")
        scope = trio.CancelScope()
        self.core.reloads.add(scope)
        try:
            with scope:
                steps = _Steps(self.core, self.ask)
                async with self._turn:
                    report = await self._reload(steps, command.specs)
                    order = tuple(spec.id for spec in command.specs)
                    self.settled(await self.ask(Conclude(order=order)))
                    command.reply.resolve(report)
                # What drains holds up neither the caller nor the next reload.
                await steps.see_off()
        except SupervisionError as error:
            command.reply.fail(error)
        finally:
            self.core.reloads.discard(scope)
            command.reply.fail(ended)

    async def _reload(self, steps: _Steps, specs: tuple[ChildSpec, ...]) -> ReloadReport:
        current = [child.next_spec or child.spec for child in self.core.children.values()]
        plan, wanted = plan_reload(current, specs), {spec.id: spec for spec in specs}
        await steps.each(plan.stop, steps.stop)
        how = {
            **dict.fromkeys(plan.restart, steps.restart),
            **dict.fromkeys(plan.replace, steps.replace),
            **dict.fromkeys(plan.start, steps.add),
        }
        changed = [spec.id for spec in specs if spec.id in how and spec.id not in plan.start]
        await steps.each([*changed, *plan.start], lambda id_: how[id_](wanted[id_]))
        failed = steps.failed
        return ReloadReport(
            stopped=tuple(id_ for id_ in plan.stop if id_ not in failed),
            restarted=tuple(id_ for id_ in plan.restart if id_ not in failed),
            replaced=tuple(id_ for id_ in plan.replace if id_ not in failed),
            started=tuple(id_ for id_ in plan.start if id_ not in failed),
            kept=plan.keep,
            failed=failed,
        )


@define
class _Steps:
    """Hold what one reload has come to while its steps are carried out."""

    core: Core
    ask: Callable[[Command], Awaitable[Any]]
    failed: dict[str, BaseException] = field(factory=dict, init=False)
    leaving: list[Child] = field(factory=list, init=False)

    async def each(self, ids: Iterable[str], step: Callable[[str], Awaitable[None]]) -> None:
        """Carry out a step for each child; at the same time where their order is of no matter."""
        await trio.lowlevel.checkpoint()
        if self.core.policy.strategy is not Strategy.ONE_FOR_ONE:
            for child_id in ids:
                await self._guarded(child_id, step)
            return
        async with trio.open_nursery() as nursery:
            for child_id in ids:
                nursery.start_soon(self._guarded, child_id, step)

    async def _guarded(self, child_id: str, step: Callable[[str], Awaitable[None]]) -> None:
        await trio.lowlevel.checkpoint()
        try:
            await step(child_id)
        except Exception as error:  # noqa: BLE001 - foreign code: ready() and drain()
            self.failed[child_id] = error

    async def stop(self, child_id: str) -> None:
        """Stop and forget a child, if it is still there."""
        await trio.lowlevel.checkpoint()
        try:
            await self.ask(StopChild(id=child_id, remove=True))
        except UnknownChildError:
            return

    async def add(self, spec: ChildSpec) -> None:
        """Add a child; it is kept even if it does not start now."""
        await self.ask(StartChild(spec=spec, keep=True))

    async def restart(self, spec: ChildSpec) -> None:
        """Stop a child and start it from its new spec."""
        await self.ask(RestartChild(id=spec.id, spec=spec))

    async def replace(self, spec: ChildSpec) -> None:
        """Start a replacement beside a child; stop the child only when that is ready."""
        try:
            await self.ask(StartBeside(spec=spec))
            incoming = self._incoming(spec.id)
            old = await self._take_over(incoming)
            if isinstance(old, SupervisionError):
                await self.ask(Retire(child=incoming))
                raise old  # noqa: TRY301 - reported below with the others
        except Exception as error:
            if (kept := self.core.children.get(spec.id)) is not None:
                self.core.report(kept, What.REPLACEMENT_FAILED, error)
            raise
        self.leaving.append(old)

    async def see_off(self) -> None:
        """Drain and stop those that were replaced, all at the same time."""
        async with trio.open_nursery() as nursery:
            for old in self.leaving:
                nursery.start_soon(self._see_off, old)

    async def _see_off(self, old: Child) -> None:
        await self._drain(old)
        with contextlib.suppress(SupervisorNotRunningError):  # which has stopped it itself
            await self.ask(Retire(child=old))

    async def _take_over(self, incoming: Child) -> Child | SupervisionError:
        try:
            failure = await self._until_ready(incoming)
            if failure is not None:
                return failure
            old: Child = await self.ask(Promote(incoming=incoming))
        except SupervisionError as error:
            return error
        except Exception as error:  # noqa: BLE001 - foreign code, failing while it is cancelled
            failure = NotReadyError(f"the replacement of {incoming.id!r} is not ready: {error}")
            failure.__cause__ = error
            return failure
        return old

    def _incoming(self, child_id: str) -> Child:
        for child in reversed(self.core.beside):  # an earlier one may still be stopping
            if child.id == child_id and child.role is Role.INCOMING:
                return child
        raise NotReadyError(f"the replacement of {child_id!r} ended at once")

    async def _until_ready(self, child: Child) -> NotReadyError | None:
        spec, outcome = child.spec, list[NotReadyError | None]()

        async def probe() -> None:
            outcome.append(await self._probe(child))
            nursery.cancel_scope.cancel()

        with trio.move_on_after(spec.ready_timeout):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(probe)
                await child.done.wait()
                nursery.cancel_scope.cancel()
        if child.done.is_set():
            ended = NotReadyError(f"the replacement of {child.id!r} ended before it was ready")
            ended.__cause__ = child.reason
            return ended
        if outcome:
            return outcome[0]
        seconds = spec.ready_timeout
        return NotReadyError(f"the replacement of {child.id!r} was not ready within {seconds:g} s")

    async def _probe(self, child: Child) -> NotReadyError | None:
        await trio.lowlevel.checkpoint()
        if child.spec.ready is None:
            return None
        try:
            await child.spec.ready()
        except Exception as error:  # noqa: BLE001 - foreign code
            failure = NotReadyError(f"the replacement of {child.id!r} is not ready: {error}")
            failure.__cause__ = error
            return failure
        return None

    async def _drain(self, child: Child) -> None:
        await trio.lowlevel.checkpoint()
        if child.spec.drain is None:
            return
        try:
            with trio.move_on_after(child.spec.drain_timeout):
                await child.spec.drain()
        except Exception as error:  # noqa: BLE001 - foreign code
            self.core.report(child, What.CLEANUP_FAILED, error)
