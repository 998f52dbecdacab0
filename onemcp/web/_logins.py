"""Who has logged in with which browser.

Theory of operation: a browser gets a random id in a cookie, and another one when somebody logs in,
so that nobody can have known it before. What a form sends back besides is derived from the id and
from the request that the form is about: another site can't know it (CSRF), and a form that was made
for one request does nothing for another.

Over plain HTTP, which is for this machine only, other programs of this machine may see cookies:
browsers send them to every port. So there a login is good for the one request that it was made for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import Final

import attrs

MAX_LOGINS: Final = 1000
LOGIN_SECONDS: Final = 3600.0
"""How long somebody stays logged in, over HTTPS."""

REQUEST_SECONDS: Final = 600.0
"""How long somebody may take to agree."""


@attrs.frozen
class Login:
    """Somebody who has logged in.

    Attributes:
        subject: Who.
        since: When, in seconds since the epoch.
        until: For how long.
        only_for: The one request that it counts for; empty if it counts for all.
    """

    subject: str
    since: float
    until: float
    only_for: str


class Logins:
    """The browsers that somebody has logged in with."""

    def __init__(self) -> None:
        """Know none yet."""
        self._secret = secrets.token_bytes(32)
        self._logins: OrderedDict[str, Login] = OrderedDict()

    def __repr__(self) -> str:
        return f"<{len(self._logins)} logins>"

    @staticmethod
    def now() -> float:
        """Return the time that logins go by, in seconds since the epoch."""
        return time.time()

    def new_browser(self) -> str:
        """Make an id for a browser."""
        return secrets.token_urlsafe(32)

    def log_in(self, subject: str, query: str, now: float, *, secure: bool) -> str:
        """Remember that somebody has logged in.

        Args:
            subject: Who.
            query: The request that it was for.
            now: The time, in seconds.
            secure: Whether nobody else gets to see the cookie.

        Returns:
            The browser's new id.
        """
        browser = self.new_browser()
        until = now + (LOGIN_SECONDS if secure else REQUEST_SECONDS)
        self._logins[browser] = Login(subject, now, until, "" if secure else query)
        if len(self._logins) > MAX_LOGINS:
            self._logins.popitem(last=False)
        return browser

    def find(self, browser: str, query: str, now: float) -> Login | None:
        """Tell who has logged in with a browser, so that it counts for a request."""
        login = self._logins.get(browser)
        if login is None or login.only_for not in {"", query}:
            return None
        if now >= login.until:
            del self._logins[browser]
            return None
        return login

    def log_out(self, browser: str) -> None:
        """Forget who has logged in with a browser."""
        self._logins.pop(browser, None)

    def form_token(self, browser: str, query: str) -> str:
        """Return what a form about a request sends back."""
        message = f"{browser}\n{query}".encode()
        return hmac.digest(self._secret, message, hashlib.sha256).hex()

    def is_form_token(self, token: str, browser: str, query: str) -> bool:
        """Tell whether a form was made here, for this browser and this request."""
        expected = self.form_token(browser, query)
        return bool(browser) and hmac.compare_digest(
            token.encode("utf-8", "replace"), expected.encode()
        )
