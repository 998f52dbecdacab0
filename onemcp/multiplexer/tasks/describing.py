"""What a backend says about a task, as far as it is remembered."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import join, plain, split, value_of
from onemcp.protocol.meta import META

from .register import Known, Register

MAX_SEEN: Final = 4096
"""How large a description of a task is that is kept whole, in bytes."""

_DEFINED: Final = ("status", "createdAt", "lastUpdatedAt", "ttl", "pollInterval")


def note_task(register: Register, known: Known, task: Raw) -> None:
    """Take note of what a backend says about a task, in the terms of 2025-11-25."""
    try:
        fields = split(task, "the task")
    except InvalidParams:
        return
    if len(task) > MAX_SEEN:
        fields = {key: fields[key] for key in _DEFINED if len(fields.get(key, task)) <= MAX_SEEN}
    fields.pop(META, None)
    ttl = plain(fields.get("ttl"))
    ttl = ttl if isinstance(ttl, int | float) and not isinstance(ttl, bool) else None
    status = value_of(fields, "status", str)
    register.seen(known, status, ttl, join(fields))
