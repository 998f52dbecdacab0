"""Supervise tasks as Erlang/OTP does, on Trio.

A library of its own: it knows nothing of the program around it. Describe children with `ChildSpec`,
give them to a `Supervisor` (a known list, in order) or add them to a `DynamicSupervisor` (children
that come and go), and run it with ``await nursery.start(supervisor.run)``.
``docs/explanation/supervision.md`` explains it.
"""

from onemcp.supervision._backoff import Backoff
from onemcp.supervision._base import BaseSupervisor
from onemcp.supervision._dynamic import DynamicSupervisor
from onemcp.supervision._errors import (
    AlreadyRunningError,
    ChildNotRunningError,
    ChildRunningError,
    DuplicateChildError,
    NotAcknowledgedError,
    NotReadyError,
    RestartIntensityExceeded,
    SpecError,
    StartFailedError,
    StartOvertakenError,
    StartTimeout,
    SupervisionError,
    SupervisorNotRunningError,
    TooManyChildrenError,
    UnknownChildError,
)
from onemcp.supervision._events import Event, What
from onemcp.supervision._intensity import Intensity, RestartWindow
from onemcp.supervision._lifecycle import ChildState
from onemcp.supervision._policy import AutoShutdown, Escalate, Pause, Policy
from onemcp.supervision._reload import ReloadPlan, ReloadReport, plan_reload
from onemcp.supervision._snapshot import ChildSnapshot, Counts, Role, TreeSnapshot, next_attempt
from onemcp.supervision._spec import ChildSpec, Kind, Restart, StartFunction, Subtree
from onemcp.supervision._strategy import Strategy, affected
from onemcp.supervision._supervisor import Supervisor

__all__ = [
    "AlreadyRunningError",
    "AutoShutdown",
    "Backoff",
    "BaseSupervisor",
    "ChildNotRunningError",
    "ChildRunningError",
    "ChildSnapshot",
    "ChildSpec",
    "ChildState",
    "Counts",
    "DuplicateChildError",
    "DynamicSupervisor",
    "Escalate",
    "Event",
    "Intensity",
    "Kind",
    "NotAcknowledgedError",
    "NotReadyError",
    "Pause",
    "Policy",
    "ReloadPlan",
    "ReloadReport",
    "Restart",
    "RestartIntensityExceeded",
    "RestartWindow",
    "Role",
    "SpecError",
    "StartFailedError",
    "StartFunction",
    "StartOvertakenError",
    "StartTimeout",
    "Strategy",
    "Subtree",
    "SupervisionError",
    "Supervisor",
    "SupervisorNotRunningError",
    "TooManyChildrenError",
    "TreeSnapshot",
    "UnknownChildError",
    "What",
    "affected",
    "next_attempt",
    "plan_reload",
]
