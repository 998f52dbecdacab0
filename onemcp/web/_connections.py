"""What the pages ask of whoever logs in at backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs


class LoginFailed(Exception):
    """There is no login at a backend; the message is for the person in front of the browser."""


@attrs.frozen
class Offer:
    """A backend that a user can log in at.

    Attributes:
        backend: Its name.
        address: Where it is.
        has_login: Whether the user has logged in there already.
    """

    backend: str
    address: str
    has_login: bool


class Connections(Protocol):
    """Logins at backends that come back through the gateway."""

    async def offer(self, name: str, user: str) -> Offer | None:
        """Return what a user can log in at; None where that user can't."""

    async def begin(self, name: str, origin: str, *, user: str, cookie: str) -> str:
        """Begin a login.

        Args:
            name: The backend.
            origin: The gateway's, as the browser sees it.
            user: Whose login it is to be.
            cookie: What the browser holds that alone may finish it.

        Returns:
            Where to send the browser.

        Raises:
            LoginFailed: None is possible.
        """

    async def forget(self, name: str, user: str) -> None:
        """Forget a user's login at a backend, and end what was open with it."""

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
