"""Take over a changed configuration when it is good, and keep the old one when it is not.

Theory of operation: the file is read whenever it changes, and whenever somebody asks. One that
can't be used leaves in force what was. Whoever writes it, a person or a program, may be doing so
again and again; after `PATIENCE` of them in a row the file is left alone until somebody asks.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

import attrs
import trio

from onemcp.config._load import parse, read_file
from onemcp.config._model import Configuration
from onemcp.config._problems import ConfigurationError, Problem
from onemcp.config._watch import watch

PATIENCE: Final = 5
"""How many unusable contents of the file in a row are read without being asked to."""


@attrs.frozen
class ConfigurationRejected:
    """The file cannot be used; the configuration before it stays in force.

    Attributes:
        problems: Everything that is wrong with it.
    """

    problems: tuple[Problem, ...]


@attrs.frozen
class ConfigurationRepaired:
    """The file, rejected before, can be used again."""


@attrs.frozen
class ReloadSuspended:
    """The file is not read again when it changes, until somebody asks for that.

    Attributes:
        failures: How many times in a row it could not be used.
    """

    failures: int


@attrs.frozen
class ReloadResumed:
    """The file is read again whenever it changes."""


ConfigurationEvent: TypeAlias = (
    ConfigurationRejected | ConfigurationRepaired | ReloadSuspended | ReloadResumed
)


class Reloaded(Enum):
    """How a reload ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    SUSPENDED = "suspended"


class Reloader:
    """Keeps the configuration in force in step with the file. Knows nothing of supervision.

    Attributes:
        current: The configuration in force.
        problem: Why the file cannot be used, until it is repaired; else None.
        failures: How many times in a row it could not be used.
        suspended: Whether changes of the file are left alone until `reload` is called.
    """

    def __init__(
        self,
        path: Path,
        current: Configuration,
        apply: Callable[[Configuration], Awaitable[bool]],
        *,
        report: Callable[[ConfigurationEvent], object],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare, without touching the file.

        Args:
            path: The file.
            current: The configuration in force, read from it earlier.
            apply: Puts a new configuration in force, and tells whether all of it is: what isn't
                is tried again at the next reload. A ConfigurationError says that nothing is; what
                else it raises goes to whoever asked for the reload.
            report: Hears of a rejected file, once for each content, and of its repair.
            environ: Where variables come from; the process' own environment by default.
        """
        self.current = current
        self.problem: ConfigurationRejected | None = None
        self.failures = 0
        self.suspended = False
        self._path = path
        self._apply = apply
        self._report = report
        self._environ = environ
        self._rejected: bytes | None = None
        self._complete = True
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        state = "suspended" if self.suspended else "rejected" if self.problem else "in step"
        return f"<Reloader {os.fspath(self._path)!r}: {state}>"

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Reload whenever the file changes, until cancelled; not while that is suspended.

        Args:
            task_status: Acknowledged once changes are seen, and the file was read once more.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(watch, self._path, self._on_change)
            await self._on_change()  # it may have changed since it was read first
            task_status.started()
        raise AssertionError("unreachable")  # pragma: no cover  (for mypy)

    async def reload(self) -> Reloaded:
        """Read the file now, and apply what it says if that is good and new.

        This is what somebody asks for; from here on changes of the file are heeded again.

        Returns:
            What came of it.
        """
        async with self._lock:
            self.failures = 0
            if self.suspended:
                self.suspended, self._rejected = False, None
                self._report(ReloadResumed())
            return await self._reload()

    async def _on_change(self) -> Reloaded:
        async with self._lock:
            if self.suspended:
                return Reloaded.SUSPENDED
            outcome = await self._reload()
            if self.failures >= PATIENCE:
                self.suspended = True
                self._report(ReloadSuspended(self.failures))
            return outcome

    async def _reload(self) -> Reloaded:
        content, outcome = await trio.to_thread.run_sync(_read, self._path, self._environ)
        if isinstance(outcome, ConfigurationError):
            self._reject(content, outcome.problems)
            return Reloaded.REJECTED
        if outcome == self.current and self._complete:
            self._accept()
            return Reloaded.UNCHANGED
        try:
            self._complete = await self._apply(outcome)
        except ConfigurationError as refused:
            self._reject(content, refused.problems)
            return Reloaded.REJECTED
        self._accept()
        self.current = outcome
        return Reloaded.APPLIED

    def _reject(self, content: bytes, problems: tuple[Problem, ...]) -> None:
        self.problem = ConfigurationRejected(problems)
        if content != self._rejected:
            self._rejected = content
            self.failures += 1
            self._report(self.problem)

    def _accept(self) -> None:
        self.failures = 0
        if self.problem is not None:
            self.problem = self._rejected = None
            self._report(ConfigurationRepaired())


def _read(
    path: Path, environ: Mapping[str, str] | None
) -> tuple[bytes, Configuration | ConfigurationError]:
    """Read and parse the file; return a digest of its content too."""
    digest = b""
    try:
        content = read_file(path)
        digest = sha256(content).digest()
        return digest, parse(content, source=os.fspath(path), environ=environ)
    except ConfigurationError as error:
        return digest or str(error).encode(), error
