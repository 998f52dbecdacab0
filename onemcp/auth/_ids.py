"""Ids of tokens, clients and grants."""

from __future__ import annotations

import secrets
from typing import Final

ID_BYTES: Final = 16


def new_id() -> str:
    """Make an id that nobody can guess, and that a person can hand to a command.

    It never begins with ``-``, as one in 64 would: a command would take that for an option.
    """
    while (made := secrets.token_urlsafe(ID_BYTES)).startswith("-"):
        pass
    return made
