"""Logins in the state directory: one sealed file for each backend.

A file is written whole or not at all, so another process may write it at any time: `onemcp login`
does, and the gateway sees it. These functions block on the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from onemcp.state import Keyring, SealBroken, Sealer, read_private, try_lock, update

from ._records import LoginRecord

DIRECTORY: Final = "logins"
PURPOSE: Final = "login at a backend"

Sight = tuple[int, int, int] | None
"""What tells one state of a file from another; None where there is no file."""


class LoginStore:
    """The logins of one state directory."""

    def __init__(self, state_directory: Path, keyring: Keyring) -> None:
        """Keep them sealed with the keys of `keyring`; nothing is read or made yet."""
        self._directory = state_directory / DIRECTORY
        self._sealer = Sealer(keyring, PURPOSE, LoginRecord)

    def __repr__(self) -> str:
        return f"<LoginStore {self._directory}>"

    def path(self, backend: str) -> Path:
        """Return the file of a backend."""
        return self._directory / f"{backend}.sealed"

    def sight(self, backend: str) -> Sight:
        """Look whether the file has changed."""
        return see(self.path(backend))

    def load(self, backend: str, url: str) -> LoginRecord | None:
        """Return the login at a backend; None where there is none that is good for it.

        Raises:
            StateError: The file can't be read or trusted.
        """
        return self._open(read_private(self.path(backend)), backend, url)

    def change(
        self, backend: str, url: str, change: Callable[[LoginRecord | None], LoginRecord | None]
    ) -> LoginRecord | None:
        """Change the login at a backend, as the only one to do so meanwhile.

        Args:
            backend: Its name.
            url: Its address.
            change: Gets the login, None where there is none; gives the new one, None to leave it.

        Returns:
            What is stored afterwards.

        Raises:
            StateError: The file can't be read, trusted or written.
        """

        def change_file(data: bytes | None) -> tuple[bytes | None, LoginRecord | None]:
            before = self._open(data, backend, url)
            after = change(before)
            if after is None:
                return None, before
            return self._sealer.seal(after).encode(), after

        return update(self.path(backend), change_file)

    def claim(self, backend: str) -> int | None:
        """Take what lets one process alone renew a login; see `onemcp.state.try_lock`."""
        return try_lock(self.path(backend).with_suffix(".renewing"))

    def _open(self, data: bytes | None, backend: str, url: str) -> LoginRecord | None:
        if data is None:
            return None
        try:
            record = self._sealer.open(data.decode("ascii", "replace").strip())
        except SealBroken:
            return None  # of other keys, or damaged: as good as none
        if record.backend != backend or record.url != url:
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
    """The place of one backend's login.

    Attributes:
        store: The store.
        backend: The backend's name.
        url: Its address.
    """

    store: LoginStore
    backend: str
    url: str

    def sight(self) -> Sight:
        """Look whether it has changed."""
        return self.store.sight(self.backend)

    def load(self) -> LoginRecord | None:
        """Return the login; see `LoginStore.load`."""
        return self.store.load(self.backend, self.url)

    def claim(self) -> int | None:
        """Take what lets one process alone renew it; see `LoginStore.claim`."""
        return self.store.claim(self.backend)

    def change(
        self, change: Callable[[LoginRecord | None], LoginRecord | None]
    ) -> LoginRecord | None:
        """Change it; see `LoginStore.change`."""
        return self.store.change(self.backend, self.url, change)
