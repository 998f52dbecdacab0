"""Who has which tasks.

Implements 2025-11-25, Tasks, Task Isolation and Access Control, and Resource Management. Theory of
operation: a backend takes onemcp for one client, so only onemcp can tell whose task is whose. It
remembers that for as long as a task lives, for three things: to list the tasks of one principal, to
tell a session of its own ones, and to notice when a backend gives the id of one principal's task to
another's: then the id has only its last owner, for the task of before is gone.

Everything is bounded: so many tasks of one principal, of which those that have ended are forgotten
first; so many altogether, of which those of the principal go first who has asked longest ago. What
is written down is found again when its principal lists it, see :mod:`.memory`.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import msgspec
from msgspec import Raw

from onemcp.protocol.errors import Overloaded
from onemcp.protocol.revisions import Era
from onemcp.protocol.tasks import TERMINAL

if TYPE_CHECKING:
    from onemcp.backend import Caller

    from .memory import TaskMemory

MAX_OF_ONE: Final = 256
"""How many tasks of one principal are remembered."""

MAX_TASKS: Final = 16_384
"""How many tasks are remembered altogether."""

LONGEST: Final = 30 * 86_400.0
"""How long a task is remembered that has no end of its own, in seconds."""

GRACE: Final = 3600.0
"""How much longer than its time to live a task is remembered, in seconds: a backend may keep it."""

Key: TypeAlias = tuple[str, str]
"""A backend, and its own id of a task."""


def source_of(backend: str, user: str, instance: str) -> str:
    """Return what tells who has a task from all others.

    Args:
        backend: The backend.
        user: The user whose backend it is, where each has one of their own.
        instance: The replica, where there are several.
    """
    return f"{backend}\n{user}\n{instance}" if user or instance else backend


class TaskRef(msgspec.Struct, frozen=True, array_like=True):
    """What a client's id stands for.

    Attributes:
        principal: Whose task it is.
        endpoint: The view at which it was made.
        backend: The backend that has it.
        instance: The instance of the backend that has it; empty where there is just one.
        id: The backend's own id.
        tool: The tool whose call it is, as the backend has it; empty where that is not known.
        user: The user whose backend it is; empty where all users have the same one.
    """

    principal: str
    endpoint: str | None
    backend: str
    instance: str
    id: str
    tool: str = ""
    user: str = ""

    @property
    def key(self) -> Key:
        """What tells it from the tasks of all others."""
        return source_of(self.backend, self.user, self.instance), self.id


@attrs.define(eq=False)
class Known:
    """A task that is remembered.

    Attributes:
        ref: The task.
        made: When it was made, as a Unix time.
        expires: Until when it is remembered.
        session: A digest of the session that is told of its status; empty for none.
        is_listed: Whether it is one of 2025-11-25 to its client, and so has a place in a list.
        has_ended: Whether it is known to have come to its end.
        is_cancelled: Whether its client has cancelled it, and was told that it is.
        seen: What was last said about it, in the terms of 2025-11-25, under the backend's id.
    """

    ref: TaskRef
    made: float
    expires: float
    session: bytes = b""
    is_listed: bool = True
    has_ended: bool = False
    is_cancelled: bool = False
    seen: Raw | None = None


class Register:
    """The tasks of all principals, as far as they are remembered."""

    def __init__(
        self, memory: TaskMemory | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with none.

        Args:
            memory: Where they are written down, or None for nowhere.
            wall_clock: Tells the Unix time.
        """
        self._memory = memory
        self._now = wall_clock
        self._of: OrderedDict[str, dict[Key, Known]] = OrderedDict()
        self._owners: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def __repr__(self) -> str:
        return f"<Register tasks={len(self._owners)} principals={len(self._of)}>"

    def check_room(self, principal: str) -> None:
        """Make sure that a principal may have one more task (Resource Management).

        Raises:
            Overloaded: It has too many that go on.
        """
        going_on = sum(not each.has_ended for each in self.listed(principal))
        if going_on >= MAX_OF_ONE:
            raise Overloaded(
                f"{MAX_OF_ONE} tasks of this client go on, the limit; "
                "cancel some, or wait until they have ended"
            )

    def note(self, caller: Caller, ref: TaskRef, *, is_new: bool = False) -> Known:
        """Take note that a caller has a task.

        Args:
            caller: Whose it is.
            ref: The task.
            is_new: Whether it was made just now, so that whoever had one of this id has it no more.
        """
        owner = self._owners.get(ref.key)
        if owner is not None and (is_new or owner != caller.principal):
            self.forget(ref.key)
        known = self._of.get(caller.principal, {}).get(ref.key)
        now = self._now()
        if known is None:
            known = Known(ref, now, now + LONGEST, is_listed=caller.era is Era.LEGACY)
            self.put(known)
        if caller.era is Era.LEGACY:
            known.session, known.is_listed = digest_of(caller.owner), True
            known.expires = max(known.expires, now + GRACE)
        return known

    def put(self, known: Known) -> None:
        """Remember a task; where there are too many, others are forgotten."""
        principal = known.ref.principal
        tasks = self._of.setdefault(principal, {})
        self._of.move_to_end(principal)
        tasks[known.ref.key] = known
        self._owners[known.ref.key] = principal
        if len(tasks) > MAX_OF_ONE:
            self.forget(min(tasks.values(), key=_worth).ref.key)
        while len(self._owners) > MAX_TASKS:
            for key in list(next(iter(self._of.values()))):
                self.forget(key)

    def seen(self, known: Known, status: str | None, ttl: float | None, task: Raw) -> None:
        """Take note of what a backend says about a task.

        Args:
            known: The task.
            status: Where it stands.
            ttl: Its time to live since it was made, in milliseconds, or None for no end.
            task: All that is said, in the terms of 2025-11-25.
        """
        known.has_ended = status in TERMINAL
        if ttl is not None and 0 <= ttl < LONGEST * 1000:
            known.expires = max(known.made + ttl / 1000, self._now()) + GRACE
        known.seen = task

    def listed(self, principal: str) -> list[Known]:
        """Return the tasks of a principal that have a place in a list, oldest first."""
        now = self._now()
        tasks = self._of.get(principal, {})
        for key in [key for key, known in tasks.items() if known.expires <= now]:
            self.forget(key)
        return sorted((each for each in tasks.values() if each.is_listed), key=order)

    def is_of_another(self, ref: TaskRef) -> bool:
        """Tell whether a backend has given a task's id to another principal since."""
        owner = self._owners.get(ref.key)
        return owner is not None and owner != ref.principal

    def find(self, backend: str, backends_id: str) -> Known | None:
        """Return what is known of a task."""
        owner = self._owners.get((backend, backends_id))
        return None if owner is None else self._of[owner][backend, backends_id]

    def forget(self, key: Key) -> None:
        """Remember a task no longer."""
        owner = self._owners.pop(key, None)
        if owner is not None:
            tasks = self._of[owner]
            del tasks[key]
            if not tasks:
                del self._of[owner]

    async def load(self, principal: str) -> None:
        """Find again what was written down of a principal's tasks."""
        if self._memory is None:
            return
        now = self._now()
        for known in await self._memory.read(principal):
            if known.expires > now and known.ref.key not in self._owners:
                self.put(known)

    async def save(self, *added: Known) -> None:
        """Write down that tasks of one principal were made, as far as that is possible."""
        if self._memory is not None:
            await self._memory.change(added[0].ref.principal, added, ())

    async def drop(self, known: Known) -> None:
        """Remember a task no longer, because its backend doesn't know it any more."""
        self.forget(known.ref.key)
        if self._memory is not None:
            await self._memory.change(known.ref.principal, (), (known.ref.key,))

    def __iter__(self) -> Iterator[Known]:
        return (known for tasks in self._of.values() for known in tasks.values())


def order(known: Known) -> tuple[float, str, str]:
    """Return what tasks are listed by."""
    return known.made, known.ref.backend, known.ref.id


def digest_of(owner: Hashable) -> bytes:
    """Return what a session is told by, without its id."""
    if not isinstance(owner, str):
        return b""
    return hashlib.sha256(owner.encode()).digest()[:16]


def _worth(known: Known) -> tuple[bool, bool, float]:
    """Return how much it matters to remember a task."""
    return known.is_listed, not known.has_ended, known.made if known.is_listed else -math.inf
