"""What the pages ask of whoever logs in at backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class LoginFailed(Exception):
    """There is no login at a backend; the message is for the person in front of the browser."""


class Connections(Protocol):
    """Logins at backends that come back through the gateway."""

    async def finish(self, answer: Mapping[str, Sequence[str]], cookie: str, address: str) -> str:
        """Finish a login that a browser has come back from.

        Args:
            answer: The parameters that it came back with.
            cookie: What it holds.
            address: Where it is.

        Returns:
            The backend.

        Raises:
            LoginFailed: There is no login.
        """
