"""The subscriptions of onemcp at one backend: one for all of its clients.

Modern backends get a single ``subscriptions/listen`` for everything that is wanted, legacy ones a
``resources/subscribe`` for each resource; both are made again after every restart
(2026-07-28, Subscriptions; 2025-11-25, Resources).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import trio

from onemcp.protocol.errors import METHOD_NOT_FOUND, BackendUnavailable, ProtocolError, RemoteError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Response
from onemcp.protocol.methods import ACKNOWLEDGED, CATALOGUES, LISTEN, SUBSCRIBE, UNSUBSCRIBE
from onemcp.protocol.revisions import Era

from .call import Call, Caller
from .connection import Connection, NotificationHandler, ServerDescription
from .handshake import answer_of

RETRY_INITIAL: Final = 1.0
RETRY_MAXIMUM: Final = 60.0
"""How long to wait before a subscription that the backend has ended is made again, in seconds."""


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
        self._changed = trio.Event()
        self._connection: Connection | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """The URIs of all resources that some client wants to hear of."""
        return frozenset(self._wanted)

    def adopt(self, other: Upstream) -> None:
        """Take over what another backend's clients want, when this one replaces it."""
        self._wanted.update(other._wanted)
        self._change()

    async def add(self, uri: str) -> None:
        """Want to hear of a resource.

        Raises:
            RemoteError: A legacy backend refuses the subscription.
        """
        self._wanted[uri] += 1
        if self._wanted[uri] > 1:
            return
        try:
            if self._is_legacy():
                await self._request(SUBSCRIBE, uri)
            else:
                self._change()
        except BaseException:
            self.remove(uri)
            raise

    def remove(self, uri: str) -> None:
        """Want to hear of a resource no longer, on behalf of one client."""
        self._wanted[uri] -= 1
        if self._wanted[uri] <= 0:
            del self._wanted[uri]
            self._change()

    async def keep(self, connection: Connection, server: ServerDescription) -> None:
        """Keep everything that is wanted subscribed to, until cancelled."""
        self._connection = connection
        try:
            if server.era is Era.MODERN:
                await self._keep_listening(connection, server)
            else:
                await self._keep_subscribed()
        finally:
            self._connection = None

    def _is_legacy(self) -> bool:
        server = None if self._connection is None else self._connection.server
        return server is not None and server.era is Era.LEGACY

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _request(self, method: str, uri: str) -> None:
        if self._connection is None:
            raise BackendUnavailable("the backend is not connected")
        exchange = self._connection.open(Call(method, {"uri": raw(uri)}, self._caller))
        try:
            answer = await answer_of(exchange)
        finally:
            exchange.close()
        if isinstance(answer, Failure):
            raise RemoteError(answer.error)

    # --- legacy ------------------------------------------------------------------------------

    async def _keep_subscribed(self) -> None:
        subscribed: set[str] = set()
        while True:
            changed, wanted = self._changed, self.wanted
            for uri in sorted(wanted - subscribed):
                await self._try(SUBSCRIBE, uri)
            for uri in sorted(subscribed - wanted):
                await self._try(UNSUBSCRIBE, uri)
            subscribed = set(wanted)
            await changed.wait()

    async def _try(self, method: str, uri: str) -> None:
        try:
            await self._request(method, uri)
        except ProtocolError:
            # Nobody waits for this one: a resource that has gone can't be heard of.
            await trio.lowlevel.checkpoint()

    # --- modern ------------------------------------------------------------------------------

    async def _keep_listening(self, connection: Connection, server: ServerDescription) -> None:
        async with trio.open_nursery() as nursery:
            current: trio.CancelScope | None = None
            while True:
                changed, notifications = self._changed, self._filter(server)
                previous = current
                if notifications:
                    current = trio.CancelScope()
                    await nursery.start(self._listen, connection, notifications, current)
                if previous is not None:
                    previous.cancel()
                await changed.wait()

    def _filter(self, server: ServerDescription) -> dict[str, Any]:
        notifications: dict[str, Any] = {
            catalogue.filter: True
            for catalogue in CATALOGUES
            if server.has(catalogue.capability, "listChanged")
        }
        if self._wanted and server.has("resources", "subscribe"):
            notifications["resourceSubscriptions"] = sorted(self._wanted)
        return notifications

    async def _listen(
        self,
        connection: Connection,
        notifications: dict[str, Any],
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until the scope is cancelled; acknowledge when the backend does, or refuses."""
        call = Call(LISTEN, {"notifications": raw(notifications)}, self._caller)
        acknowledged = _Once(task_status)
        wait = RETRY_INITIAL
        with scope:
            while True:
                refused, heard = await self._listen_once(connection, call, acknowledged)
                acknowledged()
                if refused:
                    await trio.sleep_forever()
                wait = RETRY_INITIAL if heard else min(wait * 2, RETRY_MAXIMUM)
                await trio.sleep(wait)
        acknowledged()

    async def _listen_once(
        self, connection: Connection, call: Call, acknowledged: _Once
    ) -> tuple[bool, bool]:
        """Listen once; tell whether the backend doesn't know the method, and whether it spoke."""
        try:
            exchange = connection.open(call)
        except ProtocolError:
            return False, False
        heard = False
        try:
            while True:
                message = await exchange.receive()
                if isinstance(message, Response):
                    return False, heard
                if isinstance(message, Failure):
                    return RemoteError(message.error).code == METHOD_NOT_FOUND, heard
                heard = True
                acknowledged()
                if isinstance(message, Notification) and message.method != ACKNOWLEDGED:
                    self._on_notification(message)
        finally:
            exchange.close()


class _Once:
    """Acknowledges a start the first time it is called."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._task_status.started()
