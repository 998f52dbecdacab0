"""Take what systemd listens on for the service (sd_listen_fds(3), systemd.socket(5)).

Theory of operation: the manager opens the sockets before it starts the service, and keeps them
while it restarts it. Who connects meanwhile waits in the queue, and is served by the next process:
no connection is refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

FIRST: Final = 3
"""The number of the first descriptor that is handed over."""

MOST: Final = 64
HTTP: Final = "http"
"""The name of the socket that clients come by; one that is alone needs no name."""


class ActivationError(Exception):
    """What was handed over can't be served; the message says what to do."""


def inherited_sockets(
    environ: Mapping[str, str], pid: int | None = None, first: int = FIRST
) -> list[tuple[str, socket.socket]]:
    """Take the sockets that were handed over to this process, with their names.

    Programs that this process starts don't inherit them.

    Args:
        environ: The environment.
        pid: The process that they must be for; by default this one.
        first: The first descriptor.

    Raises:
        ActivationError: They are not what the environment says.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid() if pid is None else pid) or not count:
        return []
    if not count.isdecimal() or int(count) > MOST:
        raise ActivationError(f"LISTEN_FDS={count!r} is no number up to {MOST}")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for number in range(int(count)):
        descriptor = first + number
        name = names[number] if number < len(names) else ""
        try:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's
            found.append((name, socket.socket(fileno=descriptor)))
        except OSError as error:
            raise ActivationError(
                f"file descriptor {descriptor} was handed over, but is no socket: {error.strerror}"
            ) from error
    return found


def inherited_listener(
    environ: Mapping[str, str], pid: int | None = None, first: int = FIRST
) -> socket.socket | None:
    """Return the socket that clients come by, if it was handed over; others are closed.

    Args:
        environ: The environment.
        pid: As for `inherited_sockets`.
        first: As for `inherited_sockets`.

    Raises:
        ActivationError: It can't be told which one it is, or it is none that clients can come by.
    """
    found = inherited_sockets(environ, pid, first)
    listener: socket.socket | None = None
    try:
        listener = _chosen(found)
    finally:
        for _, other in found:
            if other is not listener:
                other.close()
    return listener


def _chosen(found: list[tuple[str, socket.socket]]) -> socket.socket | None:
    if not found:
        return None
    named = [each for name, each in found if name == HTTP] if len(found) > 1 else [found[0][1]]
    if len(named) != 1:
        raise ActivationError(
            f"{len(found)} sockets were handed over, and {len(named)} are named {HTTP!r}: give one "
            f"of them FileDescriptorName={HTTP}"
        )
    [listener] = named
    is_tcp = listener.family in {socket.AF_INET, socket.AF_INET6}
    accepts = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not (is_tcp and listener.type == socket.SOCK_STREAM and accepts):
        raise ActivationError(
            "the socket that was handed over is not one of TCP that listens: write "
            "ListenStream= with a port, and Accept=no"
        )
    listener.setblocking(False)  # noqa: FBT003 - the standard library's
    return listener
