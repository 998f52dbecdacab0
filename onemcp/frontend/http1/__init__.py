"""HTTP/1.1 for Hypercorn's Trio worker, with as little in the way of a request as Trio allows.

Theory of operation: one task serves a connection from its first byte to its last. It reads, lets
httptools parse, runs the ASGI application itself, and writes; nothing is started, queued, locked
or timed for a request. What that task doesn't see while the application runs, it is told:
:class:`.connections.Connections` looks after all connections at once, with one task for their
deadlines and one that waits for clients to hang up. Whatever a client sends too early waits in its
socket, which is all the flow control there is.

It is as strict as h11, and stricter where the two of them leave a choice: what could be read in
two ways is refused (RFC 9112, sections 5, 6 and 11.2).

Everything else is Hypercorn's: its configuration, its logger, its worker's context where there is
one, and TLS, HTTP/2 and WebSockets, which its own server keeps serving, imported when the first
connection wants it.
"""

from __future__ import annotations

from .connections import Connections
from .context import Context, ServerContext
from .server import PARTING_SECONDS, Http1Server

__all__ = ["PARTING_SECONDS", "Connections", "Context", "Http1Server", "ServerContext"]
