"""What was granted, for the commands that look at it and change it."""

from __future__ import annotations

import os
import time
from typing import TypeVar

from onemcp import config
from onemcp.auth.server import Change, Records, change_records, read_records
from onemcp.cli.failures import StateUnusable
from onemcp.state import StateError

T = TypeVar("T")


def known() -> Records:
    """Return what is known, without what is over.

    Raises:
        StateUnusable: It can't be read.
    """
    try:
        return read_records(config.state_directory(os.environ)).pruned(time.time(), 0)
    except StateError as error:
        raise StateUnusable(str(error)) from error


def changed(change: Change[T]) -> T:
    """Change it, which a gateway that runs sees at once; return what the change returns.

    Raises:
        StateUnusable: It can't be read or written.
    """
    try:
        return change_records(config.state_directory(os.environ), change)[1]
    except StateError as error:
        raise StateUnusable(str(error)) from error
