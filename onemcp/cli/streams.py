"""The standard streams of this process, where whoever has started it has given it none."""

from __future__ import annotations

import os
import sys
from typing import Final

_MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}


def fill_standard_streams() -> None:
    """Let standard streams that are closed lead nowhere (`onemcp run >&-`).

    A socket or a file would get their numbers otherwise, and then what is printed.
    """
    for name, mode in _MODES.items():
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115  (for good)
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def leads_nowhere(name: str) -> bool:
    """Tell whether this process was started without one of its standard streams.

    Args:
        name: `stdin`, `stdout` or `stderr`.
    """
    return getattr(getattr(sys, name), "name", None) == os.devnull
