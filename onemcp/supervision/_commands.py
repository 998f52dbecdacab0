"""What operators may ask of a running supervisor, decided synchronously.

Each command is answered through its reply, at once or when a child came up or went down. None of
them waits here: the supervisor's task is free for the next message, so a child that takes long to
stop, or to be due after its backoff, never holds up commands for other children.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import trio
from attrs import frozen

from onemcp.supervision._child import Child
from onemcp.supervision._errors import (
    ChildRunningError,
    DuplicateChildError,
    SupervisionError,
    SupervisorNotRunningError,
    TooManyChildrenError,
    UnknownChildError,
)
from onemcp.supervision._events import What
from onemcp.supervision._job import Job, Origin
from onemcp.supervision._lifecycle import ChildState
from onemcp.supervision._mailbox import (
    Command,
    Conclude,
    DeleteChild,
    Promote,
    Reconfigure,
    Respond,
    RestartChild,
    Retire,
    Shutdown,
    StartBeside,
    StartChild,
    StopChild,
)
from onemcp.supervision._snapshot import Role
from onemcp.supervision._spec import check_siblings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onemcp.supervision._core import Core


@frozen
class Operator:
    """Carry out commands on a core.

    Attributes:
        core: The core of the present run.
        reload: Start a reload in a task of its own.
    """

    core: Core
    reload: Callable[[Reconfigure], None]

    def handle(self, command: Command) -> None:
        """Carry out one command; an error of this package becomes the answer."""
        if self.core.final is not None:
            reason = f"supervisor {self.core.path!r} is stopping"
            command.reply.fail(SupervisorNotRunningError(reason))
            return
        try:
            _METHODS[type(command)](self, command)
        except SupervisionError as error:
            command.reply.fail(error)

    def _find(self, child_id: str) -> Child:
        child = self.core.children.get(child_id)
        if child is None:
            raise UnknownChildError(self.core.path, child_id, self.core.children)
        return child

    def start(self, command: StartChild) -> None:
        """Add a child and start it."""
        core, spec = self.core, command.spec
        if spec.id in core.children:
            raise DuplicateChildError(f"supervisor {core.path!r} already has a child {spec.id!r}")
        limit = core.policy.max_children
        if limit is not None and len(core.children) >= limit:
            raise TooManyChildrenError(f"supervisor {core.path!r} has its {limit} children already")
        check_siblings((spec,), core.policy.auto_shutdown)
        child = Child(spec, trio.current_time(), forget=not command.keep)
        child.on_up.append(command.reply)
        core.children[spec.id] = child
        core.report(child, What.ADDED)
        core.launch(Job(Origin.OPERATOR, wake=trio.current_time()), start=[child])

    def stop(self, command: StopChild) -> None:
        """Stop a child, and keep it down."""
        child = self._find(command.id)
        child.halted = True
        child.forget = child.forget or command.remove
        self._bring_down(child, command)

    def _bring_down(self, child: Child, command: Command) -> None:
        child.on_down.append(command.reply)
        if not child.alive:
            self.core.rest(child)
        elif child.job is not None and child.job.takes_down(child):
            if child in child.job.to_start:
                child.job.to_start.remove(child)
        else:
            self.core.launch(Job(Origin.OPERATOR), stop=[child])

    def restart(self, command: RestartChild) -> None:
        """Start a child anew."""
        child, now = self._find(command.id), trio.current_time()
        job = child.job
        child.halted = child.forget = False
        child.next_spec = command.spec or child.next_spec
        child.on_up.append(command.reply)
        if job is not None and child in job.to_start:
            job.wake = min(job.wake, now)
            self.core.proceed(job)
        elif job is not None and job.takes_down(child):
            job.to_start = self._in_order([*job.to_start, child])
            job.wake = min(job.wake, now)
        else:
            again = Job(Origin.OPERATOR, wake=now)
            self.core.launch(again, stop=[child], start=[child])

    def _in_order(self, children: list[Child]) -> deque[Child]:
        position = {child: index for index, child in enumerate(self.core.children.values())}
        return deque(sorted(children, key=lambda child: position.get(child, len(position))))

    def delete(self, command: DeleteChild) -> None:
        """Forget a stopped child."""
        child = self._find(command.id)
        if child.state is not ChildState.STOPPED:
            raise ChildRunningError(
                f"child {child.id!r} of {self.core.path!r} is {child.state.value}: stop it first"
            )
        self.core.forget(child)
        command.reply.resolve(None)

    def start_beside(self, command: StartBeside) -> None:
        """Start a replacement beside a child."""
        current = self._find(command.spec.id)
        child = Child(
            command.spec,
            trio.current_time(),
            generation=current.generation,
            role=Role.INCOMING,
            forget=True,
        )
        self.core.beside.append(child)
        child.on_up.append(command.reply)
        self.core.launch(Job(Origin.OPERATOR, wake=trio.current_time()), start=[child])

    def promote(self, command: Promote) -> None:
        """Put a replacement in its child's place."""
        core, new = self.core, command.incoming
        if new.state is not ChildState.RUNNING:
            raise SupervisionError(f"the replacement of {new.id!r} is {new.state.value}")
        old = self._find(new.id)
        core.beside[core.beside.index(new)] = old
        core.children[new.id] = new
        old.role, new.role = Role.OUTGOING, Role.CURRENT
        core.report(new, What.REPLACED)
        command.reply.resolve(old)

    def retire(self, command: Retire) -> None:
        """Stop one of a pair."""
        child = command.child
        if child not in self.core.beside:
            command.reply.resolve(None)
            return
        child.halted = True
        self._bring_down(child, command)

    def conclude(self, command: Conclude) -> None:
        """Put the children into the order of a reload."""
        core = self.core
        rank = {child_id: index for index, child_id in enumerate(command.order)}
        ids = sorted(core.children, key=lambda child_id: rank.get(child_id, len(rank)))
        core.children = {child_id: core.children[child_id] for child_id in ids}
        core.emit_of_supervisor(What.RELOADED)
        command.reply.resolve(tuple(child.spec for child in core.children.values()))

    def reconfigure(self, command: Reconfigure) -> None:
        """Start a reload."""
        self.reload(command)

    def respond(self, command: Respond) -> None:
        """Answer."""
        command.reply.resolve(None)

    def shutdown(self, command: Shutdown) -> None:
        """End the supervisor."""
        self.core.finish(None)
        command.reply.resolve(None)


_METHODS: Mapping[type[Command], Callable[[Operator, Command], None]] = cast(
    "Mapping[type[Command], Callable[[Operator, Command], None]]",
    {
        StartChild: Operator.start,
        StopChild: Operator.stop,
        RestartChild: Operator.restart,
        DeleteChild: Operator.delete,
        StartBeside: Operator.start_beside,
        Promote: Operator.promote,
        Retire: Operator.retire,
        Conclude: Operator.conclude,
        Reconfigure: Operator.reconfigure,
        Respond: Operator.respond,
        Shutdown: Operator.shutdown,
    },
)
