"""What processes cost: processor time and memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
_SCHEDULED = 2
"""With a process's id, the clock of what it has used with all threads, those that have ended too
(clock_getcpuclockid(3))."""


def cpu(*pids: int) -> float:
    """Return the processor time that processes have used, in seconds, to the nanosecond."""
    return sum(time.clock_gettime(~pid << 3 | _SCHEDULED) for pid in pids)


def memory(*pids: int) -> float:
    """Return the resident memory of processes, in MiB."""
    return sum(_resident(pid) for pid in pids) / 1024


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def make_backend(folder: Path) -> tuple[list[str], str]:
    """Return the command of the backend, in C where that can be compiled, and its language."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is not None:
        program = folder / "echo"
        compiled = subprocess.run([compiler, "-O2", "-o", program, HERE / "echo.c"], check=False)
        if compiled.returncode == 0:
            return [str(program)], "C"
    return [sys.executable, "-S", "-E", str(HERE / "backend.py")], "Python"


@contextmanager
def piped(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a backend on pipes."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def http_backend() -> Iterator[str]:
    """Run the backend on HTTP, and give its address."""
    command = [sys.executable, "-E", str(HERE / "backend.py"), "--http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        finally:
            process.terminate()
