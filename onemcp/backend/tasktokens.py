"""Progress tokens that outlive the calls that brought them, because these have made tasks.

Implements 2025-11-25, Tasks, Task Progress Notifications: the token of the first request is valid
as long as its task lives.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import attrs
import trio
from msgspec import Raw

from onemcp.protocol import meta, tasks
from onemcp.protocol.fields import Fields, join, plain, raw, value_of
from onemcp.protocol.jsonrpc import Notification, Response
from onemcp.protocol.methods import PROGRESS, TASKS_CANCEL, TASKS_RESULT

from .exchange import Answer, Exchange

MAX_TOKENS: Final = 4096
"""How many tokens are kept; of more, the oldest are forgotten."""

_FINAL: Final = frozenset({TASKS_RESULT, TASKS_CANCEL})
"""Methods whose result says that the task has come to its end."""


@attrs.frozen
class _Kept:
    """A token that is kept.

    Attributes:
        token: The client's own token.
        task: The backend's id of the task.
        until: When the task's time is over, by Trio's clock.
    """

    token: Raw
    task: str
    until: float


class TaskTokens:
    """The tokens of one connection."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def on_answer(self, exchange: Exchange, answer: Answer) -> None:
        """Keep the token of a call that has made a task, until the task has ended."""
        call = exchange.call
        if call.method in _FINAL and isinstance(answer, Response):
            self.end(value_of(call.params, tasks.TASK_ID, str))
        if exchange.progress_token is None or not isinstance(answer, Response):
            return
        asks_for_one = call.task is not None or tasks.TASK in call.params
        made = tasks.made_task(answer.result) if asks_for_one else None
        task_id = None if made is None else value_of(made, tasks.TASK_ID, str)
        if made is None or task_id is None:
            return
        ttl = plain(made.get("ttl"))
        until = trio.current_time() + ttl / 1000 if isinstance(ttl, int) else math.inf
        self._kept[exchange.id] = _Kept(exchange.progress_token, task_id, until)
        if len(self._kept) > MAX_TOKENS:
            self._kept.popitem(last=False)

    def find(self, token: object, params: Fields) -> tuple[str, Notification] | None:
        """Return the task that progress belongs to, and the notification in its caller's terms.

        Args:
            token: The token that it names.
            params: The parameters of the notification.
        """
        kept = self._kept.get(token) if isinstance(token, int) else None
        if kept is None or kept.until < trio.current_time():
            return None
        related = raw({tasks.TASK_ID: kept.task})
        fields = meta.set_meta({**params, "progressToken": kept.token}, {tasks.RELATED: related})
        return kept.task, Notification(PROGRESS, join(fields))

    def on_status(self, params: Fields) -> None:
        """Forget the token of a task that has come to its end."""
        if value_of(params, "status", str) in tasks.TERMINAL:
            self.end(value_of(params, tasks.TASK_ID, str))

    def end(self, task_id: str | None) -> None:
        """Forget the token of a task."""
        for token in [token for token, kept in self._kept.items() if kept.task == task_id]:
            del self._kept[token]
