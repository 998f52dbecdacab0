"""Pins in the state directory: one file for each backend, replaced in one step.

Several instances may share it. Each change is made to what the file says then, under its lock, so
that nobody's is lost; and what others have changed is seen by the file being another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from onemcp.state import StateError, read_private, update

from ._definition import Definition

DIRECTORY: Final = "pins"
VERSION: Final = 1
LARGEST: Final = 64 * 1024 * 1024
"""How large one file may be, in bytes."""

Key: TypeAlias = tuple[str, str]
"""A tool or prompt: what it is (``tools`` or ``prompts``), and its name."""

Known: TypeAlias = Mapping[Key, Definition]
"""What everything looked like when it was approved."""

Sight: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another; None where there is no file."""


class _Pin(msgspec.Struct, forbid_unknown_fields=True):
    sha256: str
    definition: dict[str, Any] | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    backend: str
    tools: dict[str, _Pin] = {}
    prompts: dict[str, _Pin] = {}


@attrs.frozen
class PinStore:
    """Where pins are kept. Its functions block on the disk: call them in a thread.

    Attributes:
        directory: The state directory.
    """

    directory: Path

    def path(self, backend: str) -> Path:
        """Return the file of a backend; names of backends are fit for it."""
        return self.directory / DIRECTORY / f"{backend}.json"

    def sight(self, backend: str) -> Sight:
        """Tell whether the file is another one than before, by comparing what this returns."""
        try:
            status = self.path(backend).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def load(self, backend: str) -> Known:
        """Return what is pinned of a backend.

        Raises:
            StateError: The file can't be read, trusted or understood.
        """
        path = self.path(backend)
        return _read(path, read_private(path, LARGEST))

    def change(self, backend: str, add: Callable[[Known], Known]) -> Known:
        """Pin more, or something else.

        Args:
            backend: The backend.
            add: Gets what is pinned now; returns what is to be pinned besides, or instead.

        Returns:
            What is pinned then.

        Raises:
            StateError: As for `load`, or the file can't be written; then it is as it was.
        """
        path = self.path(backend)

        def change(data: bytes | None) -> tuple[bytes | None, Known]:
            known = _read(path, data)
            added = add(known)
            if not added:
                return None, known
            known = {**known, **added}
            return _written(path, backend, known), known

        return update(path, change, max_bytes=LARGEST)


def _read(path: Path, data: bytes | None) -> Known:
    if data is None:
        return {}
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateError(
            f"{path} is damaged ({error}). Restore it from a backup, or remove it: then what the "
            "server lists next is trusted as it is."
        ) from error
    if file.version != VERSION:
        raise StateError(f"{path} was written by another version of onemcp ({file.version}).")
    kinds = {"tools": file.tools, "prompts": file.prompts}
    return {
        (kind, name): Definition(pin.sha256, pin.definition)
        for kind, pins in kinds.items()
        for name, pin in pins.items()
    }


def _written(path: Path, backend: str, known: Known) -> bytes:
    kinds: dict[str, dict[str, _Pin]] = {"tools": {}, "prompts": {}}
    for (kind, name), definition in known.items():
        shown = definition.shown
        kinds[kind][name] = _Pin(definition.digest, None if shown is None else dict(shown))
    data = msgspec.json.encode(_File(VERSION, backend, **kinds))
    if len(data) > LARGEST:
        raise StateError(f"{path} would have more than {LARGEST} bytes: the server lists too much.")
    return data
