"""What an operator is told that didn't work."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final


class ControlError(Exception):
    """An operation that can't be carried out.

    Attributes:
        status: The HTTP status that goes with it.
        code: What went wrong, in a word that never changes.
        near: The name that was probably meant, if one is.
    """

    def __init__(self, status: int, code: str, message: str, near: str | None = None) -> None:
        """Say what is at fault, and what to do."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.near = near

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {"code": self.code, "message": str(self)}
        return {"error": told if self.near is None else told | {"near": self.near}}


NO_SUCH_PATH: Final = "unknown_path"


def unknown_backend(name: str, known: Iterable[str]) -> ControlError:
    """Return the refusal of a name that no backend has."""
    names = list(known)
    near = next(iter(get_close_matches(name, names, 1)), None)
    hint = f"did you mean {near!r}?" if near else f"there is {', '.join(names) or 'none'}"
    return ControlError(404, "unknown_backend", f"there is no backend {name!r}; {hint}", near)


def is_disabled(name: str) -> ControlError:
    """Return the refusal to do anything with a backend that the configuration has disabled."""
    message = f'backend {name!r} is disabled: remove "enabled": false from its configuration'
    return ControlError(409, "disabled", message)
