"""Processes of stdio backends: a minimal environment, an orderly end, and nothing left behind.

`open_process` starts a program and ends all of its tree. `Guardian` does so when the gateway itself
was killed. On Linux processes are found by a marker in their environment, wherever they have gone;
elsewhere by their process group, and by the marker where ``ps`` may show environments.

What escapes is a process that clears its environment, starts a session of its own *and* has lost
its parent before the stop. Only a cgroup holds such a one (systemd: ``KillMode=control-group``).
"""

from onemcp.backend.process._errors import (
    GuardianError,
    ProcessError,
    ProcessLeftBehindError,
    ProcessStartError,
    describe_exit,
)
from onemcp.backend.process._guardian import Guardian
from onemcp.backend.process._process import Process, open_process
from onemcp.backend.process._spec import ProcessInstance, ProcessSpec, StopPolicy
from onemcp.backend.process._stderr import StderrLimits
from onemcp.backend.process._sweep import main as guardian_main

__all__ = [
    "Guardian",
    "GuardianError",
    "Process",
    "ProcessError",
    "ProcessInstance",
    "ProcessLeftBehindError",
    "ProcessSpec",
    "ProcessStartError",
    "StderrLimits",
    "StopPolicy",
    "describe_exit",
    "guardian_main",
    "open_process",
]
