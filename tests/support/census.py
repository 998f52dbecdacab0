"""What there is of everything in a run of Trio, to see that none of it grows."""

from __future__ import annotations

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT


def tasks() -> int:
    """Count all tasks of this run."""
    root, count = trio.lowlevel.current_root_task(), 0
    left = [root] if root is not None else []
    while left:
        task = left.pop()
        count += 1
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


def timers() -> int:
    """Count the deadlines that are waited for in this run."""
    return GLOBAL_RUN_CONTEXT.runner.deadlines._active
