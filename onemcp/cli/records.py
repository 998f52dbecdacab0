"""What was granted, for the commands that look at it and change it."""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import TypeVar

import attrs

from onemcp import config
from onemcp.auth.server import (
    AUDIT_FILE,
    Audited,
    AuditFile,
    Change,
    Records,
    What,
    change_records,
    read_records,
)
from onemcp.cli.failures import ConfigurationUnusable, StateUnusable
from onemcp.state import StateError

T = TypeVar("T")


def configuration(path: Path | None) -> config.Configuration:
    """Return the configuration that a command is about; what holds by default where none is named.

    Raises:
        ConfigurationUnusable: It can't be used.
    """
    try:
        return config.Configuration() if path is None else config.load(path)
    except config.ConfigurationError as error:
        raise ConfigurationUnusable(str(error)) from error


def tell(what: What, **about: str) -> None:
    """Write down in the audit log what an operator has done.

    Args:
        what: What.
        about: Further attributes of `Audited`.
    """
    try:
        by = getpass.getuser()
    except (KeyError, OSError):
        by = str(os.getuid())
    file = AuditFile(config.state_directory(os.environ) / AUDIT_FILE)
    file.write(attrs.asdict(Audited(what=what, how="command line", by=by, **about)))


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
