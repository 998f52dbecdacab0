"""Prometheus' own tool: the one on PATH, or that of Debian's package, which is not installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.skipping import skip_unless_ci

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "promtool"
TIMEOUT = 300
"""Seconds to download a package of 20 MB, and the list of packages if need be."""


def promtool() -> str:
    """Return the program; leave the test out where it can't be had."""
    found = shutil.which("promtool")
    if found is not None:
        return found
    program = CACHE / "usr" / "bin" / "promtool"
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / "promtool.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _unpack()
    return str(program)


def _unpack() -> None:
    if shutil.which("apt-get") is None:
        skip_unless_ci("there is neither promtool here nor apt-get to get it with")
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        if not _run(folder, "apt-get", "download", "prometheus"):
            _run(folder, "apt-get", "update")
            _run(folder, "apt-get", "download", "prometheus")
        packages = list(Path(folder).glob("prometheus_*.deb"))
        if not packages:
            skip_unless_ci("promtool could not be downloaded: apt-get download prometheus")
        subprocess.run(["dpkg", "-x", str(packages[0]), f"{folder}/x"], check=True, timeout=TIMEOUT)
        (Path(folder) / "x" / "usr" / "bin" / "prometheus").unlink()  # 50 MB that nobody needs
        os.replace(f"{folder}/x", CACHE)  # noqa: PTH105 - a folder


def _run(folder: str, *command: str) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode == 0
