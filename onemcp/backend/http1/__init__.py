"""A client of HTTP/1.1 for backends, with as little in the way of a request as Trio allows.

Theory of operation: a :class:`Pool` keeps connections to one origin, and gives each request one of
its own until the response is closed. The task that asks does everything itself: it writes the
request at once, waits for the socket, and lets httptools parse what comes; nothing is started,
queued, locked or timed for a request. What the server sends too early waits in its socket, which
is all the flow control there is.

It is as strict as h11: what could be read in two ways ends the connection (RFC 9112, sections 6
and 11.1). A request is sent a second time only where the first connection took nothing of it
(RFC 9110, section 9.2.2).

It knows nothing of redirects, cookies, proxies and content codings: those who use it look after
what they need of them.
"""

from __future__ import annotations

from ._errors import (
    ConnectError,
    ConnectionBroke,
    ConnectTimeout,
    HttpError,
    LocalProtocolError,
    RemoteProtocolError,
)
from ._exchange import Response
from ._pool import Origin, Pool

__all__ = [
    "ConnectError",
    "ConnectTimeout",
    "ConnectionBroke",
    "HttpError",
    "LocalProtocolError",
    "Origin",
    "Pool",
    "RemoteProtocolError",
    "Response",
]
