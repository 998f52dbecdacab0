"""Tell the service manager how the service is (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

LONGEST_STATUS: Final = 500
"""How much of a status is sent; people read it in one line."""


class Notifier:
    """Sends datagrams to the service manager, if there is one; never blocks, never raises.

    Attributes:
        is_wanted: Whether somebody listens.
    """

    def __init__(self, address: str | None) -> None:
        """Send to a socket.

        Args:
            address: What ``$NOTIFY_SOCKET`` says: a path, or ``@`` and an abstract name.
        """
        self._address = address
        self._status = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """Return what talks to the manager that has started the process."""
        return cls(environ.get("NOTIFY_SOCKET"))

    @property
    def is_wanted(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def ready(self, status: str = "") -> None:
        """Say that the service has started, or has reloaded its configuration."""
        self._send("READY=1", *self._described(status))

    def reloading(self) -> None:
        """Say that the configuration is being reloaded; `ready` ends that."""
        # systemd compares the time with that of its own request (Type=notify-reload).
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """Say that the service is being stopped."""
        self._send("STOPPING=1", *self._described(status))

    def status(self, status: str) -> None:
        """Say in one line how the service is, if that has changed."""
        if status != self._status:
            self._send(*self._described(status))

    def alive(self) -> None:
        """Say that the service is alive, before the watchdog bites."""
        self._send("WATCHDOG=1")

    def _described(self, status: str) -> tuple[str, ...]:
        if not status:
            return ()
        self._status = status
        return ("STATUS=" + " ".join(status.split())[:LONGEST_STATUS],)

    def _send(self, *assignments: str) -> None:
        if not self._address or not assignments:
            return
        address = self._address
        if address.startswith("@"):
            address = "\0" + address[1:]
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # A manager that has gone, or is too busy, is no reason to stop serving.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
            sender.sendto("\n".join(assignments).encode(), address)


def watchdog_seconds(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Return within which time the manager wants a sign of life; None where it wants none.

    Args:
        environ: The environment.
        pid: The process; by default this one.
    """
    pid = os.getpid() if pid is None else pid
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    wanted = environ.get("WATCHDOG_USEC", "")
    return int(wanted) / 1e6 if wanted.isdecimal() and int(wanted) else None
