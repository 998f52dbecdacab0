"""Where clients come in: the MCP endpoint as a plain ASGI application, and legacy sessions.

:class:`Application` lets requests in and finds out their era; :mod:`.modern` and :mod:`.legacy`
serve them.
"""

from __future__ import annotations

from .application import OWNER, Application, Operate, Page, Route
from .asgi import (
    Bounds,
    HttpRefusal,
    Scope,
    Wire,
    header,
    read_body,
    respond,
    send_part,
    start_stream,
)
from .events import (
    RequestDenied,
    RequestFailed,
    SessionEnded,
    SessionNotNoted,
    SessionTakenOver,
    SessionUnknown,
    TokenAccepted,
)
from .forwarded import TrustedProxies
from .legacy import LegacyFrontend
from .oauth import OAuth
from .session import OVER_PIPES, Deadlines, Passports, SessionMemory, Sessions
from .stdio import StdioFrontend
from .wellknown import PATH, STATUS

__all__ = [
    "OVER_PIPES",
    "OWNER",
    "PATH",
    "STATUS",
    "Application",
    "Bounds",
    "Deadlines",
    "HttpRefusal",
    "LegacyFrontend",
    "OAuth",
    "Operate",
    "Page",
    "Passports",
    "RequestDenied",
    "RequestFailed",
    "Route",
    "Scope",
    "SessionEnded",
    "SessionMemory",
    "SessionNotNoted",
    "SessionTakenOver",
    "SessionUnknown",
    "Sessions",
    "StdioFrontend",
    "TokenAccepted",
    "TrustedProxies",
    "Wire",
    "header",
    "read_body",
    "respond",
    "send_part",
    "start_stream",
]
