"""Small secret files: read with their permissions checked, replaced in one step.

A writer holds the directory's lock, writes everything into one temporary file, forces it to the
disk and renames it over the target. A reader therefore needs no lock: it sees the old file, the
new one or none, never a part. A writer killed at any byte leaves at most the temporary file, which
nobody reads and the next writer removes, and the kernel lets go of its lock.

These functions block on the disk: call them before the run starts, or in a thread.
"""

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from onemcp.state._errors import StateError, StateUnwritable

T = TypeVar("T")

MAX_FILE_BYTES = 65_536
LOCK_PATIENCE = 10.0
LOCK_INTERVAL = 0.01

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def prepare_directory(directory: Path) -> None:
    """Make the directory if need be, for its owner only, and check that no one else may write.

    Raises:
        StateError: It cannot be made, or others could replace the files in it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        raise StateUnwritable(
            f"Cannot use {directory} as the state directory: {error.strerror}. "
            "Choose a directory that this user may write to."
        ) from error
    if mode & WRITABLE_BY_OTHERS:
        raise StateError(
            f"Other users may write to the state directory {directory} (mode {mode:04o}), "
            f"and so replace the keys in it. Run: chmod 700 {directory}"
        )


def read_or_create(path: Path, create: Callable[[], bytes]) -> bytes:
    """Read a secret file of the state directory; at the first start, make it and its directory.

    Of several processes that start at once, one makes it and all get the same.

    Args:
        path: The file; the lock for it stands beside it.
        create: Gives what to begin with.

    Raises:
        StateError: It cannot be read, trusted or written.
    """
    prepare_directory(path.parent)
    data = read_private(path)
    if data is None:
        with locked(path.with_suffix(".lock")):
            data = read_private(path)
            if data is None:
                data = create()
                write_private(path, data)
    return data


def create_private(path: Path, data: bytes) -> None:
    """Write a secret file of the state directory whose name nobody else knows.

    Raises:
        StateError: It cannot be written.
    """
    prepare_directory(path.parent)
    write_private(path, data)


def update(
    path: Path,
    change: Callable[[bytes | None], tuple[bytes | None, T]],
    *,
    max_bytes: int = MAX_FILE_BYTES,
) -> T:
    """Change a secret file of the state directory, as the only one to do so meanwhile.

    Args:
        path: The file; the lock for it stands beside it. Its directory is made if need be.
        change: Gets the content, None where there is no file; gives the new content, None to leave
            it as it is, and what to return. What it raises leaves the file as it is.
        max_bytes: How large the file may be.

    Raises:
        StateError: It cannot be read, trusted or written.
    """
    prepare_directory(path.parent)
    with locked(path.with_suffix(".lock")):
        data, result = change(read_private(path, max_bytes))
        if data is not None:
            write_private(path, data)
    return result


def read_shared(path: Path, original: str, option: str) -> bytes:
    """Read a secret file that is shared with other instances, and made by nobody here.

    Args:
        path: The file.
        original: What it is called in the state directory of an instance.
        option: The option of the configuration that names it.

    Raises:
        StateError: It is not there, or cannot be read or trusted.
    """
    data = read_private(path)
    if data is None:
        raise StateError(
            f"There is no {path}, which {option} names. Copy {original} there from a backup, or "
            "from the state directory of the instance to share it with, and keep it as secret."
        )
    return data


def read_private(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
    """Read a file that is its owner's only.

    Args:
        path: The file.
        max_bytes: How large it may be.

    Returns:
        The content, or None where there is no such file.

    Raises:
        StateError: Others may read it, it is no plain file, it is too large or unreadable.
    """
    try:
        # O_NONBLOCK: a FIFO must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _check_private(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise StateError(f"{path} is larger than {max_bytes} bytes. Restore it from a backup.")
    return data


def _unreadable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"Cannot read {path}: {error.strerror}. It must belong to the user that onemcp runs as."
    )


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"{path} is not a plain file. Move it away.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & FOR_OTHERS:
        raise StateError(
            f"Other users may use {path} (mode {mode:04o}), which holds secret keys. "
            f"Run: chmod 600 {path}"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that keeps writers of one file apart, within and across processes.

    Raises:
        StateError: The lock cannot be had.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unlockable(path, error) from error
    try:
        _wait_lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take a lock for what takes longer than to write a file; it ends with the process, too.

    Args:
        path: The file of the lock; its directory is made if need be.

    Returns:
        A descriptor that holds the lock until `os.close`; None where somebody else holds it, in
        this process or another one.

    Raises:
        StateError: There can be no such lock.
    """
    prepare_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unlockable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise _unlockable(path, error) from error
    return descriptor


def _unlockable(path: Path, error: OSError) -> StateError:
    return StateUnwritable(
        f"Cannot lock {path}: {error.strerror}. "
        "Choose a state directory on a local disk that this user may write to."
    )


def _wait_lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StateError(
                    f"Another process has held {path} for {LOCK_PATIENCE:g} s. "
                    "Is a stopped onemcp still around?"
                ) from None
            time.sleep(LOCK_INTERVAL)
        except OSError as error:
            raise _unlockable(path, error) from error
        else:
            return


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step; the caller holds the lock. When this returns, it is on disk.

    Raises:
        StateError: The file cannot be written; what was there before is untouched.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  (created with its mode, at once)
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateUnwritable(
            f"Cannot write {path}: {error.strerror}. Make room, or make the directory writable."
        ) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
