"""How the onemcp that runs is started again, by others: by service managers, and by clients."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

EXECUTABLE: Final = "ONEMCP_EXECUTABLE"
"""Set by the launcher of the executable: its own path, which the unpacked program is none of."""


def own_command() -> tuple[str, ...]:
    """Return the words that start onemcp as this one was started, from wherever."""
    if getattr(sys, "frozen", False):
        return (os.environ.get(EXECUTABLE) or sys.executable,)
    import zipfile  # noqa: PLC0415 - for the few commands that install something

    program = Path(sys.argv[0])
    if program.is_file() and zipfile.is_zipfile(program):
        return (sys.executable, str(program.absolute()))
    return (sys.executable, "-m", "onemcp")
