"""The state machine of a child, as a table. This file knows nothing else.

Theory of operation: a child is always in one `ChildState`. The supervisor's task, and nobody else,
moves it along by naming a `Step`; `advance` looks the pair up in `TRANSITIONS`. A pair that is not
in the table is a bug of this package and raises `IllegalStepError`. The diagram in
``docs/explanation/supervision.md`` is what `mermaid` prints (a test compares them).

``END`` means "and nobody will start it again by itself", ``RETRY`` means "and it is due to be
started again at a known time", ``PAUSE`` means "the allowance of restarts is used up; it is tried
again after the cool-down".
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

__all__ = ["ALIVE", "TRANSITIONS", "ChildState", "IllegalStepError", "Step", "advance", "mermaid"]


class ChildState(Enum):
    """Name what a child is doing."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    PAUSED = "paused"
    STOPPED = "stopped"


class Step(Enum):
    """Name what happens to a child."""

    SPAWN = "spawn"
    ACKNOWLEDGE = "acknowledge"
    CANCEL = "cancel"
    RETRY = "retry"
    PAUSE = "pause"
    END = "end"


class IllegalStepError(AssertionError):
    """Report a step that the table does not know: a bug of this package."""


ALIVE: Final = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})
"""The states in which a task of the child exists."""

_DOWN: Final = {
    Step.RETRY: ChildState.RESTARTING,
    Step.PAUSE: ChildState.PAUSED,
    Step.END: ChildState.STOPPED,
}

TRANSITIONS: Final = MappingProxyType(
    {
        ChildState.PENDING: {
            Step.SPAWN: ChildState.STARTING,
            Step.PAUSE: ChildState.PAUSED,
            Step.END: ChildState.STOPPED,
        },
        ChildState.STARTING: {
            Step.ACKNOWLEDGE: ChildState.RUNNING,
            Step.CANCEL: ChildState.STOPPING,
            **_DOWN,
        },
        ChildState.RUNNING: {Step.CANCEL: ChildState.STOPPING, **_DOWN},
        ChildState.STOPPING: dict(_DOWN),
        ChildState.RESTARTING: {Step.SPAWN: ChildState.STARTING, **_DOWN},
        ChildState.PAUSED: {Step.SPAWN: ChildState.STARTING, **_DOWN},
        ChildState.STOPPED: {
            Step.RETRY: ChildState.RESTARTING,
            Step.PAUSE: ChildState.PAUSED,
        },
    }
)
"""For each state, the steps it allows and where they lead."""


def advance(state: ChildState, step: Step) -> ChildState:
    """Return the state that follows.

    Args:
        state: The state now.
        step: What happens.

    Raises:
        IllegalStepError: The table has no such step.
    """
    try:
        return TRANSITIONS[state][step]
    except KeyError:
        raise IllegalStepError(f"a child that is {state.value} cannot {step.value}") from None


def mermaid() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {ChildState.PENDING.value}"]
    lines += [
        f"    {state.value} --> {target.value}: {step.value}"
        for state, steps in TRANSITIONS.items()
        for step, target in steps.items()
    ]
    return "\n".join(lines)
