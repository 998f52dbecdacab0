"""Backends over HTTP: streamable HTTP in both eras, and HTTP+SSE of 2024-11-05.

`connect_http` finds out which of them a backend speaks. `StreamableConnection` and
`open_sse_channel` are the two on their own.
"""

from onemcp.backend.http._client import Peer
from onemcp.backend.http._connect import HttpConnection, connect_http
from onemcp.backend.http._problems import NotStreamable, SessionLost
from onemcp.backend.http._session import Tools
from onemcp.backend.http._sse import SseChannel, open_sse_channel
from onemcp.backend.http._streamable import StreamableConnection

__all__ = [
    "HttpConnection",
    "NotStreamable",
    "Peer",
    "SessionLost",
    "SseChannel",
    "StreamableConnection",
    "Tools",
    "connect_http",
    "open_sse_channel",
]
