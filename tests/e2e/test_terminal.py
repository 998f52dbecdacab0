"""A terminal that closes ends what was started in it, in order, unless nohup says otherwise."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 60
PROGRAM = """
import fcntl, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
# Whatever runs the tests may ignore the signal, as nohup does, and hand that down.
is_ignored = sys.argv[1] == "nohup"
signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
from onemcp.cli import main
sys.exit(main(["run", "--port", "0"]))
"""


@contextlib.contextmanager
def started(how: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run onemcp in a terminal of its own, and yield its other end once it serves."""
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder / how)},
    )
    os.close(inside)
    said, deadline = b"", time.monotonic() + PATIENCE
    try:
        while b"backend_ready" not in said:
            assert time.monotonic() < deadline, said
            if select.select([terminal], [], [], 1.0)[0]:
                said += os.read(terminal, 65536)
        yield process, terminal
    finally:
        process.kill()
        process.wait()


def test_it_ends_in_order(tmp_path: Path):
    with started("plain", tmp_path) as (process, terminal):
        os.close(terminal)
        assert process.wait(PATIENCE) == 0


def test_under_nohup_it_goes_on(tmp_path: Path):
    with started("nohup", tmp_path) as (process, terminal):
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.terminate()
        assert process.wait(PATIENCE) == 0
