"""Change a file of somebody's: shown before, kept beside, replaced in one step."""

from __future__ import annotations

import difflib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from onemcp.cli.failures import ExitCode, Failure

LARGEST_FILE: Final = 16 * 1024 * 1024


class CannotWrite(Failure):
    """A file can't be written; it is as it was."""

    exit_code = ExitCode.IO_ERROR


def read_text(path: Path) -> str:
    """Return a file's text, empty where there is no file.

    Raises:
        Failure: It can't be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_FILE:
        raise Failure(f"{path} has more than {LARGEST_FILE} bytes: is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is not UTF-8.") from error


def diff(path: Path, old: str, new: str) -> Iterator[str]:
    """Yield the lines of the difference, in colours where that is possible."""
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in difflib.unified_diff(
        old.splitlines(), new.splitlines(), str(path), str(path), lineterm=""
    ):
        yield click.style(line, fg=colours.get(line[:1]))


def confirmed(question: str) -> bool:
    """Ask whether something shall be done.

    Raises:
        click.Abort: It was interrupted.
        Failure: Nobody is there to answer.
    """
    try:
        return click.confirm(question, default=False, err=True)
    except click.Abort as aborted:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise Failure(
            "Nobody is there to answer, and nothing was changed. --yes does it without asking."
        ) from aborted


def change(path: Path, old: str, new: str) -> Path | None:
    """Replace a file in one step, and keep what it was beside it.

    Args:
        path: The file; where it is a link, what that leads to is replaced.
        old: What it is now, empty where there is none.
        new: What it is to be.

    Returns:
        Where the old one is kept, if there was one.

    Raises:
        CannotWrite: It can't be written, or somebody has changed it meanwhile.
    """
    path = Path(os.path.realpath(path))
    if read_text(path) != old:
        raise CannotWrite(f"{path} has been changed meanwhile. Try again.")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = _keep(path) if path.exists() else None
        _replace(path, new)
    except OSError as error:
        raise CannotWrite(
            f"{path} cannot be written: {error.strerror}; it is as it was."
        ) from error
    return kept


def _keep(path: Path) -> Path:
    """Copy a file to one that there is not yet, with the same permissions."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(100):
        kept = path.with_name(f"{path.name}.{stamp}{f'-{number}' if number else ''}.bak")
        with suppress(FileExistsError):
            mode = stat.S_IMODE(path.stat().st_mode)
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(path.read_bytes())
            except BaseException:
                kept.unlink(missing_ok=True)
                raise
            return kept
    raise FileExistsError(f"{path} has a hundred copies of this second")


def _replace(path: Path, text: str) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
