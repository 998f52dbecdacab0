"""The subscribers of one view, and the backends at which their resources are subscribed to.

A resource is subscribed to at every backend that may know it, because nothing tells which one
does; what another backend says of it reaches nobody. The subscriptions are counted by each
backend's :class:`onemcp.backend.upstream.Upstream`, which outlives its connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from onemcp.backend import Backend, Caller
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.methods import PROGRESS, RESOURCE_UPDATED, TASK_CHANGED, TASK_STATUS
from onemcp.protocol.tasks import related_task, task_id_of

from .subscriptions import Subscriber, uri_of
from .tasks.register import digest_of

_OF_TASKS: Final = frozenset({TASK_CHANGED, TASK_STATUS, PROGRESS})


class Shown(Protocol):
    """What is shown to an audience."""

    def reads(self, uri: str, backend: Backend) -> bool:
        """Tell whether a resource of a backend is shown."""

    def tells_of_task(self, task_id: str, caller: Caller | None) -> bool:
        """Tell whether a task is shown to a caller who knows it by an id."""


class Audience:
    """Everyone who has subscribed to something in a view."""

    def __init__(
        self,
        current: Callable[[str], Backend | None],
        shown: Shown,
        follower: Callable[[str, str, str], tuple[bytes, str] | None] = lambda *_: None,
    ) -> None:
        """Begin with nobody.

        Args:
            current: Gives the backend that has a name just now.
            shown: Tells what of the backends is shown.
            follower: Gives a digest of the session that has a task of a backend's replica, and its
                id of it.
        """
        self._current = current
        self._shown = shown
        self._follower = follower
        self._subscribers: set[Subscriber] = set()
        self._places: dict[tuple[Subscriber, str], set[str]] = {}

    def __len__(self) -> int:
        return len(self._subscribers)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(list(self._subscribers))

    def join(self, subscriber: Subscriber) -> None:
        """Let a new subscriber hear of what it wants."""
        self._take(subscriber)
        for name, replica, task_id in subscriber.tasks:
            backend = self._replica(name, replica)
            if backend is not None:
                backend.upstream.add_task(task_id)

    def hand_over(self, subscriber: Subscriber, other: Audience) -> None:
        """Let a subscriber hear of the same things in another audience."""
        self._subscribers.discard(subscriber)
        other._take(subscriber)
        for uri in subscriber.uris:
            other._places[subscriber, uri] = self._places.pop((subscriber, uri))

    def retain(self) -> None:
        """Let nobody hear any more of resources that aren't shown any more."""
        for (subscriber, uri), places in list(self._places.items()):
            lost = {name for name in places if not self._is_shown(uri, name)}
            self._release(uri, lost)
            places.difference_update(lost)
            if lost and not places:
                del self._places[subscriber, uri]
                subscriber.uris -= {uri}
        for subscriber in self._subscribers:
            subscriber.retain()

    async def add(self, subscriber: Subscriber, uri: str, backend: Backend) -> None:
        """Let a subscriber hear of a resource of a backend.

        Raises:
            ProtocolError: The backend refuses.
        """
        try:
            await backend.upstream.add(uri)
        except BaseException:
            current = self._current(backend.name)
            if current is not None and current is not backend:
                current.upstream.remove(uri)  # it has taken over what was wanted of this one
            raise
        places = self._places.get((subscriber, uri), set())
        is_wanted = subscriber in self._subscribers and backend.name not in places
        if not (is_wanted and self._is_shown(uri, backend.name)):
            # Meanwhile the subscriber or the backend has gone, or it has subscribed twice.
            self._release(uri, [backend.name])
            return
        self._places[subscriber, uri] = places | {backend.name}
        subscriber.uris |= {uri}

    def remove(self, subscriber: Subscriber, uri: str) -> None:
        """Let a subscriber hear of a resource no more."""
        subscriber.uris -= {uri}
        self._release(uri, self._places.pop((subscriber, uri), ()))

    def forget(self, gone: Iterable[str]) -> None:
        """Take note that there are no backends of some names any more."""
        names = set(gone)
        for places in self._places.values():
            places.difference_update(names)

    def tell(self, note: Notification, source: str | None = None, replica: str = "") -> None:
        """Pass on a notification to those who want it.

        Args:
            note: A changed list, resource or task.
            source: The backend that says so, for a changed resource or task.
            replica: Which one of it, for a changed task; "" where there is just one.
        """
        if note.method in _OF_TASKS:
            self._tell_of_task(note, source or "", replica)
            return
        if note.method != RESOURCE_UPDATED:
            for subscriber in self._subscribers:
                subscriber.offer(note)
            return
        uri = uri_of(note)
        if uri is None:
            return
        for subscriber in self._subscribers:
            wanted = subscriber.covering(uri)
            if any(source in self._places.get((subscriber, each), ()) for each in wanted):
                subscriber.offer(note)

    def end(self) -> None:
        """End all subscriptions from the server's side."""
        for subscriber in self._subscribers:
            subscriber.end()

    def __repr__(self) -> str:
        return f"<Audience subscribers={len(self._subscribers)} resources={len(self._places)}>"

    def _replica(self, name: str, replica: str) -> Backend | None:
        backend = self._current(name)
        return None if backend is None else backend.replica(replica)

    def _tell_of_task(self, note: Notification, source: str, replica: str) -> None:
        of_progress = note.method == PROGRESS
        task_id = related_task(note.params) if of_progress else task_id_of(note.params)
        if task_id is None:
            return
        session, of_session = self._follower(source, replica, task_id) or (b"", "")
        for subscriber in self._subscribers:
            known = None
            if note.method == TASK_CHANGED:
                known = subscriber.tasks.get((source, replica, task_id))
            elif session and digest_of(subscriber.owner) == session:
                known = of_session
            if known is not None and self._shown.tells_of_task(known, subscriber.caller):
                subscriber.offer_task(known, note)

    def _take(self, subscriber: Subscriber) -> None:
        subscriber.on_close = self._leave
        self._subscribers.add(subscriber)

    def _is_shown(self, uri: str, name: str) -> bool:
        backend = self._current(name)
        return backend is not None and self._shown.reads(uri, backend)

    def _leave(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)
        for name, replica, task_id in subscriber.tasks:
            backend = self._replica(name, replica)
            if backend is not None:
                backend.upstream.remove_task(task_id)
        uris, subscriber.uris = subscriber.uris, frozenset()
        for uri in uris:
            self._release(uri, self._places.pop((subscriber, uri), ()))

    def _release(self, uri: str, names: Iterable[str]) -> None:
        for name in names:
            backend = self._current(name)
            if backend is not None:
                backend.upstream.remove(uri)
