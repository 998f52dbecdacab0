"""The ids by which clients know the tasks of backends.

Implements 2025-11-25, Tasks, and the extension ``io.modelcontextprotocol/tasks``: both want a task
bound to whoever has made it. Theory of operation: a client's id is sealed, and carries everything
that is needed to reach the task, so nothing has to be remembered, and ids outlive the process. What
is remembered all the same, for as long as there is room, is which session was given an id: legacy
notifications of a task's status name the task and nobody else, and are never to be relied on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import msgspec

from onemcp.backend import Backend, Call, Caller
from onemcp.protocol import tasks
from onemcp.protocol.errors import (
    BackendProtocolError,
    InvalidParams,
    MissingClientCapability,
)
from onemcp.protocol.fields import Fields, plain, text, value_of
from onemcp.protocol.methods import TOOLS_CALL
from onemcp.protocol.revisions import Era
from onemcp.state import Keyring, SealBroken, Sealer

from .events import TaskRefused

PURPOSE: Final = "task"
"""What the ids are sealed for."""

MAX_ID: Final = 1024
"""How long a backend's id of a task may be, in characters."""

MAX_SEALED: Final = 8 * MAX_ID
"""How long an id is that is looked into, in characters."""

MAX_FOLLOWED: Final = 10_000
"""How many tasks are remembered whose status somebody may be told of."""

UNKNOWN: Final = "Task not found: its id is not valid here"
"""What clients are told of an id that is refused, whatever the reason."""


class TaskRef(msgspec.Struct, frozen=True, array_like=True):
    """What a client's id stands for.

    Attributes:
        principal: Whose task it is.
        endpoint: The view at which it was made.
        backend: The backend that has it.
        instance: The instance of the backend that has it; empty where there is just one.
        id: The backend's own id.
        tool: The tool whose call it is, as the backend has it; empty where that is not known.
    """

    principal: str
    endpoint: str | None
    backend: str
    instance: str
    id: str
    tool: str = ""


class TaskIds:
    """Makes ids of tasks, and opens those that come back."""

    def __init__(
        self, keyring: Keyring, *, on_event: Callable[[TaskRefused], object] = lambda _: None
    ) -> None:
        """Seal ids with a keyring; with the same one after a restart, ids stay valid."""
        self._sealer = Sealer(keyring, PURPOSE, TaskRef, limit=MAX_SEALED)
        self._on_event = on_event
        self._followed: OrderedDict[tuple[str, str], tuple[Hashable, str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<TaskIds followed={len(self._followed)}>"

    def seal(self, ref: TaskRef) -> str:
        """Return the id that a client gets."""
        return self._sealer.seal(ref)

    def open(self, task_id: str, caller: Caller, endpoint: str | None) -> TaskRef:
        """Return what a client's id stands for.

        Raises:
            InvalidParams: It is none that was given to this principal at this endpoint.
        """
        try:
            ref = self._sealer.open(task_id)
        except SealBroken:
            raise self._refused(caller, "it was not issued here") from None
        if ref.principal != caller.principal:
            raise self._refused(caller, "it is another principal's")
        if ref.endpoint != endpoint:
            raise self._refused(caller, "it is of another endpoint")
        return ref

    def gone(self, caller: Caller) -> InvalidParams:
        """Return the error for a task whose backend is shown no more."""
        return self._refused(caller, "its backend is not there any more")

    def follow(self, caller: Caller, ref: TaskRef, task_id: str) -> None:
        """Remember the session that is to be told of a task's status."""
        if caller.era is Era.LEGACY:
            self._followed[ref.backend, ref.id] = (caller.owner, task_id)
            self._followed.move_to_end((ref.backend, ref.id))
            if len(self._followed) > MAX_FOLLOWED:
                self._followed.popitem(last=False)

    def follower(self, backend: str, backends_id: str) -> tuple[Hashable, str] | None:
        """Return who is told of a task's status, and the id that it was given; None for nobody."""
        return self._followed.get((backend, backends_id))

    def _refused(self, caller: Caller, why: str) -> InvalidParams:
        self._on_event(TaskRefused(caller.principal, why))
        return InvalidParams(UNKNOWN)


class TaskNames:
    """The ids of tasks as they are written in one call: the client's here, the backend's there."""

    def __init__(
        self, ids: TaskIds, endpoint: str | None, backend: Backend, call: Call, asked: Fields
    ) -> None:
        """Map ids for a call.

        Args:
            ids: Makes and opens them.
            endpoint: The view that the call was sent to.
            backend: Where it goes.
            call: The call, in the backend's terms.
            asked: Its parameters in the client's terms.
        """
        self._ids = ids
        self._endpoint = endpoint
        self._backend = backend
        self._caller = call.caller
        self._tool = value_of(call.params, "name", str) or "" if call.method == TOOLS_CALL else ""
        self._known: dict[str, str] = {}
        mine, theirs = (value_of(each, tasks.TASK_ID, str) for each in (asked, call.params))
        if mine is not None and theirs is not None:
            self._known[theirs] = mine  # a task keeps the id that its client has

    def to_client(self, backends_id: str) -> str:
        """Return the client's id of a task.

        Raises:
            BackendProtocolError: The backend's is too long.
        """
        principal, backend = self._caller.principal, self._backend.name
        ref = TaskRef(principal, self._endpoint, backend, "", backends_id, self._tool)
        known = self._known.get(backends_id)
        if known is None:
            if len(backends_id) > MAX_ID:
                raise BackendProtocolError(
                    f"backend {self._backend.name!r} has a task with an id of "
                    f"{len(backends_id)} characters, over the limit of {MAX_ID}"
                )
            known = self._known[backends_id] = self._ids.seal(ref)
        self._ids.follow(self._caller, ref, known)
        return known

    def to_backend(self, clients_id: str) -> str | None:
        """Return the backend's id of a task; None where the client's is not of this backend."""
        try:
            ref = self._ids.open(clients_id, self._caller, self._endpoint)
        except InvalidParams:
            return None
        return ref.id if ref.backend == self._backend.name else None


def offers_tasks(declared: dict[str, Any]) -> bool:
    """Tell whether the capabilities that a client is shown include tasks, in either design."""
    return "tasks" in declared or tasks.declares(declared)


def read_task(ids: TaskIds, params: Fields, caller: Caller, endpoint: str | None) -> TaskRef:
    """Read which task a ``tasks/*`` request is about.

    Raises:
        MissingClientCapability: A modern client has not declared the extension (Error Handling).
        InvalidParams: It names none that this client has.
    """
    check_declared(caller)
    return ids.open(text(params, tasks.TASK_ID, f"params.{tasks.TASK_ID}"), caller, endpoint)


def check_declared(caller: Caller) -> None:
    """Make sure that a modern client can deal with tasks.

    Raises:
        MissingClientCapability: It has not declared the extension.
    """
    if caller.era is Era.MODERN and not tasks.declares(plain(caller.capabilities)):
        raise MissingClientCapability(
            f"this takes the extension {tasks.EXTENSION}, which the client has not declared",
            tasks.REQUIRED,
        )
