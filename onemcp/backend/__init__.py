"""What one backend is: transports, handshake, catalogue, subscriptions, and their supervision.

* :class:`Backend` is what lasts; its `serve` is one incarnation, run by its own supervisor.
* :class:`Connection` is what a transport provides; :mod:`.duplex` and :mod:`.http` implement it.
* :class:`Exchange` is one request in flight.
"""

from __future__ import annotations

from .backend import Backend
from .breaker import Breaker, BreakerState
from .call import Call, Caller
from .connection import Connection, ConnectionLost, HandshakeFailed, ServerDescription
from .events import (
    BackendDown,
    BackendEvent,
    BackendReady,
    BackendSessionEnded,
    BackendStderr,
    BreakerClosed,
    BreakerOpened,
    InstanceLost,
    InstanceReady,
    InstanceRetired,
    InteractiveFound,
    ItemRejected,
    ListFailed,
    LoginNoticed,
    QuestionOfNobody,
    ReplicaDown,
    ReplicaReady,
    ReplicasDiffer,
    SecretExposed,
    TokenNotRenewed,
    ToolWithheld,
    UserConnected,
    UserDisconnected,
)
from .exchange import Answer, Exchange, Incoming
from .personal import Member, PersonalBackend, Roster, check_login, user_of
from .redaction import Redactor, redactor_for
from .replica import Replica, keep_state, replica_of
from .replicas import ReplicatedBackend
from .setup import BackendObserver, Identity, Setup
from .standing import CONNECTION, STOPPED
from .starting import StartQueue
from .succession import open_call, open_call_nowait

__all__ = [
    "CONNECTION",
    "STOPPED",
    "Answer",
    "Backend",
    "BackendDown",
    "BackendEvent",
    "BackendObserver",
    "BackendReady",
    "BackendSessionEnded",
    "BackendStderr",
    "Breaker",
    "BreakerClosed",
    "BreakerOpened",
    "BreakerState",
    "Call",
    "Caller",
    "Connection",
    "ConnectionLost",
    "Exchange",
    "HandshakeFailed",
    "Identity",
    "Incoming",
    "InstanceLost",
    "InstanceReady",
    "InstanceRetired",
    "InteractiveFound",
    "ItemRejected",
    "ListFailed",
    "LoginNoticed",
    "Member",
    "PersonalBackend",
    "QuestionOfNobody",
    "Redactor",
    "Replica",
    "ReplicaDown",
    "ReplicaReady",
    "ReplicasDiffer",
    "ReplicatedBackend",
    "Roster",
    "SecretExposed",
    "ServerDescription",
    "Setup",
    "StartQueue",
    "TokenNotRenewed",
    "ToolWithheld",
    "UserConnected",
    "UserDisconnected",
    "check_login",
    "keep_state",
    "open_call",
    "open_call_nowait",
    "redactor_for",
    "replica_of",
    "user_of",
]
