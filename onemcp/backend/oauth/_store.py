"""Logins in the state directory: one sealed file for each backend, or for each of its users.

Where a backend has several addresses there is a file for each of them: an access token is for one
resource server alone (RFC 8707; 2026-07-28, Authorization, Token Audience Binding and Validation).

A file is written whole or not at all, so another process may write it at any time: `onemcp login`
does, and the gateway sees it. These functions block on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from onemcp.backend.places import login_command
from onemcp.state import (
    Keyring,
    SealBroken,
    Sealer,
    StateUnwritable,
    read_private,
    try_lock,
    update,
)

from ._records import LoginRecord
from ._waiting import WaitingLogins

DIRECTORY: Final = "logins"
PURPOSE: Final = "login at a backend"

Sight = tuple[int, int, int] | None
"""What tells one state of a file from another; None where there is no file."""


class LoginStore:
    """The logins of one state directory.

    Attributes:
        waiting: Those that wait for a browser.
    """

    def __init__(self, state_directory: Path, keyring: Keyring) -> None:
        """Keep them sealed with the keys of `keyring`; nothing is read or made yet."""
        self.waiting = WaitingLogins(state_directory, keyring)
        self._directory = state_directory / DIRECTORY
        self._sealer = Sealer(keyring, PURPOSE, LoginRecord)

    def __repr__(self) -> str:
        return f"<LoginStore {self._directory}>"

    def at(self, backend: str, url: str, user: str = "") -> StoredAt:
        """Return the place of a login; see :class:`StoredAt`."""
        return StoredAt(self, backend, url, user)

    def path(self, backend: str, user: str = "", url: str = "") -> Path:
        """Return the file of a backend's login, of a user's there, or of that at one address."""
        if user:
            name = _digest(user)  # names of users may be anything, and are nobody's business
        elif url:
            name = f"at-{_digest(url)}"  # nor are addresses
        else:
            return self._directory / f"{backend}.sealed"
        return self._directory / backend / f"{name}.sealed"

    def load(self, at: StoredAt) -> LoginRecord | None:
        """Return a login; None where there is none that is good for its place.

        Raises:
            StateError: The file can't be read or trusted.
        """
        return self._open(read_private(at.path), at)

    def change(
        self, at: StoredAt, change: Callable[[LoginRecord | None], LoginRecord | None]
    ) -> LoginRecord | None:
        """Change a login, as the only one to do so meanwhile.

        Args:
            at: Which.
            change: Gets the login, None where there is none; gives the new one, None to leave it.

        Returns:
            What is stored afterwards.

        Raises:
            StateError: The file can't be read, trusted or written.
        """

        def change_file(data: bytes | None) -> tuple[bytes | None, LoginRecord | None]:
            before = self._open(data, at)
            after = change(before)
            if after is None:
                return None, before
            return self._sealer.seal(after).encode(), after

        return update(at.path, change_file)

    def _open(self, data: bytes | None, at: StoredAt) -> LoginRecord | None:
        if data is None:
            return None
        try:
            record = self._sealer.open(data.decode("ascii", "replace").strip())
        except SealBroken:
            return None  # of other keys, or damaged: as good as none
        if (record.backend, record.url, record.user) != (at.backend, at.url, at.user):
            return None  # a token must not go to another server than it was issued for
        return record


def see(path: Path) -> Sight:
    """Look at a file; it takes no longer than a system call."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@attrs.frozen
class StoredAt:
    """The place of one login.

    Attributes:
        store: The store.
        backend: The backend's name.
        url: Its address.
        user: Whose login it is; "" for the one that everybody shares.
        replica: Which of several addresses that is; "" where it is the only one.
    """

    store: LoginStore
    backend: str
    url: str
    user: str = ""
    replica: str = ""

    @property
    def command(self) -> str:
        """The command that makes this login."""
        return login_command(self.backend, replica=self.replica, user=self.user)

    @property
    def path(self) -> Path:
        """The file."""
        return self.store.path(self.backend, self.user, self.url if self.replica else "")

    def sight(self) -> Sight:
        """Look whether it has changed."""
        return see(self.path)

    def load(self) -> LoginRecord | None:
        """Return the login; see `LoginStore.load`."""
        return self.store.load(self)

    def claim(self) -> int | None:
        """Take what lets one process alone renew it; see `onemcp.state.try_lock`."""
        return try_lock(self.path.with_suffix(".renewing"))

    def change(
        self, change: Callable[[LoginRecord | None], LoginRecord | None]
    ) -> LoginRecord | None:
        """Change it; see `LoginStore.change`."""
        return self.store.change(self, change)

    def forget(self) -> bool:
        """Remove the login; tell whether there was one."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StateUnwritable(f"Cannot remove {self.path}: {error.strerror}.") from error
        return True


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
