"""The file that audit lines are written to: one JSON object each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

AUDIT_FILE: Final = "audit.log"
"""Its name in the state directory."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""How large it may become; then it takes the place of the one before."""

MAX_TEXT: Final = 512
UNSAID: Final[tuple[object, ...]] = (None, "", (), [])
MAX_ITEMS: Final = 64


class AuditFile:
    """Appends lines. Several processes may do so at once."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Write to a file, which is made when there is something to write.

        Args:
            path: The file; what was in it stays.
            clock: Tells the time, in seconds since the epoch.
        """
        self._path = path
        self._clock = clock

    def write(self, fields: Mapping[str, Any]) -> None:
        """Write one line, with the time and those of some fields that say anything. Never raises.

        Args:
            fields: Numbers, texts, which are shortened, or sequences of those.
        """
        said = {name: _bounded(value) for name, value in fields.items() if value not in UNSAID}
        line = {"time": round(self._clock(), 3), **said}
        try:
            self._append(json.dumps(line).encode() + b"\n")
        except OSError:
            return  # to stop serving because of it would be to let anybody stop it

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line)
            full = os.fstat(descriptor).st_size >= MAX_BYTES
        finally:
            os.close(descriptor)
        if full:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, int):
        return value
    items = [str(item)[:MAX_TEXT] for item in value]
    more = len(items) - MAX_ITEMS
    return items if more <= 0 else [*items[:MAX_ITEMS], f"and {more} more"]
