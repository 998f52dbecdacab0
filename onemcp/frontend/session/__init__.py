"""Sessions of legacy clients: what holds between a handshake and its end."""

from __future__ import annotations

from .memory import SessionMemory
from .passport import Passports
from .registry import Sessions
from .session import MAX_IN_FLIGHT, Session, name_of
from .terms import OVER_PIPES, Deadlines, Opening

__all__ = [
    "MAX_IN_FLIGHT",
    "OVER_PIPES",
    "Deadlines",
    "Opening",
    "Passports",
    "Session",
    "SessionMemory",
    "Sessions",
    "name_of",
]
