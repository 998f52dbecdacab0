"""A login that a person has made with a browser, and that lasts by being renewed."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import attrs
import trio

from onemcp.backend.events import LoginNoticed, TokenNotRenewed
from onemcp.state import StateError

from ._challenge import Challenge
from ._credentials import Renewing, name_scopes
from ._errors import LoginNeeded, NotNow
from ._flow import Flow
from ._records import LoginRecord, Tokens
from ._store import Sight, StoredAt

CLAIM_PATIENCE: Final = 40.0
"""How long another process may take to renew a login, in seconds: two requests, and some more."""

CLAIM_INTERVAL: Final = 0.05
"""How often it is looked whether it has done so, in seconds."""


class StoredLogin(Renewing):
    """Uses what `onemcp login` has stored, and renews it there.

    Several processes may use one login. A refresh token is good once, and an authorization server
    that sees one twice may end the login (OAuth 2.1, section 4.3.1). So one process alone renews,
    and looks first whether another one has done so meanwhile.
    """

    def __init__(
        self,
        place: StoredAt,
        flow: Flow,
        on_event: Callable[[LoginNoticed | TokenNotRenewed], object],
        now: Callable[[], float] = time.time,
        remedy: str | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            place: Where the login is.
            flow: Asks on behalf of the backend.
            on_event: Takes what happens.
            now: Tells the time, in seconds since the epoch.
            remedy: What somebody can do to log in; by default it is to run `onemcp login`.
        """
        super().__init__(place.backend, on_event, now)
        self._how = remedy or f"run `{place.command}`"
        self._place = place
        self._flow = flow
        self._record: LoginRecord | None = None
        self._sight: Sight | tuple[()] = ()
        self._unreadable: str | None = None

    async def look(self) -> None:
        """See what `onemcp login` or another process has stored."""
        sight = self._place.sight()
        if sight == self._sight:
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:  # or a renewal would be undone by what stood there before
            self._sight = sight
            try:
                record = await trio.to_thread.run_sync(self._place.load)
            except StateError as error:
                self._unreadable = str(error)
                return
            self._unreadable, before = None, self._tokens
            if self._take(record) and self._has_looked:
                self.bump()
                self._on_event(LoginNoticed(self._place.backend))
            elif before is not None and self._tokens is None:
                self.lose()

    def _take(self, record: LoginRecord | None) -> bool:
        """Use what is stored; tell whether its tokens are others than those in use."""
        self._record, before = record, self._tokens
        self._tokens = None if record is None else record.tokens
        if self._tokens == before:
            return False
        self._failure, self._failures, self._not_before = None, 0, 0.0
        return self._tokens is not None

    async def renew(self, used: str | None, challenge: Challenge) -> bool:
        """Renew the token; more rights are for a person to grant, which is noted."""
        if challenge.lacks_scope:
            await self._note(challenge)
            return False
        return await super().renew(used, challenge)

    def can_obtain(self, challenge: Challenge) -> bool:
        """Only what there is can be renewed."""
        tokens = self._tokens
        return not challenge.lacks_scope and tokens is not None and tokens.refresh is not None

    async def obtain(self, challenge: Challenge) -> Tokens:  # noqa: ARG002  (as others)
        """Renew what there is, and store it; or take what another process has got meanwhile."""
        async with self._alone():
            before = self._tokens
            await self._reload()
            record, tokens = self._record, self._tokens
            if record is None or tokens is None:
                raise LoginNeeded(self.remedy(Challenge()))
            return await self._renew(record, tokens) if tokens == before else tokens

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let no other process renew this login meanwhile.

        Raises:
            NotNow: Another one takes too long.
        """
        claim = None
        with trio.move_on_after(CLAIM_PATIENCE):
            while (claim := await self._claim()) is None:  # noqa: ASYNC110  (another process's)
                await trio.sleep(CLAIM_INTERVAL)
        if claim is None:
            raise NotNow("another process has been renewing the login for too long")
        try:
            yield
        finally:
            os.close(claim)

    async def _claim(self) -> int | None:
        try:
            return await trio.to_thread.run_sync(self._place.claim)
        except StateError as error:
            raise NotNow(f"the login can't be renewed: {error}") from error

    async def _reload(self) -> None:
        try:
            self._take(await trio.to_thread.run_sync(self._place.load))
        except StateError as error:
            raise NotNow(str(error)) from error

    async def _renew(self, record: LoginRecord, tokens: Tokens) -> Tokens:
        # Not to be interrupted: a refresh token that was used up must not be lost. How long it
        # takes is bounded by the fetcher.
        with trio.CancelScope(shield=True):
            try:
                renewed = await self._flow.refresh(record, tokens)
            except LoginNeeded as error:
                return await self._after_end(tokens, error)
            stored = await self._store(partial(_replaced, before=tokens, tokens=renewed))
        if stored is None or stored.tokens is None:
            raise LoginNeeded(self.remedy(Challenge()))  # somebody has logged out meanwhile
        return stored.tokens

    async def _after_end(self, ended: Tokens, error: LoginNeeded) -> Tokens:
        """Return the tokens of a login that has been made meanwhile; else it is over."""
        record = await self._store(partial(_replaced, before=ended, tokens=None))
        if record is None or record.tokens is None:
            self._tokens = None
            raise LoginNeeded(f"{error}; {self.remedy(Challenge())}") from error
        return record.tokens

    async def _note(self, challenge: Challenge) -> None:
        wanted = tuple(challenge.scopes or ())
        record = self._record
        if record is None or set(wanted) <= {*record.asked, *record.wanted}:
            await trio.lowlevel.checkpoint()
            return
        await self._store(partial(_wanting, wanted=wanted))

    async def _store(
        self, change: Callable[[LoginRecord | None], LoginRecord | None]
    ) -> LoginRecord | None:
        try:
            # Not to be interrupted: a refresh token that was used up must not be lost.
            with trio.CancelScope(shield=True):
                self._record = await trio.to_thread.run_sync(self._place.change, change)
        except StateError as error:
            raise NotNow(f"the login can't be stored: {error}") from error
        return self._record

    def remedy(self, challenge: Challenge) -> str:
        """Ask for `onemcp login`, where that could help."""
        command = self._how
        if self._unreadable is not None:
            return self._unreadable
        if not challenge.lacks_scope:
            return command
        missing = set(challenge.scopes or ()) - set(self._record.asked if self._record else ())
        if missing:
            return f"it wants more rights ({name_scopes(challenge)}): {command} to grant them"
        return "it wants rights that were asked for and not granted, so no other login helps"


def _replaced(
    record: LoginRecord | None, *, before: Tokens, tokens: Tokens | None
) -> LoginRecord | None:
    """Replace tokens, unless somebody else has."""
    if record is None or record.tokens != before:
        return None
    return attrs.evolve(record, tokens=tokens)


def _wanting(record: LoginRecord | None, *, wanted: tuple[str, ...]) -> LoginRecord | None:
    if record is None:
        return None
    return attrs.evolve(record, wanted=tuple(dict.fromkeys((*record.wanted, *wanted))))
