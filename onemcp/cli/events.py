"""Which events are logged at which level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onemcp.app import (
    AcceptPaused,
    AcceptResumed,
    AddressChanged,
    AddressRefused,
    AnybodyMayCall,
    BodiesLogged,
    GrantsUnreadable,
    KeysFetched,
    KeysNotFetched,
    KeysNotRotated,
    KeysRotated,
    KeysUnreadable,
    LedgerReplaced,
    MessageSeen,
    NoControlSocket,
    ReloadApplied,
    SheddingChanged,
    StateUnavailable,
    Stopping,
)
from onemcp.backend import (
    BackendDown,
    BackendReady,
    BackendSessionEnded,
    BackendStderr,
    BreakerClosed,
    BreakerOpened,
    ConnectionLost,
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
from onemcp.config import LogLevel
from onemcp.control import OperatorActed, PeerRefused
from onemcp.frontend import (
    RequestDenied,
    RequestFailed,
    SessionEnded,
    SessionNotNoted,
    SessionTakenOver,
    SessionUnknown,
    TokenAccepted,
)
from onemcp.multiplexer import (
    CallParked,
    CallRepeated,
    CallResumed,
    ConflictsChanged,
    ParkedCallExpired,
    QuestionRefused,
    RetryRefused,
    TaskRefused,
    TasksNotNoted,
    UnmatchedPattern,
)
from onemcp.otlp import SpansLost, TelemetryDelivered, TelemetryUndelivered
from onemcp.pinning import DefinitionChanged, DefinitionsPinned, PinsUnusable
from onemcp.telemetry import LogEvents

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def new_log(logger: FilteringBoundLogger) -> LogEvents:
    """Return what logs every event of every room."""
    log = LogEvents(logger)
    log.told_otherwise(ConnectionLost)
    log.limit(
        CallRepeated,
        QuestionOfNobody,
        RequestDenied,
        RequestFailed,
        RetryRefused,
        SessionUnknown,
        TaskRefused,
    )
    _register_backends(log)
    log.register(ConflictsChanged, _of_conflicts)
    log.register(UnmatchedPattern, "warning", "No MCP server offers anything that it matches")
    log.register(CallRepeated, "info")
    log.register(CallParked, "debug")
    log.register(CallResumed, "debug")
    log.register(ParkedCallExpired, "info")
    log.register(QuestionRefused, "info")
    log.register(RetryRefused, "warning")
    log.register(TaskRefused, "warning")
    log.register(TasksNotNoted, "error")
    log.register(RequestDenied, "warning")
    log.register(TokenAccepted, "debug")
    log.register(RequestFailed, "error")
    log.register(KeysFetched, "debug")
    log.register(KeysNotFetched, "warning", "The keys that are known stay in use")
    log.register(KeysRotated, "info", "The keys before go on to verify; nobody is logged out")
    log.register(KeysNotRotated, "error", "Tokens are signed with the old key until then")
    log.register(KeysUnreadable, "error", "The keys that are known stay in use")
    log.register(SessionEnded, "debug")
    log.register(SessionTakenOver, "debug")
    log.register(SessionUnknown, "info")
    log.register(
        SessionNotNoted, "error", "What becomes of a session is not written down; see reason"
    )
    log.register(StateUnavailable, "warning", "Nothing outlives this process: sessions end with it")
    log.register(
        LedgerReplaced, "warning", "sessions.db was damaged; sessions of before have ended"
    )
    log.register(
        AnybodyMayCall, "warning", "auth.mode is none: whoever reaches this address may call"
    )
    log.register(GrantsUnreadable, "error", "What was granted before still counts")
    log.register(ReloadApplied, "info")
    log.register(OperatorActed, "info")
    log.register(PeerRefused, "warning", "Somebody else's process has come to the control socket")
    log.register(
        NoControlSocket, "warning", "`onemcp status` and the like can't reach this instance"
    )
    _register_telemetry(log)
    log.register(Stopping, "info", "What is in flight may end first")
    log.register(AddressChanged, "info")
    log.register(AcceptPaused, "error", "open connections go on; raise the limit of open files")
    log.register(AcceptResumed, "info")
    log.register(SheddingChanged, _of_shedding, "What is there goes on; see level and reason")
    log.register(AddressRefused, "error", "onemcp goes on listening where it did")
    return log


def _register_backends(log: LogEvents) -> None:
    log.register(BackendReady, "info")
    log.register(BackendDown, "warning")
    log.register(BackendSessionEnded, "debug")
    log.register(ReplicaReady, "info")
    log.register(ReplicaDown, "warning")
    log.register(ReplicasDiffer, "warning", "Replicas of a backend don't list the same")
    log.register(BackendStderr, "info")
    _register_lists(log)
    log.register(InstanceReady, "debug")
    log.register(InstanceLost, "warning")
    log.register(InstanceRetired, "debug")
    log.register(BreakerOpened, "warning", "Calls are refused until then")
    log.register(BreakerClosed, "info")
    log.register(InteractiveFound, _of_interactive)
    log.register(QuestionOfNobody, "info")
    log.register(LoginNoticed, "info")
    log.register(UserConnected, "info")
    log.register(UserDisconnected, "info")
    log.register(TokenNotRenewed, "warning", "A backend's access token could not be renewed")
    log.register(
        SecretExposed, "warning", "Any user of this machine may use this secret: chmod 600"
    )


def _register_telemetry(log: LogEvents) -> None:
    log.register(MessageSeen, "debug")
    log.register(
        BodiesLogged, "warning", "log.bodies is on: WHAT CLIENTS SEND AND GET IS WRITTEN TO THE LOG"
    )
    log.register(TelemetryUndelivered, "warning", "The OTLP collector doesn't take what it is sent")
    log.register(TelemetryDelivered, "info", "The OTLP collector takes what it is sent again")
    log.register(SpansLost, "warning", "Spans that could not be sent are given up")


def _of_interactive(event: InteractiveFound) -> LogLevel:
    # Where it is not certain, a question was refused.
    return "info" if event.certain else "warning"


def _register_lists(log: LogEvents) -> None:
    log.register(ItemRejected, "warning")
    log.register(ToolWithheld, "warning", "Modern clients over HTTP don't get to see the tool")
    log.register(ListFailed, "warning")
    log.register(DefinitionsPinned, "debug")
    log.register(
        DefinitionChanged, "warning", "It is not as it was approved: `onemcp approve` shows how"
    )
    log.register(PinsUnusable, "error", "What was approved is not known")


def _of_shedding(event: SheddingChanged) -> LogLevel:
    return "info" if event.level < event.before else "warning"


def _of_conflicts(event: ConflictsChanged) -> LogLevel:
    return "warning" if event.conflicts else "info"
