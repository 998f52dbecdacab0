"""What failures are called, wherever they are counted or told."""

from __future__ import annotations

import re
from typing import Final

import trio

from onemcp.protocol.errors import LocalError, RemoteError, RequestCancelled

_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def kind_of(failure: type[BaseException]) -> str:
    """Return what a failure is called: the kinds are as many as there are classes of errors."""
    if issubclass(failure, RemoteError):
        return "remote"
    if issubclass(failure, trio.Cancelled | RequestCancelled):
        return "cancelled"
    return snake_case(failure.__name__) if issubclass(failure, LocalError) else "internal"


def snake_case(name: str) -> str:
    """Return the name of a class as names of events and failures are written."""
    return _WORD_START.sub("_", name).lower()
