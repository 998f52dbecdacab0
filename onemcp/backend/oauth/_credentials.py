"""What the transport asks for a token, and whom it asks for another where that was refused."""

from __future__ import annotations

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn, Protocol

import trio

from onemcp.backend.events import LoginNoticed, SecretExposed, TokenNotRenewed
from onemcp.config import BearerLogin

from ._challenge import Challenge
from ._errors import NotNow, OAuthError
from ._files import Secret, read_secret
from ._records import Tokens
from ._store import Sight, see

LOOK: Final = 1.0
"""How often it is looked whether somebody else has changed something, in seconds."""

RETRY: Final = 5.0
"""How long an attempt that failed keeps others from being made, in seconds; then twice that..."""

RETRY_MAXIMUM: Final = 300.0
"""...and so on, up to this."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")


class Credentials(Protocol):
    """How onemcp makes itself known to one backend."""

    @property
    def version(self) -> int:
        """How often somebody else has changed them; a refused login may be worth a try then."""

    @property
    def secrets(self) -> frozenset[str]:
        """What must not be repeated in a message."""

    async def token(self) -> str | None:
        """Return the token to send, or None where there is none yet."""

    async def renew(self, used: str | None, challenge: Challenge) -> bool:
        """Get another token, because the one that was sent was refused.

        Only one of those who ask at once does it; the others wait for what comes of that.

        Args:
            used: What was sent.
            challenge: What the backend said.

        Returns:
            Whether it is worth sending the request again.

        Raises:
            OAuthError: There is none to be had.
        """

    def remedy(self, challenge: Challenge) -> str:
        """Say what somebody can do about a refusal."""

    async def wait_newer(self, version: int) -> None:
        """Wait until somebody else has changed them since `version`."""

    async def wait_lost(self) -> None:
        """Wait until somebody else has taken them away."""

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Keep the token fresh, and see what others change, until cancelled."""


class Versioned:
    """Counts changes that somebody else has made, and lets others wait for the next."""

    def __init__(self) -> None:
        """Begin with none."""
        self._version = 0
        self._changed = trio.Event()
        self._lost = trio.Event()

    @property
    def version(self) -> int:
        """How many there have been."""
        return self._version

    def bump(self) -> None:
        """Count one."""
        self._version += 1
        self._changed.set()
        self._changed = trio.Event()

    def lose(self) -> None:
        """Take note that somebody else has taken away what there was."""
        self._lost.set()
        self._lost = trio.Event()

    async def wait_lost(self) -> None:
        """Wait for that."""
        await self._lost.wait()

    async def wait_newer(self, version: int) -> None:
        """Wait for the next after `version`."""
        while self._version == version:
            await self._changed.wait()


class BearerToken(Versioned):
    """A token that somebody else sees to: in the environment, or in a file that may change."""

    def __init__(
        self,
        backend: str,
        login: BearerLogin,
        environ: Mapping[str, str],
        on_event: Callable[[SecretExposed], object],
    ) -> None:
        """Read nothing yet."""
        super().__init__()
        self._backend = backend
        self._on_event = on_event
        self._file = login.token_file
        self._source = (
            f"the environment variable {login.token_variable}"
            if login.token_file is None
            else f"the file {str(login.token_file)!r}"
        )
        self._token = None if self._file else _clean(environ.get(login.token_variable or ""))
        self._sight: Sight | tuple[()] = ()

    def __repr__(self) -> str:
        return f"<BearerToken of {self._source}>"

    @property
    def secrets(self) -> frozenset[str]:
        """The token."""
        return frozenset() if self._token is None else frozenset({self._token})

    async def token(self) -> str | None:
        """Return the token."""
        if self._sight == ():
            await self._look()
        return self._token

    async def renew(self, used: str | None, challenge: Challenge) -> bool:  # noqa: ARG002  (as others)
        """Look whether the file has another one."""
        await self._look()
        return self._token not in {None, used}

    def remedy(self, challenge: Challenge) -> str:  # noqa: ARG002  (as others)
        """Name where the token comes from."""
        if self._token is None:
            return f"{self._source} holds no token"
        return f"it refuses the token in {self._source}"

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """See when the file changes."""
        await self._look()
        task_status.started()
        while self._file is not None:
            await trio.sleep(LOOK)
            await self._look()
        await trio.sleep_forever()
        raise AssertionError("unreachable")  # pragma: no cover  (for mypy)

    async def _look(self) -> None:
        if self._file is None:
            await trio.lowlevel.checkpoint()
            return
        sight = see(self._file)
        if sight == self._sight:
            await trio.lowlevel.checkpoint()
            return
        self._sight, before = sight, self._token
        secret = await trio.to_thread.run_sync(_read_token, self._file)
        self._token = None if secret is None else _clean(secret.text)
        if secret is not None and secret.is_exposed:
            self._on_event(SecretExposed(self._backend, str(self._file), secret.mode))
        if self._token != before:
            self.bump()


def _read_token(path: Path) -> Secret | None:
    try:
        return read_secret(path)
    except OSError:
        return None


def _clean(text: str | None) -> str | None:
    token = (text or "").strip()
    return token if _TOKEN.fullmatch(token) else None


class Renewing(Versioned, ABC):
    """Tokens that are replaced ahead of their end, by one request at a time."""

    def __init__(
        self,
        backend: str,
        on_event: Callable[[LoginNoticed | TokenNotRenewed], object],
        now: Callable[[], float] = time.time,
    ) -> None:
        """Have none yet."""
        super().__init__()
        self._backend = backend
        self._on_event = on_event
        self._now = now
        self._tokens: Tokens | None = None
        self._lock = trio.Lock()
        self._failure: OAuthError | None = None
        self._failures = 0
        self._not_before = 0.0
        self._has_looked = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._backend!r}>"

    @property
    def secrets(self) -> frozenset[str]:
        """The tokens."""
        tokens = self._tokens
        return frozenset(() if tokens is None else filter(None, (tokens.access, tokens.refresh)))

    async def token(self) -> str | None:
        """Return the token, a fresh one if there is any."""
        if not self._has_looked:
            await self._look_first()
        tokens = self._tokens
        if tokens is not None and self._is_due(tokens):
            # If there is none, the backend refuses the old one, and why is found out then.
            with contextlib.suppress(OAuthError):
                await self.renew(tokens.access, Challenge())
        return None if self._tokens is None else self._tokens.access

    async def renew(self, used: str | None, challenge: Challenge) -> bool:
        """Get another token."""
        async with self._lock:
            current = self._tokens
            if current is not None and current.access != used:
                return True
            if not self.can_obtain(challenge):
                return False
            if self._failure is not None and self._now() < self._not_before:
                raise self._failure
            try:
                tokens = await self.obtain(challenge)
            except OAuthError as error:
                self._failed(error)
                raise
            self._tokens, self._failure, self._failures = tokens, None, 0
            return True

    def _failed(self, error: OAuthError) -> None:
        wait = min(RETRY * (1 << min(self._failures, 10)), RETRY_MAXIMUM)
        self._failure, self._failures = error, self._failures + 1
        self._not_before = self._now() + wait
        self._on_event(TokenNotRenewed(self._backend, str(error), isinstance(error, NotNow)))

    def _is_due(self, tokens: Tokens) -> bool:
        due = tokens.renew_at
        return due is not None and due <= self._now() and self.can_obtain(Challenge())

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Replace the token ahead of its end, and see what others change."""
        await self._look_first()
        task_status.started()
        while True:
            await trio.sleep(LOOK)
            await self.look()
            tokens = self._tokens
            if tokens is not None and self._is_due(tokens) and self._now() >= self._not_before:
                with contextlib.suppress(OAuthError):
                    await self.renew(tokens.access, Challenge())

    async def _look_first(self) -> None:
        await self.look()
        self._has_looked = True

    async def look(self) -> None:
        """See whether others have changed something; by default nobody can."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    def can_obtain(self, challenge: Challenge) -> bool:
        """Tell whether another token could satisfy a challenge, and be had without a person."""

    @abstractmethod
    async def obtain(self, challenge: Challenge) -> Tokens:
        """Get one.

        Raises:
            OAuthError: There is none to be had.
        """

    @abstractmethod
    def remedy(self, challenge: Challenge) -> str:
        """Say what somebody can do about a refusal."""


def name_scopes(challenge: Challenge) -> str:
    """Write what a challenge asks for, so that a sentence can hold it."""
    return " ".join(challenge.scopes or ())[:200] or "which it does not name"
