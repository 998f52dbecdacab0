"""Tasks, in both designs: their ids, who has them, and what of them a client is shown."""

from __future__ import annotations

from .ids import TaskIds, TaskNames, check_declared, offers_tasks, read_task
from .register import TaskRef

__all__ = ["TaskIds", "TaskNames", "TaskRef", "check_declared", "offers_tasks", "read_task"]
