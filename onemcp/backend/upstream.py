"""The subscriptions of onemcp at one backend: one for all of its clients.

Modern backends get a single ``subscriptions/listen`` for everything that is wanted, legacy ones a
``resources/subscribe`` for each resource; both are made again after every restart
(2026-07-28, Subscriptions; 2025-11-25, Resources).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import trio

from onemcp.protocol.errors import (
    METHOD_NOT_FOUND,
    BackendUnavailable,
    DeadlineExceeded,
    ProtocolError,
    RemoteError,
)
from onemcp.protocol.fields import plain, raw, split
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response, notification
from onemcp.protocol.methods import (
    ACKNOWLEDGED,
    CATALOGUES,
    LISTEN,
    RESOURCE_UPDATED,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Catalogue,
)
from onemcp.protocol.revisions import Era
from onemcp.protocol.tasks import TASK_IDS, declares

from .call import Call, Caller
from .connection import Connection, NotificationHandler, ServerDescription
from .exchange import Answer, Exchange
from .handshake import answer_of

RETRY_INITIAL: Final = 1.0
RETRY_MAXIMUM: Final = 60.0
"""How long to wait before a subscription that the backend has ended is made again, in seconds."""

ANSWER: Final = 30.0
"""How long a backend may take to answer a subscription to a resource, in seconds."""

RESOURCES: Final = "resourceSubscriptions"
"""The member of a ``subscriptions/listen`` filter that names resources."""

ACKNOWLEDGE: Final = 10.0
"""How long a backend may take to acknowledge a subscription that replaces another, in seconds."""


class Upstream:
    """What is subscribed to at one backend.

    The resources that are wanted are counted, and outlive connections; `keep` runs as long as a
    connection does.
    """

    def __init__(self, caller: Caller, on_notification: NotificationHandler) -> None:
        """Subscribe as `caller`, and hand what arrives to `on_notification`."""
        self._caller = caller
        self._on_notification = on_notification
        self._wanted: Counter[str] = Counter()
        self._tasks: Counter[str] = Counter()
        self._changed = trio.Event()
        self._connection: Connection | None = None
        self._stream: _Stream | None = None
        self._subscribed: set[str] = set()
        self._attempts: dict[str, trio.Event] = {}

    @property
    def wanted(self) -> frozenset[str]:
        """The URIs of all resources that some client wants to hear of."""
        return frozenset(self._wanted)

    @property
    def is_wanted(self) -> bool:
        """Whether some client wants to hear of anything but lists."""
        return bool(self._wanted or self._tasks)

    def adopt(self, other: Upstream) -> None:
        """Take over what another backend's clients want, when this one replaces it."""
        self._wanted.update(other._wanted)
        self._tasks.update(other._tasks)
        self._change()

    async def add(self, uri: str) -> None:
        """Want to hear of a resource, and wait until it is subscribed to if the backend is there.

        Raises:
            RemoteError: A legacy backend refuses the subscription.
        """
        self.want(uri)
        try:
            await self.confirm(uri)
        except BaseException:
            self.remove(uri)
            raise

    def want(self, uri: str) -> None:
        """Want to hear of a resource, on behalf of one client more."""
        self._wanted[uri] += 1
        if self._wanted[uri] == 1:
            self._change()

    async def confirm(self, uri: str) -> None:
        """Wait until a resource that is wanted is subscribed to, if the backend is there.

        Raises:
            RemoteError: A legacy backend refuses the subscription.
        """
        while self._is_legacy():
            attempt = self._attempts.get(uri)
            if attempt is not None:
                await attempt.wait()
            elif uri in self._subscribed:
                return
            else:
                await self._subscribe(uri)

    def remove(self, uri: str) -> None:
        """Want to hear of a resource no longer, on behalf of one client."""
        self._wanted[uri] -= 1
        if self._wanted[uri] <= 0:
            del self._wanted[uri]
            self._change()

    def add_task(self, task_id: str) -> None:
        """Want to hear of a task, which only modern backends can be asked for."""
        self._tasks[task_id] += 1
        if self._tasks[task_id] == 1:
            self._change()

    def remove_task(self, task_id: str) -> None:
        """Want to hear of a task no longer, on behalf of one client."""
        self._tasks[task_id] -= 1
        if self._tasks[task_id] <= 0:
            del self._tasks[task_id]
            self._change()

    def hears_of(self, catalogue: Catalogue) -> bool:
        """Tell whether the backend has agreed to announce changes of a list."""
        return self._stream is not None and catalogue.filter in self._stream.granted

    async def keep(
        self,
        connection: Connection,
        server: ServerDescription,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep everything that is wanted subscribed to, until cancelled.

        Acknowledges when a first subscription has been sent: lists that are fetched from then on
        can't change unheard.
        """
        self._connection, self._subscribed, self._stream = connection, set(), None
        try:
            if server.era is Era.MODERN:
                await self._keep_listening(connection, server, task_status)
            else:
                task_status.started()
                await self._keep_subscribed()
        finally:
            self._connection = self._stream = None

    def _is_legacy(self) -> bool:
        server = None if self._connection is None else self._connection.server
        return server is not None and server.era is Era.LEGACY

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- legacy ------------------------------------------------------------------------------

    async def _keep_subscribed(self) -> None:
        while True:
            changed = self._changed
            for uri in sorted(self.wanted ^ self._subscribed):
                await self._settle(uri)
            await changed.wait()

    async def _settle(self, uri: str) -> None:
        """Subscribe to a resource or not, as is wanted by now."""
        wanted, subscribed = uri in self._wanted, uri in self._subscribed
        try:
            if wanted and not subscribed:
                await self._subscribe(uri)
            elif subscribed and not wanted:
                self._subscribed.discard(uri)
                await self._request(UNSUBSCRIBE, uri)
        except ProtocolError:
            # Nobody waits for this one: a resource that has gone can't be heard of.
            await trio.lowlevel.checkpoint()

    async def _subscribe(self, uri: str) -> None:
        subscribed, attempt = self._subscribed, trio.Event()
        self._attempts[uri] = attempt
        subscribed.add(uri)
        try:
            await self._request(SUBSCRIBE, uri)
        except DeadlineExceeded:
            raise  # it may have been subscribed to, so it is to be unsubscribed from
        except ProtocolError:
            subscribed.discard(uri)
            raise
        finally:
            if self._attempts.get(uri) is attempt:
                del self._attempts[uri]
            attempt.set()

    async def _request(self, method: str, uri: str) -> None:
        if self._connection is None:
            raise BackendUnavailable("the backend is not connected")
        exchange = self._connection.open(Call(method, {"uri": raw(uri)}, self._caller))
        answer: Answer | None = None
        try:
            with trio.move_on_after(ANSWER):
                answer = await answer_of(exchange)
        finally:
            exchange.close()
        if answer is None:
            raise DeadlineExceeded(f"the backend did not answer {method} within {ANSWER:g} s")
        if isinstance(answer, Failure):
            raise RemoteError(answer.error)

    # --- modern ------------------------------------------------------------------------------

    async def _keep_listening(
        self,
        connection: Connection,
        server: ServerDescription,
        task_status: trio.TaskStatus[None],
    ) -> None:
        async with trio.open_nursery() as nursery:
            changed, wanted = self._changed, self._filter(server)
            previous, stream = None, self._start(nursery, connection, wanted)
            task_status.started()
            while True:
                if stream is not None:
                    with trio.move_on_after(ACKNOWLEDGE):
                        await stream.acknowledged.wait()
                if previous is not None:
                    previous.scope.cancel()
                await changed.wait()
                changed, before, wanted = self._changed, wanted, self._filter(server)
                previous = None
                if wanted != before:
                    previous, stream = stream, self._start(nursery, connection, wanted)

    def _start(
        self, nursery: trio.Nursery, connection: Connection, wanted: dict[str, Any]
    ) -> _Stream | None:
        if not wanted:
            return None
        stream = _Stream(connection, wanted, self._caller)
        nursery.start_soon(self._listen, stream, stream.open())
        return stream

    def _filter(self, server: ServerDescription) -> dict[str, Any]:
        notifications: dict[str, Any] = {
            catalogue.filter: True
            for catalogue in CATALOGUES
            if server.has(catalogue.capability, "listChanged")
        }
        if self._wanted and server.has("resources", "subscribe"):
            notifications[RESOURCES] = sorted(self._wanted)
        if self._tasks and declares(server.capabilities):
            notifications[TASK_IDS] = sorted(self._tasks)
        return notifications

    async def _listen(self, stream: _Stream, exchange: Exchange | None) -> None:
        """Listen until the stream's scope is cancelled."""
        wait, is_new = RETRY_INITIAL, True
        with stream.scope:
            while True:
                heard, end = False, None
                if exchange is not None:
                    heard, end = await self._hear(stream, exchange, is_new=is_new)
                stream.granted = frozenset()
                stream.acknowledged.set()
                if end is not None and RemoteError(end.error).code == METHOD_NOT_FOUND:
                    await trio.sleep_forever()
                wait = RETRY_INITIAL if heard else min(wait * 2, RETRY_MAXIMUM)
                await trio.sleep(wait)
                exchange, is_new = stream.open(), False

    async def _hear(
        self, stream: _Stream, exchange: Exchange, *, is_new: bool
    ) -> tuple[bool, Failure | None]:
        """Listen once; tell whether the backend spoke, and which error has ended it, if any."""
        heard = False
        try:
            while True:
                message = await exchange.receive()
                if isinstance(message, Response | Failure):
                    return heard, message if isinstance(message, Failure) else None
                if not heard and not is_new:
                    self._make_up_for(stream)
                heard = True
                self._on_heard(stream, message)
        finally:
            exchange.close()

    def _on_heard(self, stream: _Stream, message: Notification | Request) -> None:
        if message.method == ACKNOWLEDGED:
            agreed = plain(split(message.params).get("notifications"))
            if isinstance(agreed, dict):
                stream.granted = frozenset(key for key in agreed if agreed[key] is True)
            self._stream = stream
        elif isinstance(message, Notification):
            self._on_notification(message)
        stream.acknowledged.set()

    def _make_up_for(self, stream: _Stream) -> None:
        """Announce what may have changed while nobody was listening."""
        for changed in sorted(
            {kind.changed for kind in CATALOGUES if kind.filter in stream.wanted}
        ):
            self._on_notification(notification(changed, {}))
        for uri in stream.wanted.get(RESOURCES, ()):
            self._on_notification(notification(RESOURCE_UPDATED, {"uri": uri}))


class _Stream:
    """One ``subscriptions/listen``, which is sent again whenever the backend ends it.

    Attributes:
        wanted: The filter.
        granted: What of it the backend has agreed to; empty while it isn't listened to.
        scope: Ends it.
        acknowledged: Set as soon as the backend has said anything about it.
    """

    def __init__(self, connection: Connection, wanted: dict[str, Any], caller: Caller) -> None:
        self.wanted = wanted
        self.granted: frozenset[str] = frozenset()
        self.scope = trio.CancelScope()
        self.acknowledged = trio.Event()
        self._connection = connection
        self._call = Call(LISTEN, {"notifications": raw(wanted)}, caller)

    def open(self) -> Exchange | None:
        """Send it; None where that isn't possible now."""
        try:
            return self._connection.open(self._call)
        except ProtocolError:
            return None
