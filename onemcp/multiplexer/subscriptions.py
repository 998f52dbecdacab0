"""Who wants to hear of what, and what each of them has not heard yet.

Changes are coalesced: a subscriber that is slow, or away, is told once that a list has changed,
however often it did, and once for each resource. What waits for a subscriber is bounded: where
too many parts of a resource have changed, it is told of the resource as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from onemcp.backend import Caller
from onemcp.protocol import meta
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import join, raw, split, value_of
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import LIST_CHANGED, LISTS, PROGRESS, RESOURCE_UPDATED
from onemcp.protocol.tasks import TASK_IDS, rename_related, with_task_id

if TYPE_CHECKING:
    from .view import View

MAX_URIS: Final = 1000
"""How many resources one subscriber may subscribe to."""

TaskFilter: TypeAlias = Mapping[tuple[str, str, str], str]
"""Clients' ids of tasks, by the backend and its own id."""

NO_TASKS: Final[TaskFilter] = MappingProxyType({})

MAX_PENDING: Final = 1000
"""How many updates of tasks and parts of resources wait for a slow subscriber."""

_BOUNDARIES: Final = "/?#"
"""What separates the URI of a resource from what is added for a part of it."""


class Subscriber:
    """One client's wish to hear of changes.

    Attributes:
        lists: The notifications of changed lists that it wants.
        uris: The resources that it wants to hear of.
        tasks: The tasks that it wants to hear of: its own ids of them, by backend, replica and id
            there.
        caller: Who it is, or None where that can't matter.
        view: Where it has subscribed; with other rights it is moved to another one.
        on_close: Called once when it goes away.
    """

    def __init__(
        self,
        lists: frozenset[str],
        uris: frozenset[str] = frozenset(),
        *,
        tasks: TaskFilter = NO_TASKS,
        caller: Caller | None = None,
    ) -> None:
        """Want to hear of something."""
        self.lists = lists
        self.uris = uris
        self.tasks = tasks
        self.caller = caller
        self.view: View | None = None
        self.on_close: Callable[[Subscriber], object] = lambda _: None
        self._pending: dict[str, Notification] = {}
        self._arrived = trio.Event()
        self._ended = False

    @property
    def owner(self) -> Hashable:
        """What tells its client from others; a session hears of its own tasks by that."""
        return None if self.caller is None else self.caller.owner

    def offer(self, note: Notification) -> None:
        """Pass on a notification, if it is wanted."""
        if note.method in self.lists:
            self._put(note.method, note)
        elif note.method == RESOURCE_UPDATED:
            uri = uri_of(note) or ""
            wanted = self.covering(uri)
            if wanted:
                self._put_update(uri, wanted[0], note)

    def offer_task(self, task_id: str, note: Notification) -> None:
        """Pass on what has become of a task, under the subscriber's own id of it.

        Where too much waits already it is left out: whoever wants to be sure asks (Tasks).
        """
        key = f"{note.method} {task_id}"
        if key not in self._pending and len(self._pending) >= MAX_PENDING:
            return
        if note.method == PROGRESS:
            params = rename_related(note.params, lambda _: task_id)
        else:
            params = with_task_id(note.params, task_id)
        self._put(key, Notification(note.method, params))

    def covering(self, uri: str) -> list[str]:
        """Return which of its resources a URI is, or is a part of, that very one first.

        An update may be of a sub-resource of what was subscribed to
        (2026-07-28, Schema, ResourceUpdatedNotificationParams).
        """
        exact = [uri] if uri in self.uris else []
        return exact + [wanted for wanted in self.uris if _is_part(uri, wanted)]

    async def receive(self) -> Notification:
        """Wait for the next notification. Safe to cancel.

        Raises:
            trio.EndOfChannel: The server has ended the subscription, or it is closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._pending:
            if self._ended:
                raise trio.EndOfChannel
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._pending.pop(next(iter(self._pending)))

    def retain(self) -> None:
        """Forget what has not been told yet of resources that it hears of no more."""
        for key, note in list(self._pending.items()):
            if note.method == RESOURCE_UPDATED and not self.covering(uri_of(note) or ""):
                del self._pending[key]

    def end(self) -> None:
        """End the subscription from the server's side, once everything has been told."""
        self._ended = True
        self._arrived.set()

    def close(self) -> None:
        """Go away; whoever is receiving is told."""
        self._pending.clear()
        self.end()
        on_close, self.on_close = self.on_close, lambda _: None
        on_close(self)

    def _put_update(self, uri: str, wanted: str, note: Notification) -> None:
        if uri == wanted or uri in self._pending or len(self._pending) < MAX_PENDING:
            self._put(uri, note)
        else:
            self._put(wanted, Notification(RESOURCE_UPDATED, raw({"uri": wanted})))

    def _put(self, key: str, note: Notification) -> None:
        if not self._ended:
            self._pending[key] = note
            self._arrived.set()


def unaddressed(note: Notification) -> Notification:
    """Remove the id of onemcp's own subscription from a notification of a backend."""
    try:
        fields = split(note.params)
        if meta.META not in fields:
            return note
        return Notification(note.method, join(meta.set_meta(fields, {meta.SUBSCRIPTION_ID: None})))
    except InvalidParams:
        return Notification(note.method)


def uri_of(note: Notification) -> str | None:
    """Return the URI of an updated resource, None where there is none."""
    try:
        return value_of(split(note.params), "uri", str)
    except InvalidParams:
        return None


def _is_part(uri: str, whole: str) -> bool:
    if not whole or len(uri) <= len(whole) or not uri.startswith(whole):
        return False
    return whole[-1] in _BOUNDARIES or uri[len(whole)] in _BOUNDARIES


def read_filter(source: object) -> tuple[frozenset[str], frozenset[str]]:
    """Read the filter of ``subscriptions/listen`` (2026-07-28, Notification Filter).

    Args:
        source: The decoded ``notifications`` parameter.

    Returns:
        The wanted notifications of changed lists, and the wanted URIs.

    Raises:
        InvalidParams: It is malformed, or too long.
    """
    if not isinstance(source, dict):
        raise InvalidParams("notifications must be an object")
    lists = frozenset(kind.changed for kind in LISTS.values() if _flag(source, kind.filter))
    uris = source.get("resourceSubscriptions", [])
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise InvalidParams("notifications.resourceSubscriptions must be an array of URIs")
    if len(uris) > MAX_URIS:
        raise InvalidParams(f"notifications.resourceSubscriptions: at most {MAX_URIS} URIs")
    return lists, frozenset(uris)


def read_task_ids(source: object) -> frozenset[str]:
    """Read which tasks the filter of ``subscriptions/listen`` names (Tasks extension).

    Args:
        source: The decoded ``notifications`` parameter.

    Raises:
        InvalidParams: They are malformed, or too many.
    """
    ids = source.get(TASK_IDS, []) if isinstance(source, dict) else []
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise InvalidParams(f"notifications.{TASK_IDS} must be an array of task ids")
    if len(ids) > MAX_URIS:
        raise InvalidParams(f"notifications.{TASK_IDS}: at most {MAX_URIS} tasks")
    return frozenset(ids)


def _flag(source: dict[str, object], key: str) -> bool:
    value = source.get(key, False)
    if not isinstance(value, bool):
        raise InvalidParams(f"notifications.{key} must be true or false")
    return value


def describe_filter(
    lists: frozenset[str], uris: frozenset[str], tasks: TaskFilter = NO_TASKS
) -> dict[str, object]:
    """Write a filter as an acknowledgement repeats it."""
    described: dict[str, object] = {
        kind.filter: True for kind in LISTS.values() if kind.changed in lists
    }
    if uris:
        described["resourceSubscriptions"] = sorted(uris)
    if tasks:
        described[TASK_IDS] = sorted(tasks.values())
    return described


ALL_LISTS: Final = LIST_CHANGED
"""Every notification of a changed list: what legacy clients get without asking."""


def stamped(note: Notification, subscription_id: int | str) -> Notification:
    """Mark a notification with the subscription that it is delivered for."""
    fields = split(note.params)
    return Notification(
        note.method, join(meta.set_meta(fields, {meta.SUBSCRIPTION_ID: raw(subscription_id)}))
    )
