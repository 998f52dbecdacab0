"""The ids by which clients know the tasks of backends.

Implements 2025-11-25, Tasks, and the extension ``io.modelcontextprotocol/tasks``: both want a task
bound to whoever has made it. Theory of operation: a client's id is sealed, and carries everything
that is needed to reach the task, so nothing has to be remembered, and ids outlive the process. The
same task always has the same id. What is remembered besides is in :mod:`.register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from onemcp.backend import Backend, Call, Caller, replica_of, user_of
from onemcp.multiplexer.events import TaskEvent, TaskRefused
from onemcp.protocol import tasks
from onemcp.protocol.errors import (
    BackendProtocolError,
    InvalidParams,
    MissingClientCapability,
)
from onemcp.protocol.fields import Fields, plain, text, value_of
from onemcp.protocol.methods import TOOLS_CALL
from onemcp.protocol.revisions import Era
from onemcp.state import Keyring, Ledger, SealBroken, Sealer

from .finished import Finished
from .memory import TaskMemory
from .register import Register, TaskRef, source_of

PURPOSE: Final = "task"
"""What the ids are sealed for."""

CURSORS: Final = "task cursor"
"""What the cursors of their lists are sealed for."""

MAX_ID: Final = 1024
"""How long a backend's id of a task may be, in characters."""

MAX_SEALED: Final = 8 * MAX_ID
"""How long an id is that is looked into, in characters."""

UNKNOWN: Final = "Task not found: its id is not valid here"
"""What clients are told of an id that is refused, whatever the reason."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """How far a list of tasks has been read.

    Attributes:
        principal: Whose list it is.
        endpoint: The view at which it was read.
        made: When the last task on the page was made, as a Unix time.
        backend: The backend that has it.
        id: Its id there.
    """

    principal: str
    endpoint: str | None
    made: float
    backend: str
    id: str


class TaskIds:
    """Makes ids of tasks, and opens those that come back.

    Attributes:
        register: Who has which tasks.
        finished: The results of calls that were to be tasks, and are none at their backends.
        is_listable: Whether clients are told apart, so that each can be shown a list of its own.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        ledger: Ledger | None = None,
        is_listable: bool = True,
        on_event: Callable[[TaskEvent], object] = lambda _: None,
    ) -> None:
        """Seal ids with a keyring; with the same one after a restart, ids stay valid.

        Args:
            keyring: What ids are sealed with.
            ledger: Where it is written down who has which tasks; by default nowhere.
            is_listable: Whether clients are told apart.
            on_event: Takes what happens.
        """
        self._sealer = Sealer(keyring, PURPOSE, TaskRef, limit=MAX_SEALED, is_stable=True)
        self._cursors = Sealer(keyring, CURSORS, Place, limit=MAX_SEALED)
        self._on_event = on_event
        self.is_listable = is_listable
        self.finished = Finished()
        self.register = Register(None if ledger is None else TaskMemory(ledger, on_event))

    def __repr__(self) -> str:
        return f"<TaskIds {self.register!r}>"

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
        if self.register.is_of_another(ref):
            raise self._refused(caller, "its backend has given the id to another principal since")
        return ref

    def peek(self, task_id: str, principal: str, endpoint: str | None) -> TaskRef | None:
        """Return what an id stands for, if it was given to a principal at an endpoint; else None.

        For who only wants to know what it is about: nothing is told of ids that are refused.
        """
        try:
            ref = self._sealer.open(task_id)
        except SealBroken:
            return None
        return ref if (ref.principal, ref.endpoint) == (principal, endpoint) else None

    def follower(
        self, backend: str, backends_id: str, user: str = "", replica: str = ""
    ) -> tuple[bytes, str] | None:
        """Return a digest of the session that is told of a task's status, and its id of the task.

        None where nobody is. `user` is whose backend it is; "" where all have the same one.
        `replica` is which one of the backend has it; "" where there is just one.
        """
        known = self.register.find(source_of(backend, user, replica), backends_id)
        return None if known is None or not known.session else (known.session, self.seal(known.ref))

    def gone(self, caller: Caller) -> InvalidParams:
        """Return the error for a task whose backend is shown no more."""
        return self._refused(caller, "its backend is not there any more")

    def cursor(self, place: Place) -> str:
        """Return what a client reads on with, where a page of its list has ended."""
        return self._cursors.seal(place)

    def open_cursor(self, cursor: str, caller: Caller, endpoint: str | None) -> Place:
        """Return how far a client has read its list.

        Raises:
            InvalidParams: The cursor is none that was given to this principal at this endpoint.
        """
        try:
            place = self._cursors.open(cursor)
        except SealBroken:
            raise InvalidParams("the cursor was not issued here") from None
        if (place.principal, place.endpoint) != (caller.principal, endpoint):
            raise InvalidParams("the cursor was not issued here")
        return place

    def _refused(self, caller: Caller, why: str) -> InvalidParams:
        self._on_event(TaskRefused(caller.principal, why, caller.session))
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
        self._call = call
        self._known: dict[str, str] = {}
        if tasks.TASK_ID not in asked:
            return
        mine, theirs = (value_of(each, tasks.TASK_ID, str) for each in (asked, call.params))
        if mine is not None and theirs is not None:
            self._known[theirs] = mine  # a task keeps the id that its client has

    def to_client(self, backends_id: str) -> str:
        """Return the client's id of a task.

        Raises:
            BackendProtocolError: The backend's is too long.
        """
        known = self._known.get(backends_id)
        if known is None:
            known = self._known[backends_id] = self._ids.seal(self._ref(backends_id))
        return known

    def made(self, backends_id: str) -> str:
        """Return the client's id of a task that its call has made just now.

        Raises:
            BackendProtocolError: The backend's is too long.
        """
        self._ids.register.note(self._caller, self._ref(backends_id), is_new=True)
        return self.to_client(backends_id)

    @property
    def _tool(self) -> str:
        if self._call.method != TOOLS_CALL:
            return ""
        return value_of(self._call.params, "name", str) or ""

    def to_backend(self, clients_id: str) -> str | None:
        """Return the backend's id of a task; None where the client's is not of this backend."""
        try:
            ref = self._ids.open(clients_id, self._caller, self._endpoint)
        except InvalidParams:
            return None
        here = self._backend.name, replica_of(self._backend)
        return ref.id if (ref.backend, ref.instance) == here else None

    def _ref(self, backends_id: str) -> TaskRef:
        if len(backends_id) > MAX_ID:
            raise BackendProtocolError(
                f"backend {self._backend.name!r} has a task with an id of "
                f"{len(backends_id)} characters, over the limit of {MAX_ID}"
            )
        return TaskRef(
            self._caller.principal,
            self._endpoint,
            self._backend.name,
            replica_of(self._backend),
            backends_id,
            self._tool,
            user_of(self._backend),
        )


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
