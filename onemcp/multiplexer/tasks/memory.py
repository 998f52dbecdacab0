"""What is written down of tasks: one note for each principal, in the ledger.

A session survives a restart of onemcp, and so does what it has made. One note for all tasks of a
principal, rather than one for each, keeps a flood of tasks from crowding out the notes on sessions.
Several processes may share the ledger, so a note is changed in one transaction.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import trio

from onemcp.multiplexer.events import TaskEvent, TasksNotNoted
from onemcp.state import Ledger, Note, StateError

from .register import MAX_OF_ONE, Key, Known, TaskRef

MAX_BYTES: Final = 64 * 1024
"""How much is written down of one principal's tasks."""


class _Noted(msgspec.Struct, frozen=True, array_like=True):
    """One task, as it is written down."""

    ref: TaskRef
    made: float
    expires: float
    session: bytes
    has_ended: bool


_DECODER: Final = msgspec.msgpack.Decoder(list[_Noted])


class TaskMemory:
    """Writes down who has which tasks, and finds it again."""

    def __init__(
        self,
        ledger: Ledger,
        on_event: Callable[[TaskEvent], object],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Write to `ledger`, and say so to `on_event` where that fails."""
        self._ledger = ledger
        self._on_event = on_event
        self._now = wall_clock

    async def read(self, principal: str) -> list[Known]:
        """Return what is written down of a principal's tasks; nothing where that can't be read."""
        try:
            data = await self._run(self._ledger.read, _key_of(principal), math.inf)
        except StateError as error:
            self._on_event(TasksNotNoted(str(error)))
            return []
        return [
            Known(each.ref, each.made, each.expires, each.session, has_ended=each.has_ended)
            for each in _decoded(data)
        ]

    async def change(
        self, principal: str, added: Sequence[Known], removed: Collection[Key]
    ) -> None:
        """Write down tasks that were made, and no longer those that are gone."""
        new = [
            _Noted(each.ref, each.made, each.expires, each.session, each.has_ended)
            for each in added
        ]
        change = partial(self._changed, _key_of(principal), new, frozenset(removed))
        try:
            await self._run(self._ledger.change, _key_of(principal), change)
        except StateError as error:
            self._on_event(TasksNotNoted(str(error)))

    def _changed(
        self, key: bytes, added: list[_Noted], removed: frozenset[Key], data: bytes | None
    ) -> Note:
        now = self._now()
        tasks = {each.ref.key: each for each in _decoded(data) if each.expires > now}
        tasks.update({each.ref.key: each for each in added})
        kept = [each for task, each in tasks.items() if task not in removed]
        kept.sort(key=lambda each: (not each.has_ended, each.made))  # what matters least first
        del kept[: max(0, len(kept) - MAX_OF_ONE)]
        while len(encoded := msgspec.msgpack.encode(kept)) > MAX_BYTES:
            del kept[: 1 + len(kept) // 8]
        expires = max((each.expires for each in kept), default=now)
        return Note(key, now, expires, encoded)

    @property
    def _run(self) -> Callable[..., Awaitable[Any]]:
        return trio.to_thread.run_sync if self._ledger.is_durable else _at_once


def _key_of(principal: str) -> bytes:
    return hashlib.sha256(b"tasks of " + principal.encode()).digest()


def _decoded(data: bytes | None) -> list[_Noted]:
    try:
        return [] if data is None else _DECODER.decode(data)
    except msgspec.MsgspecError:
        return []


async def _at_once(function: Callable[..., Any], *args: object) -> Any:
    await trio.lowlevel.checkpoint()
    return function(*args)
