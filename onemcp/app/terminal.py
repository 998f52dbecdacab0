"""Telling a terminal that closes from a request to reload: both come as SIGHUP."""

from __future__ import annotations

import os
import signal
from typing import Final

import attrs

TERMINAL: Final = "/dev/tty"
"""The terminal that controls the process; it can't be opened once that has gone."""


@attrs.frozen
class Terminal:
    """The terminal that this process was started from, if it was.

    Attributes:
        counts: Whether its end is to end the process: not where there is none, nor under `nohup`,
            which ignores the signal.
    """

    counts: bool

    @classmethod
    def at_start(cls) -> Terminal:
        """Look for it, before anything else takes the signal."""
        return cls(signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _is_there())

    @property
    def has_closed(self) -> bool:
        """Whether it has gone, so that SIGHUP means that."""
        return self.counts and not _is_there()


def _is_there() -> bool:
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
