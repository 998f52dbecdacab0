"""Which of the HTTP transports a backend speaks.

Implements 2026-07-28, Streamable HTTP, Backward Compatibility: streamable HTTP first, HTTP+SSE
where that is refused as such.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import trio

from onemcp.backend.call import Call
from onemcp.backend.connection import (
    Connection,
    ConnectionLost,
    HandshakeFailed,
    LoginRequired,
    NotificationHandler,
    ServerDescription,
)
from onemcp.backend.duplex import DuplexConnection, DuplexLimits
from onemcp.backend.exchange import Exchange
from onemcp.backend.handshake import Terms
from onemcp.backend.inbound import Inbound
from onemcp.backend.oauth import Credentials
from onemcp.backend.throttle import Throttle
from onemcp.backend.tracing import Trace
from onemcp.config import BackendLimits, HttpTransport, Timeouts
from onemcp.protocol.fields import Fields
from onemcp.protocol.revisions import Era

from ._client import Peer
from ._problems import NotStreamable
from ._session import Tools
from ._sse import open_sse_channel
from ._streamable import StreamableConnection


def connect_http(
    transport: HttpTransport,
    timeouts: Timeouts,
    limits: BackendLimits,
    terms: Terms,
    *,
    on_notification: NotificationHandler,
    tools: Tools,
    credentials: Credentials | None = None,
    trace: Trace | None = None,
    throttle: Throttle | None = None,
) -> Connection:
    """Return a connection to a backend over HTTP; its `run` finds out what it speaks.

    The caller bounds how long that takes.

    Args:
        transport: Where the backend is, and what the configuration says about its transport.
        timeouts: How long it may take.
        limits: What it may use.
        terms: How to talk to it for the first time; what is found out is remembered there.
        on_notification: Takes what belongs to no exchange.
        tools: What is known of the backend's tools.
        credentials: How onemcp logs in at it, if it does.
        trace: Takes what is asked and how it is answered; None where nobody wants to know.
        throttle: Bounds how many of its notifications are passed on; by default all are.
    """
    peer = Peer(transport, timeouts, limits, credentials, trace, throttle or Throttle())
    return HttpConnection(peer, terms, on_notification, tools)


class HttpConnection:
    """A connection over whichever HTTP transport the backend speaks."""

    def __init__(
        self,
        peer: Peer,
        terms: Terms,
        on_notification: NotificationHandler,
        tools: Tools,
    ) -> None:
        """Prepare a connection; `run` makes it."""
        self._peer = peer
        self._terms = terms
        self._on_notification = on_notification
        self._tools = tools
        self._current = self._make(sse=next(self._order()))

    @property
    def server(self) -> ServerDescription | None:
        """What the backend said about itself, None before the handshake."""
        return self._current.server

    @property
    def is_shared(self) -> bool:
        """Whether everything comes on one channel."""
        return self._current.is_shared

    @property
    def inbound(self) -> Inbound:
        """What is in flight, and the way in for everything that comes back."""
        return self._current.inbound

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect over the first transport that works, and serve until the end."""
        memory = self._terms.memory
        failed: HandshakeFailed | None = None
        for sse in [*self._order()]:
            self._current = self._make(sse=sse)
            memory.sse = sse
            try:
                await self._current.run(task_status=task_status)
            except HandshakeFailed as reason:
                memory.sse = False
                redacted = reason.redacted(self._peer.redact)
                failed = self._or_next(redacted, failed, sse=sse)
        raise failed or ConnectionLost("it ended")

    def open(self, call: Call) -> Exchange:
        """Send a request."""
        return self._current.open(call)

    def notify(self, method: str, params: Fields) -> None:
        """Send a notification; where that isn't possible it is dropped."""
        self._current.notify(method, params)

    def __repr__(self) -> str:
        return f"<HttpConnection {self._current!r}>"

    def _order(self) -> Iterator[bool]:
        """Yield whether to speak HTTP+SSE, in the order of what to try."""
        if self._peer.transport.type is not None:
            yield self._peer.transport.type == "sse"
        elif self._terms.memory.sse:
            yield from (True, False)
        else:
            yield False
            if self._terms.pin == "auto" or self._terms.era is Era.LEGACY:
                yield True

    def _make(self, *, sse: bool) -> StreamableConnection | DuplexConnection:
        if not sse:
            return StreamableConnection(self._peer, self._terms, self._on_notification, self._tools)
        pinned = self._terms.pin != "auto" and self._terms.era is Era.LEGACY
        return DuplexConnection(
            lambda: open_sse_channel(self._peer),
            self._terms if pinned else attrs.evolve(self._terms, pin=Era.LEGACY.value),
            self._on_notification,
            DuplexLimits(in_flight=self._peer.limits.in_flight),
            self._peer.redact,
            throttle=self._peer.throttle,
        )

    def _or_next(
        self, reason: HandshakeFailed, failed: HandshakeFailed | None, *, sse: bool
    ) -> HandshakeFailed:
        """Decide whether a transport that failed leaves another one to try.

        Raises:
            HandshakeFailed: It doesn't.
        """
        if isinstance(reason, LoginRequired):
            raise reason
        if failed is not None:
            other = "streamable HTTP" if not sse else "HTTP+SSE"
            raise HandshakeFailed(f"{failed.reason}; over {other}: {reason.reason}") from reason
        if not sse and not isinstance(reason, NotStreamable):
            raise reason
        self._terms.memory.era = None
        return reason
