"""The one channel that a supervisor's task reads.

Theory of operation: two kinds of message arrive. Reports of children (acknowledged, ended) come
from `Mailbox.post`, which never blocks and never fails: there are at most two per living
incarnation, so they are bounded by the number of children. Commands come from `Mailbox.ask`, which
takes one of ``COMMAND_BACKLOG`` slots and blocks while there is none; the slot is given back when
the supervisor's task takes the command, so a command that takes long to carry out holds nobody up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from attrs import define, field, frozen

from onemcp.supervision._errors import SupervisorNotRunningError

if TYPE_CHECKING:
    from onemcp.supervision._child import Child
    from onemcp.supervision._spec import ChildSpec

T = TypeVar("T")

COMMAND_BACKLOG = 64
"""How many commands may wait to be taken before callers are held up."""


@define(eq=False)
class Reply(Generic[T]):
    """Carry the answer to one command back to the task that waits for it."""

    _done: trio.Event = field(factory=trio.Event, init=False)
    _value: T | None = field(default=None, init=False)
    _error: Exception | None = field(default=None, init=False)

    def resolve(self, value: T) -> None:
        """Answer, unless that was done before."""
        if not self._done.is_set():
            self._value = value
            self._done.set()

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless that was done before."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def wait(self) -> T:
        """Wait for the answer and return it, or raise the error."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # resolve() was given a T


@frozen(eq=False)
class Acknowledged:
    """Report that a child called ``task_status.started(value)``."""

    child: Child
    generation: int
    value: Any


@frozen(eq=False)
class Exited:
    """Report that a child's task ended; without an error it ended normally or was cancelled."""

    child: Child
    generation: int
    error: BaseException | None


@frozen(eq=False, kw_only=True)
class Command:
    """Is the base of what can be asked of a supervisor."""

    reply: Reply[Any] = field(factory=Reply)


@frozen(eq=False, kw_only=True)
class StartChild(Command):
    """Add a child and start it. ``keep`` keeps one whose first start fails."""

    spec: ChildSpec
    keep: bool = False


@frozen(eq=False, kw_only=True)
class StopChild(Command):
    """Stop a child. ``remove`` forgets it as well."""

    id: str
    remove: bool = False


@frozen(eq=False, kw_only=True)
class RestartChild(Command):
    """Stop a child if it is alive, then start it, from ``spec`` if there is one."""

    id: str
    spec: ChildSpec | None = None


@frozen(eq=False, kw_only=True)
class DeleteChild(Command):
    """Forget a stopped child."""

    id: str


@frozen(eq=False, kw_only=True)
class StartBeside(Command):
    """Start the replacement of a child beside it; the answer is the replacement."""

    spec: ChildSpec


@frozen(eq=False, kw_only=True)
class Promote(Command):
    """Put the replacement in the child's place; the answer is the old child."""

    incoming: Child


@frozen(eq=False, kw_only=True)
class Retire(Command):
    """Stop one of a pair and forget it."""

    child: Child


@frozen(eq=False, kw_only=True)
class Reconfigure(Command):
    """Move to another list of children."""

    specs: tuple[ChildSpec, ...]


@frozen(eq=False, kw_only=True)
class Conclude(Command):
    """Put the children into the order of a reload that is done."""

    order: tuple[str, ...]


@frozen(eq=False, kw_only=True)
class Shutdown(Command):
    """End the supervisor normally; the answer comes when all children were told to stop."""


@frozen(eq=False, kw_only=True)
class Respond(Command):
    """Do nothing but answer."""


Message = Acknowledged | Exited | Command


@define(eq=False)
class Mailbox:
    """Queue messages for one supervisor's task."""

    _slots: trio.Semaphore = field(factory=lambda: trio.Semaphore(COMMAND_BACKLOG), init=False)
    _send: trio.MemorySendChannel[Message] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Message] = field(init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the channel, which is unbounded by type and bounded by construction."""
        self._send, self._receive = trio.open_memory_channel[Message](math.inf)

    def post(self, message: Message) -> None:
        """Report something about a child."""
        self._send.send_nowait(message)

    async def ask(self, command: Command) -> None:
        """Queue a command, blocking while too many wait.

        If the mailbox is closed the command is answered with `SupervisorNotRunningError`.
        """
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
            command.reply.fail(SupervisorNotRunningError("the supervisor has ended"))
            return
        self._send.send_nowait(command)

    async def receive(self) -> Message:
        """Wait for the next message; always a checkpoint."""
        return self._taken(await self._receive.receive())

    def receive_nowait(self) -> Message | None:
        """Return the next message, if there is one."""
        try:
            return self._taken(self._receive.receive_nowait())
        except trio.WouldBlock:
            return None

    def close(self) -> None:
        """Take no more commands, and answer those that wait with an error."""
        self._closed = True
        while (message := self.receive_nowait()) is not None:
            if isinstance(message, Command):
                message.reply.fail(SupervisorNotRunningError("the supervisor has ended"))

    def _taken(self, message: Message) -> Message:
        if isinstance(message, Command):
            self._slots.release()
        return message
