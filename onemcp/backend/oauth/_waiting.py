"""Logins that wait for a browser to come back to the gateway: one sealed file for each.

Theory of operation: whoever begins such a login, `onemcp login` or a page of the gateway, may be
another process than the one that the browser comes back to. What that one needs to know waits in a
file that is found by a digest of the state, is good once and for a while, and is of no use to
anybody without the keys. To remove the file is to take the login: of several who try, one succeeds.
These functions block on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from onemcp.state import Keyring, SealBroken, Sealer, create_private, read_private

from ._login import PendingLogin

DIRECTORY: Final = "callbacks"
PURPOSE: Final = "login that waits for a browser"

LIFETIME: Final = 600.0
"""How long a browser may take, in seconds."""

MAX_WAITING: Final = 256
"""How many logins may wait; the oldest makes room for one more."""

_STATE: Final = re.compile(r"[\w-]{20,128}", re.ASCII)
_SUFFIX: Final = ".sealed"


@attrs.frozen
class WaitingLogin:
    """A login that waits for a browser.

    Attributes:
        backend: The name of the backend.
        url: Its address: the login is no good for any other.
        pending: What has been asked for.
        user: Whose login it is to be; "" for the one that everybody shares.
        browser: A digest of what the browser holds that has begun it, which alone may end it; ""
            where it was begun on the operator's terminal.
        expires: When it is over, in seconds since the epoch.
        replica: Which of several addresses of the backend it is at; "" where there is one.
    """

    backend: str
    url: str
    pending: PendingLogin = attrs.field(repr=False)
    user: str = ""
    browser: str = attrs.field(default="", repr=False)
    expires: float = 0.0
    replica: str = ""

    def is_begun_by(self, cookie: str) -> bool:
        """Tell whether a browser that holds a cookie may end it."""
        return not self.browser or hmac.compare_digest(self.browser, digest(cookie))


def new_cookie() -> str:
    """Return something for a browser to hold that begins a login."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what a secret is known again by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class WaitingLogins:
    """The logins of one state directory that wait."""

    def __init__(
        self, state_directory: Path, keyring: Keyring, now: Callable[[], float] = time.time
    ) -> None:
        """Keep them sealed with the keys of `keyring`; nothing is read or made yet."""
        self._directory = state_directory / DIRECTORY
        self._sealer = Sealer(keyring, PURPOSE, WaitingLogin)
        self._now = now

    def __repr__(self) -> str:
        return f"<WaitingLogins {self._directory}>"

    def put(self, waiting: WaitingLogin) -> None:
        """Let a login wait, for as long as that may take.

        Raises:
            StateError: It can't be written.
        """
        self._make_room()
        waiting = attrs.evolve(waiting, expires=self._now() + LIFETIME)
        path = self._path(waiting.pending.authorization.state)
        create_private(path, self._sealer.seal(waiting).encode())

    def has(self, state: str) -> bool:
        """Tell whether the login with a state waits still."""
        return self._path(state).exists()

    def take(self, state: str, cookie: str) -> WaitingLogin | None:
        """Return the login that an answer belongs to; nobody else gets it any more.

        Args:
            state: What the answer says.
            cookie: What the browser holds. From another one than the login was begun with nothing
                is taken: it goes on waiting for the right one.

        Returns:
            The login; None where none waits that this could be the answer to.

        Raises:
            StateError: The file can't be read or trusted.
        """
        if not _STATE.fullmatch(state):
            return None
        path = self._path(state)
        data = read_private(path)
        if data is None:
            return None
        try:
            waiting = self._sealer.open(data.decode("ascii", "replace"))
        except SealBroken:
            return None
        if not waiting.pending.authorization.expects(state) or not waiting.is_begun_by(cookie):
            return None
        try:
            path.unlink()
        except OSError:
            return None  # somebody else has taken it just now
        return waiting if self._now() < waiting.expires else None

    def _path(self, state: str) -> Path:
        return self._directory / (digest(state) + _SUFFIX)

    def _make_room(self) -> None:
        made: list[tuple[float, Path]] = []
        for path in self._directory.glob("*" + _SUFFIX):
            with contextlib.suppress(OSError):
                made.append((path.stat().st_mtime, path))
        made.sort(reverse=True)
        for number, (at, path) in enumerate(made, start=1):
            if number >= MAX_WAITING or at <= time.time() - LIFETIME:
                path.unlink(missing_ok=True)
