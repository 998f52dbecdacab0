"""The audit log: who was let in to what, and who was not; one JSON object a line.

It is a file of its own, because it is kept for other reasons than the ordinary log, and for other
people.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from onemcp.auth.server import Audited, What
from onemcp.control import OperatorActed, PeerRefused
from onemcp.frontend import RequestDenied
from onemcp.telemetry import scrub_text

from .events import ReloadApplied

MAX_BYTES: Final = 64 * 1024 * 1024
"""How large the file may become; then it takes the place of the one before."""

MAX_TEXT: Final = 512


class AuditLog:
    """Writes events that belong there; others are passed over. Owned by one task."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Write to a file, which is made when there is something to write.

        Args:
            path: The file; what was in it stays.
            clock: Tells the time, in seconds since the epoch.
        """
        self._path = path
        self._clock = clock

    def __call__(self, event: object) -> None:
        """Write one line about an event, if it belongs here. Never raises."""
        fields = _fields(event)
        if fields is None:
            return
        line = {"time": round(self._clock(), 3), **fields}
        try:
            self._write(json.dumps(line).encode() + b"\n")
        except OSError:
            return  # to stop serving because of it would be to let anybody stop it

    def _write(self, line: bytes) -> None:
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


def _fields(event: object) -> Mapping[str, Any] | None:
    if isinstance(event, Audited):
        told = attrs.asdict(event)
    elif isinstance(event, RequestDenied):
        told = {
            "what": What.ACCESS_REFUSED,
            "address": event.address,
            "resource": event.path,
            "reason": event.reason,
        }
    elif isinstance(event, OperatorActed):
        told = {"what": f"operator: {event.action}", "subject": event.by}
        told |= {"backend": event.backend, "outcome": event.outcome}
    elif isinstance(event, PeerRefused):
        told = {"what": What.ACCESS_REFUSED, "resource": "control socket", "uid": event.uid}
    elif isinstance(event, ReloadApplied):
        told = {"what": "configuration changed"}
    else:
        return None
    return {name: _fit(name, value) for name, value in told.items() if value}


def _fit(name: str, value: object) -> object:
    """Make what strangers wrote fit; why something was refused is in words of our own."""
    if not isinstance(value, str):
        return value
    return value[:MAX_TEXT] if name == "reason" else scrub_text(value)[:MAX_TEXT]
