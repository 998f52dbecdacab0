"""Where clients come in: the MCP endpoint as a plain ASGI application, and legacy sessions.

:class:`Application` lets requests in and finds out their era; :mod:`.modern` and :mod:`.legacy`
serve them.
"""

from __future__ import annotations

from .application import OWNER, Application, Operate, Route
from .asgi import Bounds, HttpRefusal, Scope, Wire, header, respond
from .events import (
    RequestDenied,
    RequestFailed,
    SessionNotNoted,
    SessionTakenOver,
    SessionUnknown,
    TokenAccepted,
)
from .forwarded import TrustedProxies
from .legacy import LegacyFrontend
from .oauth import OAuth
from .session import Deadlines, Passports, SessionMemory, Sessions
from .stdio import StdioFrontend
from .wellknown import PATH

__all__ = [
    "OWNER",
    "PATH",
    "Application",
    "Bounds",
    "Deadlines",
    "HttpRefusal",
    "LegacyFrontend",
    "OAuth",
    "Operate",
    "Passports",
    "RequestDenied",
    "RequestFailed",
    "Route",
    "Scope",
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
    "respond",
]
