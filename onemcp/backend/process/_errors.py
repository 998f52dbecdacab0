"""What can go wrong with a backend's process, and how its end is told in words."""

import errno
import os
import shutil
import signal
from collections.abc import Mapping


class ProcessError(Exception):
    """Something about an operating system process went wrong."""


class ProcessStartError(ProcessError):
    """A program could not be started.

    Attributes:
        program: The command as configured.
        path: The PATH it was searched on.
        reason: What the operating system objected to, in words.
        remedy: What the operator can do about it.
    """

    def __init__(self, program: str, *, path: str, reason: str, remedy: str) -> None:
        super().__init__(f"cannot start {program!r}: {reason} (PATH is {path}). {remedy}")
        self.program = program
        self.path = path
        self.reason = reason
        self.remedy = remedy


class ProcessLeftBehindError(ProcessError):
    """Processes survived SIGKILL within the time the stop policy allows.

    Attributes:
        pids: The survivors.
    """

    def __init__(self, program: str, pids: tuple[int, ...]) -> None:
        listed = ", ".join(map(str, pids)) or "unknown"
        super().__init__(f"processes of {program!r} survived SIGKILL: {listed}")
        self.pids = pids


class GuardianError(ProcessError):
    """The guardian process could not be started, or died before the gateway."""


_REASONS: Mapping[int, tuple[str, str]] = {
    errno.ENOENT: (
        "no such program",
        "Install it, give its full path, or set PATH in the backend's env.",
    ),
    errno.EACCES: (
        "permission denied, or not an executable file",
        "Check that it is a program file and that this user may execute it (chmod +x).",
    ),
    errno.EPERM: ("not permitted", "Check the user, the mount options and the security policy."),
    errno.ENOTDIR: ("a part of its path is not a directory", "Correct the path."),
    errno.ELOOP: ("its path is a loop of symbolic links", "Correct the path."),
    errno.ENOEXEC: (
        "not in an executable format",
        "Start it with its interpreter, or give it a first line such as #!/bin/sh.",
    ),
    errno.E2BIG: ("arguments and environment are too long", "Pass less in args and env."),
    errno.EMFILE: ("the gateway has no file descriptor left", "Raise the limit (ulimit -n)."),
    errno.ENFILE: ("the system has no file descriptor left", "Raise fs.file-max."),
    errno.EAGAIN: ("the process limit is reached", "Raise the limit (ulimit -u, TasksMax)."),
    errno.ENOMEM: ("out of memory", "Free memory, or raise the limit of the container."),
}
_DIRECTORY_REASONS: Mapping[int, str] = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "is not a directory",
    errno.EACCES: "may not be entered by this user",
}
_INTERPRETER = (
    "the file exists, but the interpreter in its first line (or its loader) does not",
    "Install the interpreter, or start the file with another one.",
)


def start_error(
    error: OSError | ValueError, program: str, *, cwd: str | None, path: str
) -> ProcessStartError:
    """Map what `subprocess` raised to an error that says what to do.

    Args:
        error: The foreign exception.
        program: The command as configured.
        cwd: The configured working directory, if any.
        path: The PATH of the new process.
    """
    if not isinstance(error, OSError):
        reason, remedy = str(error), "Correct command, args, env and cwd."
    elif cwd is not None and error.filename == cwd and not os.access(cwd, os.X_OK):
        why = _DIRECTORY_REASONS.get(error.errno or 0, error.strerror)
        reason, remedy = f"its cwd {cwd!r} {why}", "Create the directory or correct cwd."
    elif cwd is not None and error.filename == cwd and error.errno == errno.ENOTDIR:
        reason, remedy = f"its cwd {cwd!r} is not a directory", "Correct cwd."
    elif error.errno == errno.ENOENT and shutil.which(program, path=path):
        reason, remedy = _INTERPRETER
    else:
        unknown = (error.strerror or str(error), "See errno(3) for what this error means.")
        reason, remedy = _REASONS.get(error.errno or 0, unknown)
    return ProcessStartError(program, path=path, reason=reason, remedy=remedy)


def describe_exit(code: int) -> str:
    """Say how a process ended: ``exited with status 3``, ``was killed by SIGKILL``.

    Args:
        code: The exit code; negative for the signal that killed it.
    """
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
