"""People: how they log in, by a password or by the code on the operator's terminal."""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from onemcp.auth._passwords import NOBODY, verify_password
from onemcp.auth.server._errors import ACCESS_DENIED, OAuthError
from onemcp.auth.server._limits import RateLimit
from onemcp.auth.server._policy import OPERATOR, Policy

VERIFICATIONS: Final = 2
"""How many passwords are checked at once: each takes tens of megabytes."""

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ23456789"
CODE_LETTERS: Final = 8
CODE_ATTEMPTS: Final = 10
"""How many wrong codes a code survives."""


def _normal(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter.isascii() and letter.isalnum())


class LoginCode:
    """The code on the operator's terminal, which lets one person in, once."""

    def __init__(self, show: Callable[[str], object]) -> None:
        """Make a code, and show it and each of its successors by `show`."""
        self._show = show
        self._code = ""
        self._wrong = 0
        self.renew()

    def __repr__(self) -> str:
        return "<LoginCode>"

    def renew(self) -> None:
        """Make another code."""
        self._code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LETTERS))
        self._wrong = 0
        half = CODE_LETTERS // 2
        self._show(f"{self._code[:half]}-{self._code[half:]}")

    def take(self, code: str) -> bool:
        """Use it up, if it is the one. After too many wrong ones there is another."""
        if hmac.compare_digest(_normal(code).encode(), self._code.encode()):
            self.renew()
            return True
        self._wrong += 1
        if self._wrong >= CODE_ATTEMPTS:
            self.renew()
        return False


@attrs.frozen
class LogIn:
    """What somebody says to get in.

    Attributes:
        name: The name; empty with a code.
        password: The password.
        code: The code on the terminal.
        address: Where the browser is.
    """

    name: str
    password: str = attrs.field(repr=False)
    code: str = attrs.field(repr=False)
    address: str


class Door:
    """Lets people in, and not too often.

    Attributes:
        code: The code on the terminal; None if there is none.
    """

    def __init__(self, code: LoginCode | None = None) -> None:
        """Let in by passwords, and by a code if there is one."""
        self.code = code
        self._by_address = RateLimit(10, 60.0)
        self._by_name = RateLimit(10, 300.0)
        self._threads = trio.CapacityLimiter(VERIFICATIONS)

    async def open(self, attempt: LogIn, policy: Policy, now: float) -> str:
        """Tell who somebody is.

        Args:
            attempt: What is said.
            policy: Who may log in.
            now: The time, in seconds since the epoch.

        Raises:
            TooManyRequests: There have been too many attempts.
            OAuthError: It is not right; whether there is such a person is not told.
        """
        self._by_address.check(attempt.address, now)
        if attempt.code:
            self._by_name.check("", now)
            if self.code is not None and self.code.take(attempt.code):
                return OPERATOR
            raise _wrong("wrong code")
        # Names that don't exist count too, or how often one may try would tell them apart.
        self._by_name.check(attempt.name, now)
        person = policy.people.get(attempt.name)
        stored = NOBODY if person is None or not person.password else person.password
        check = partial(verify_password, attempt.password, stored)
        right = await trio.to_thread.run_sync(check, limiter=self._threads)
        if person is None or not right:
            raise _wrong("wrong password" if person is not None else "no such user")
        self._by_name.forget(attempt.name)
        return person.name

    @property
    def longest(self) -> float:
        """How long somebody may have to wait after too many attempts, in seconds."""
        return math.ceil(max(self._by_address.period, self._by_name.period))


def _wrong(reason: str) -> OAuthError:
    return OAuthError(ACCESS_DENIED, "That is not right. Try again.", status=403, reason=reason)
