"""Operating a running gateway: its state, its logs, and what may be done with its backends.

Theory of operation: :class:`Control` is the one implementation of every operation; what it returns
is what JSON has. :class:`Endpoint` serves it as JSON over HTTP under ``/control``, with events as
server-sent events, to two kinds of callers: to those whose token has the scope ``admin``, and over
a Unix socket (:mod:`onemcp.runtime`) to the user that onemcp runs as, and to root, whom the kernel
vouches for. :class:`Journal` hears every event and remembers the last ones of each backend.
"""

from __future__ import annotations

from .endpoint import Endpoint
from .errors import ControlError
from .events import OperatorActed, PeerRefused
from .journal import Journal
from .operations import ACTIONS, Action, Control, Governed

__all__ = [
    "ACTIONS",
    "Action",
    "Control",
    "ControlError",
    "Endpoint",
    "Governed",
    "Journal",
    "OperatorActed",
    "PeerRefused",
]
