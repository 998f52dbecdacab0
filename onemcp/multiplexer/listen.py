"""``subscriptions/listen`` as a reply: acknowledged first, then one notification after another.

Implements 2026-07-28, Subscriptions.
"""

from __future__ import annotations

import trio
from msgspec import Raw

from onemcp.backend import Answer, Incoming
from onemcp.protocol import meta
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, RequestId, Response
from onemcp.protocol.methods import ACKNOWLEDGED

from .subscriptions import Subscriber, describe_filter, stamped


class ListenReply:
    """A subscription that lasts until the client, or the server, ends it."""

    def __init__(self, request_id: RequestId, subscriber: Subscriber, server_info: Raw) -> None:
        """Deliver what `subscriber` hears of under the id of the request that subscribed."""
        self._id = request_id
        self._server_info = server_info
        self._subscriber = subscriber
        self._acknowledged = False

    async def receive(self) -> Incoming:
        """Wait for the next notification; the answer comes only when the server ends it."""
        if not self._acknowledged:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._acknowledged = True
            heard = self._subscriber
            granted = describe_filter(heard.lists, heard.uris, heard.tasks)
            return stamped(Notification(ACKNOWLEDGED, raw({"notifications": granted})), self._id)
        try:
            return stamped(await self._subscriber.receive(), self._id)
        except trio.EndOfChannel:
            self.close()
            about = {meta.SUBSCRIPTION_ID: self._id, meta.SERVER_INFO: self._server_info}
            return Response(self._id, raw({"resultType": "complete", "_meta": about}))

    def answer(self, answer: Answer) -> bool:  # noqa: ARG002 - nothing is asked here
        """Refuse: nothing is asked on a subscription."""
        return False

    def close(self) -> None:
        """Unsubscribe."""
        self._subscriber.close()
