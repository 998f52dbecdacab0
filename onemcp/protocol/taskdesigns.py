"""Tasks of one design as the other one has them.

2025-11-25 keeps a task's result apart from its description; the extension has everything in one,
keeps JSON-RPC errors apart from results that say that something went wrong, and has other names
for times (2025-11-25, Tasks, Data Types; Tasks extension, Tasks).
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from . import meta
from .errors import InvalidParams
from .fields import Fields, join, plain, raw, split, value_of
from .tasks import TASK, TASK_ID
from .translation import COMPLETE, RESULT_TYPE

POLL_DEFAULT: Final = 1.0
POLL_SHORTEST: Final = 0.02
POLL_LONGEST: Final = 60.0
"""How long to wait before a task is asked about again, in seconds: if its server doesn't say, and
whatever it says."""

_INLINED: Final = ("result", "error", "inputRequests", RESULT_TYPE, meta.META)
"""What the extension says of a task beyond what 2025-11-25 does."""

_NAMES: Final = (("ttl", "ttlMs"), ("pollInterval", "pollIntervalMs"))
"""The same members, in 2025-11-25 and in the extension."""


def as_extension(task: Fields, task_id: str, **more: Raw) -> Fields:
    """Describe a task of 2025-11-25 as the extension does.

    Args:
        task: What the backend says.
        task_id: The client's id of it.
        more: What is to be added, or said in another way.
    """
    fields = {key: value for key, value in task.items() if key != meta.META}
    for old, new in _NAMES:
        if old in fields:
            fields[new] = fields.pop(old)
    fields.setdefault("ttlMs", Raw(b"null"))
    return {RESULT_TYPE: COMPLETE, **fields, TASK_ID: raw(task_id), **more}


def as_handle(task: Fields, task_id: str) -> Raw:
    """Write a ``CreateTaskResult`` of the extension for a task of 2025-11-25."""
    return join(as_extension(task, task_id, resultType=raw(TASK)))


def as_legacy(task: Fields, task_id: str) -> Fields:
    """Describe a task of the extension as 2025-11-25 does.

    There a tool's result that is an error makes its task a failed one (Task Execution Errors).

    Args:
        task: What the backend says.
        task_id: The client's id of it.
    """
    fields = {key: value for key, value in task.items() if key not in _INLINED}
    for old, new in _NAMES:
        if new in fields:
            fields[old] = fields.pop(new)
    fields.setdefault("ttl", Raw(b"null"))
    if value_of(task, "status", str) == "completed" and _is_error(task.get("result")):
        fields["status"] = raw("failed")
    return {**fields, TASK_ID: raw(task_id)}


def offering_task(tool: Raw) -> Raw:
    """Say of a tool that it can be called as a task (2025-11-25, Tool-Level Negotiation)."""
    try:
        fields = split(tool, "tool")
        execution = split(fields.get("execution", Raw(b"{}")), "execution")
    except InvalidParams:
        return tool
    execution.setdefault("taskSupport", raw("optional"))
    return join({**fields, "execution": join(execution)})


def poll_after(task: Fields) -> float:
    """Return when a task of the extension is to be asked about again, in seconds from now."""
    wanted = plain(task.get("pollIntervalMs"))
    if not isinstance(wanted, int | float) or isinstance(wanted, bool):
        return POLL_DEFAULT
    return min(max(wanted / 1000, POLL_SHORTEST), POLL_LONGEST)


def _is_error(result: Raw | None) -> bool:
    try:
        return result is not None and plain(split(result).get("isError")) is True
    except InvalidParams:
        return False
