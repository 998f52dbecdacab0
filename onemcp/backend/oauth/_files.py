"""Files that the operator keeps secrets in: a token, a private key."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import attrs

MAX_BYTES: Final = 64 * 1024
"""How much of a file is read."""


@attrs.frozen
class Secret:
    """What a file holds.

    Attributes:
        text: The content; "" where it is no ASCII. Hidden from `repr`.
        permissions: Its permission bits.
    """

    text: str = attrs.field(repr=False)
    permissions: int

    @property
    def is_exposed(self) -> bool:
        """Whether any user of this machine may read or replace it.

        A group may: this is how containers get at secrets that are mounted for them.
        """
        return bool(self.permissions & (stat.S_IROTH | stat.S_IWOTH))

    @property
    def mode(self) -> str:
        """The permissions as `chmod` takes them."""
        return f"{self.permissions:04o}"


def read_secret(path: Path) -> Secret:
    """Read a file. Blocks on the disk.

    Raises:
        OSError: It can't be read.
    """
    with open(path, "rb", opener=_open) as file:
        permissions = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        data = file.read(MAX_BYTES) or b""
    return Secret(data.decode("ascii") if data.isascii() else "", permissions)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO must not hang the thread
