"""The control socket: a Unix socket that only its owner and root reach.

Theory of operation: the directory is for its owner only and so is the socket, and on every
connection the kernel is asked who is there, so that neither a careless umask nor a shared directory
opens it. Of two processes that start at once, one gets the socket: binding it is done under a lock
on the directory. A socket that nobody listens on is what a killed process has left behind, and is
removed; one that somebody listens on is an error. Only the process that made a socket removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import attrs

BACKLOG: Final = 128
LONGEST_PATH: Final = 103
"""What fits into the address of a Unix socket, in bytes: 107 on Linux, 103 on macOS."""

CONNECT_SECONDS: Final = 2.0
"""How long it is tried to find out whether somebody listens."""

OWNER_ONLY: Final = 0o600
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class SocketUnusable(Exception):
    """The control socket can't be made."""


class SocketInUse(Exception):
    """Another process listens on the control socket.

    Attributes:
        path: The socket.
        pid: The process, if the kernel tells.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        """Name who is there."""
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"onemcp runs already with this configuration: {who} listens on {path}. "
            "Stop it, or give this one a socket of its own with --socket."
        )
        self.path = path
        self.pid = pid


@attrs.frozen
class Peer:
    """Who is at the other end of a connection.

    Attributes:
        pid: The process, if that is known.
        uid: The user.
    """

    pid: int | None
    uid: int


@attrs.frozen
class ControlSocket:
    """A socket that is listened on.

    Attributes:
        path: Where it is.
        listener: The socket.
    """

    path: Path
    listener: socket.socket
    _inode: int

    def close(self) -> None:
        """Stop to listen, and remove the socket if it is still this one."""
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        self.listener.close()


def open_socket(path: Path) -> ControlSocket:
    """Listen on a Unix socket, whose directory is made for its owner only if need be.

    Raises:
        SocketInUse: Somebody listens on it.
        SocketUnusable: It can't be made, or others could replace it.
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise SocketUnusable(
            f"The path of the control socket is too long: {path}. "
            f"Choose one of at most {LONGEST_PATH} bytes with --socket."
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path.parent):
            _check_directory(path.parent)
            _clear(path)
            return _bind(path)
    except OSError as error:
        raise SocketUnusable(
            f"Cannot make the control socket {path}: {error.strerror or error}. "
            "Choose another place with --socket."
        ) from error


class Asked(Protocol):
    """What of a socket is asked who is at its other end."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return an option of the socket."""


def peer_of(connection: Asked) -> Peer | None:
    """Ask the kernel who is at the other end; None where it doesn't tell."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack("3i", told)
        return Peer(pid, uid)
    if hasattr(socket, "LOCAL_PEERCRED"):  # pragma: no cover  (macOS: struct xucred)
        told = connection.getsockopt(0, socket.LOCAL_PEERCRED, 76)
        return Peer(None, struct.unpack_from("II", told)[1])
    return None  # pragma: no cover


def is_trusted(peer: Peer | None) -> bool:
    """Tell whether somebody may do everything: the user that this process runs as, and root."""
    return peer is not None and peer.uid in {0, os.geteuid()}


def is_alive(path: Path) -> Peer | None:
    """Tell who listens on a socket; None if nobody does.

    Raises:
        OSError: It can't be told.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(path))
        except OSError as error:
            if error.errno in {errno.ECONNREFUSED, errno.ENOENT}:
                return None
            raise
        return peer_of(probe) or Peer(None, -1)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_directory(directory: Path) -> None:
    status = directory.stat()
    # In a sticky directory, such as /tmp, others can't replace what isn't theirs.
    if status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & stat.S_ISVTX:
        raise SocketUnusable(
            f"Other users may write to {directory}, and so replace the control socket. "
            f"Run: chmod 700 {directory}"
        )


def _clear(path: Path) -> None:
    """Remove what a process has left behind that was killed.

    Raises:
        SocketInUse: Somebody listens on it.
        SocketUnusable: It is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketUnusable(f"{path} is no socket, and is left alone. Name another with --socket.")
    try:
        peer = is_alive(path)
    except OSError:
        raise SocketInUse(path, None) from None  # too busy to answer, or another user's
    if peer is not None:
        raise SocketInUse(path, peer.pid)
    path.unlink()


def _bind(path: Path) -> ControlSocket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(OWNER_ONLY)
        inode = path.lstat().st_ino
        listener.listen(BACKLOG)  # nobody gets in before
    except BaseException:
        listener.close()
        raise
    return ControlSocket(path, listener, inode)
