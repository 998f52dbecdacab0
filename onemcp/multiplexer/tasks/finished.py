"""Results of calls of which a client wanted a task, and the backend has made none.

A receiver that has tasks must answer with one (2025-11-25, Tasks, Result Retrieval). So onemcp
keeps the result itself, for a bounded time, as a task that has ended.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import attrs
from msgspec import Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import Fields, plain, raw, split

OWN: Final = "onemcp"
"""The instance that has such a task."""

KEPT: Final = 600.0
"""How long a result is kept, in seconds."""

MAX_RESULTS: Final = 1024
MAX_OF_ONE: Final = 64
"""How many results are kept, and how many of one principal; of more, the oldest are forgotten."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""How large they may be together; one is kept whatever its size."""


@attrs.frozen
class _Result:
    """A result that is kept.

    Attributes:
        principal: Whose it is.
        result: The result.
        task: The task that it is the result of, without its id.
        until: How long it is kept, as a Unix time.
    """

    principal: str
    result: Raw
    task: Fields
    until: float


class Finished:
    """The results that are kept."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        """Begin with none."""
        self._now = wall_clock
        self._results: OrderedDict[str, _Result] = OrderedDict()
        self._size = 0

    def keep(self, principal: str, result: Raw) -> str:
        """Keep a result of a principal, and return the id of its task."""
        now = self._now()
        at = raw(datetime.fromtimestamp(now, UTC).isoformat())
        status = "failed" if _is_error(result) else "completed"
        task = {"status": raw(status), "createdAt": at, "lastUpdatedAt": at}
        task["ttl"] = raw(int(KEPT * 1000))
        task_id = secrets.token_urlsafe(12)
        self._results[task_id] = _Result(principal, Raw(bytes(result)), task, now + KEPT)
        self._size += len(result)
        own = [key for key, each in self._results.items() if each.principal == principal]
        for key in own[:-MAX_OF_ONE]:
            self._forget(key)
        while len(self._results) > 1 and self._is_full(now):
            self._forget(next(iter(self._results)))
        return task_id

    def find(self, task_id: str) -> tuple[Fields, Raw] | None:
        """Return a task and its result; None where it is kept no more."""
        found = self._results.get(task_id)
        if found is None or found.until <= self._now():
            return None
        return found.task, found.result

    def __len__(self) -> int:
        return len(self._results)

    def _forget(self, task_id: str) -> None:
        self._size -= len(self._results.pop(task_id).result)

    def _is_full(self, now: float) -> bool:
        oldest = next(iter(self._results.values()))
        too_many = len(self._results) > MAX_RESULTS or self._size > MAX_BYTES
        return too_many or oldest.until <= now


def _is_error(result: Raw) -> bool:
    try:
        return plain(split(result).get("isError")) is True
    except InvalidParams:
        return False
