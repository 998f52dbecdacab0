"""How a program is started that may use only so much.

The limits of a process (setrlimit(2)) are set by a shell that then becomes the program: whatever
the program starts has them too, and none of it can have been started before. Without limits there
is no shell.
"""

import os
import resource
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from onemcp.backend.process._spec import ProcessSpec

SHELL: Final = "/bin/sh"
KILL_AFTER: Final = 1
"""How long after SIGXCPU a program that goes on is killed, in seconds of processor time."""


def command_line(spec: ProcessSpec, env: Mapping[str, str]) -> Sequence[str]:
    """Return what is to be executed for a program.

    Args:
        spec: The program.
        env: Its whole environment.
    """
    program = [spec.command, *spec.args]
    limits = [*_limits(spec)]
    if not limits or not _is_found(spec, env):  # what is not found is told best by itself
        return program
    script = " && ".join([*limits, 'exec "$@"'])
    return [SHELL, "-c", script, SHELL, *program]


def _limits(spec: ProcessSpec) -> Sequence[str]:
    found = []
    if spec.cpu is not None:
        found += [f"ulimit -S -t {spec.cpu}", f"ulimit -H -t {spec.cpu + KILL_AFTER}"]
    if spec.open_files is not None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = spec.open_files if hard == resource.RLIM_INFINITY else min(spec.open_files, hard)
        found += [f"ulimit -S -n {files}", f"ulimit -H -n {files}"]
    return found


def _is_found(spec: ProcessSpec, env: Mapping[str, str]) -> bool:
    path = Path(spec.cwd or ".") / spec.command
    if os.sep in spec.command:
        return path.is_file() and os.access(path, os.X_OK)
    return shutil.which(spec.command, path=env.get("PATH", os.defpath)) is not None
