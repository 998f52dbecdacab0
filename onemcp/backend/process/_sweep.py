"""Find the processes that carry a marker, and end them.

This file is a module of the package and, on its own, the guardian's program: it is run with
``python -I -S`` and must not import anything but a few small modules of the standard library.

A process is ours if the marker (128 random bits) is in the environment it was started with, if it
is in a given session or process group, or if it descends from such a process. The environment is
inherited by whatever a wrapper forks, and stays when a process starts a session of its own and is
given to another parent. Permission to read the environment is the filter for the user. Zombies do
not count: only their parent can end them.

One scan is not enough. A process which is being forked, or is about to execute another program,
may be missed, so callers scan until several scans in a row have found nothing. A process is
named by its id *and* its start time, and signalled through a pidfd, so that no other process which
was given the same id is ever hit.

Linux reads /proc. Elsewhere ``ps`` prints environments where the system permits it.
"""
# pathlib would double the guardian's memory.
# ruff: noqa: PTH110, PTH123, PTH208

import os
import signal
import sys
import time

PATIENCE = 2.0  # seconds from SIGTERM to SIGKILL
LIMIT = 15.0  # seconds until processes which cannot be killed are given up
CALM = 3  # scans in a row which must find nothing
PAUSE = 0.02  # seconds between two scans
READY = b"ready\n"

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP")
_PS = ("/bin/ps", "-A", "-E", "-ww", "-o", "pid=,ppid=,pgid=,stat=,command=")
_PS_FIELDS = 5
_MARKER_DIGITS = 32


class Row:
    """One living process.

    Attributes:
        pid: Its id.
        parent: The id of its parent.
        groups: Its process group and its session.
        started: When it was started, in the kernel's units; 0 if that is not known.
        marked: Whether it carries the marker.
    """

    __slots__ = ("groups", "marked", "parent", "pid", "started")

    def __init__(
        self, pid: int, parent: int, groups: tuple[int, ...], *, started: int, marked: bool
    ) -> None:
        self.pid = pid
        self.parent = parent
        self.groups = groups
        self.started = started
        self.marked = marked


def find(marker: str, group: int = 0, known: dict[int, int] | None = None) -> dict[int, int]:
    """Return the living processes that belong to a marker, with the start time of each.

    Args:
        marker: What to look for in environments.
        group: A process group and session whose members belong to it as well; 0 for none.
        known: What was found before. It may have been found through a parent that is gone.

    Raises:
        OSError: The processes could not be listed, for want of file descriptors perhaps.
    """
    if os.path.exists("/proc/self/environ"):
        rows = proc_rows(marker.encode())
    else:  # pragma: no cover (not on Linux)
        rows = ps_rows(marker.encode(), _ps())
    return select(rows, group, known or {})


def select(rows: list[Row], group: int, known: dict[int, int]) -> dict[int, int]:
    """Choose marked and known processes, members of the group, and all that descend from those."""
    own = os.getpid()
    found = {
        row.pid: row.started
        for row in rows
        if row.marked
        or (group and group in row.groups)
        or (row.pid in known and known[row.pid] == row.started)
    }
    found.pop(own, None)
    grown = True
    while grown:
        new = {r.pid: r.started for r in rows if r.parent in found and r.pid not in found}
        new.pop(own, None)
        found.update(new)
        grown = bool(new)
    return found


def proc_rows(marker: bytes) -> list[Row]:
    """List the living processes from /proc."""
    rows = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            state, parent, group, session, started = _stat(name)
        except _GONE:
            continue
        if state in b"ZX":
            continue
        try:
            marked = marker in _read(f"/proc/{name}/environ")
        except _GONE:
            marked = False
        rows.append(Row(int(name), parent, (group, session), started=started, marked=marked))
    return rows


def ps_rows(marker: bytes, output: bytes) -> list[Row]:
    """List the living processes from the output of ``ps``."""
    rows = []
    for line in output.splitlines():
        fields = line.split(None, _PS_FIELDS - 1)
        if len(fields) < _PS_FIELDS or fields[3].startswith(b"Z"):
            continue
        pid, parent, group = map(int, fields[:3])
        rows.append(Row(pid, parent, (group,), started=0, marked=marker in fields[4]))
    return rows


def send(signum: int, pid: int, started: int) -> None:
    """Signal a process, unless it is gone or its id belongs to another one by now."""
    try:
        if not hasattr(os, "pidfd_open"):  # pragma: no cover (not on Linux)
            os.kill(pid, signum)
            return
        handle = os.pidfd_open(pid)
        try:
            if not started or _stat(str(pid))[4] == started:
                signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)
    except _GONE:
        pass


def sweep(marker: str, *, patience: float = PATIENCE, limit: float = LIMIT) -> dict[int, int]:
    """End every process that carries the marker: SIGTERM, then SIGKILL until none is left.

    Args:
        marker: What to look for in environments.
        patience: Seconds from SIGTERM to SIGKILL.
        limit: Seconds until survivors are given up.

    Returns:
        The survivors: usually none.
    """
    begin = time.monotonic()
    asked: set[tuple[int, int]] = set()
    calm = 0
    found: dict[int, int] = {}
    while calm < CALM and (elapsed := time.monotonic() - begin) < limit:
        try:
            found = find(marker, 0, found)
        except OSError:  # tried again until the limit
            calm = 0
        else:
            calm = 0 if found else calm + 1
        for process in found.items():
            if elapsed >= patience:
                send(signal.SIGKILL, *process)
            elif process not in asked:
                asked.add(process)
                send(signal.SIGTERM, *process)
        time.sleep(PAUSE)
    return found


def main(arguments: list[str]) -> int:
    """Run the guardian: wait until the gateway is gone, then end what it has left behind.

    Stdin is a pipe whose other end only the gateway holds: it ends with the gateway, however the
    gateway may end. Stdout is told once that signals are ignored from now on.

    Args:
        arguments: The marker of the gateway's run.

    Returns:
        The exit status.
    """
    marker = arguments[-1] if arguments else ""
    if len(marker) != _MARKER_DIGITS or marker.strip("0123456789abcdef"):
        sys.stderr.write("guardian: expected a marker of 32 hexadecimal digits\n")
        return 2
    for name in _IGNORED:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    return stand_guard(marker, 0, (1, 2))


def stand_guard(marker: str, gateway: int, outputs: tuple[int, ...]) -> int:
    """Say that the guard stands, wait for the gateway's end, and sweep.

    Args:
        marker: The marker of the gateway's run.
        gateway: The descriptor that is at its end when the gateway is gone.
        outputs: Descriptors nobody will read from any more; the first is told.

    Returns:
        The exit status: 0 if nothing is left.
    """
    os.write(outputs[0], READY)
    null = os.open(os.devnull, os.O_RDWR)
    for output in outputs:
        os.dup2(null, output)
    os.close(null)
    while os.read(gateway, 512):
        pass
    return 1 if sweep(marker) else 0


def _stat(pid: str) -> tuple[bytes, int, int, int, int]:
    # The name of the program, in parentheses, may itself hold spaces and parentheses.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19])


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _ps() -> bytes:  # pragma: no cover (not on Linux)
    import subprocess  # noqa: PLC0415 (large, and not needed on Linux)

    return subprocess.run(  # noqa: S603  # the command is a constant
        _PS, stdin=subprocess.DEVNULL, capture_output=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
