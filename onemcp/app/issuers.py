"""The keys of authorization servers elsewhere: read from files, or fetched and kept current.

Theory of operation: nothing on the path of a request fetches. Keys are fetched at the start, every
hour, and soon after a token has named one that isn't known; until then that token is refused. When
fetching fails, the keys that are known stay in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import attrs
import trio

from onemcp import config
from onemcp.auth import ExternalIssuer, KeySet, parse_jwks
from onemcp.config import Configuration, ConfigurationError, Problem

FETCH_SECONDS: Final = 10.0
"""How long one fetch may take."""

FRESH_SECONDS: Final = 3600.0
"""How long fetched keys are not fetched again."""

RETRY_SECONDS: Final = 30.0
"""How long a source is left alone, whatever tokens name."""


@attrs.frozen
class KeysFetched:
    """The keys of an issuer have been fetched.

    Attributes:
        issuer: Whose.
        keys: How many are of use.
    """

    issuer: str
    keys: int


@attrs.frozen
class KeysNotFetched:
    """The keys of an issuer could not be fetched; the known ones stay in use.

    Attributes:
        issuer: Whose.
        why: What went wrong.
    """

    issuer: str
    why: str


class _Source:
    """Where the keys of one issuer are fetched."""

    def __init__(self, issuer: str, url: str, wake: Callable[[], object]) -> None:
        self.issuer = issuer
        self.url = url
        self.keys = KeySet(on_miss=self._hurry)
        self.due = -math.inf
        self._tried = -math.inf
        self._wake = wake

    def _hurry(self) -> None:
        self.due = min(self.due, self._tried + RETRY_SECONDS)
        self._wake()

    async def fetch(self, on_event: Callable[[object], object]) -> None:
        from .jwks import download  # noqa: PLC0415 - httpx and all below it

        self._tried = trio.current_time()
        self.due = self._tried + RETRY_SECONDS
        try:
            with trio.fail_after(FETCH_SECONDS):
                keys = parse_jwks(await download(self.url))
        except (trio.TooSlowError, ValueError) as error:
            why = str(error) or type(error).__name__
            on_event(KeysNotFetched(self.issuer, why))
        else:
            self.keys.replace(keys)
            self.due = self._tried + FRESH_SECONDS
            on_event(KeysFetched(self.issuer, len(keys)))


class Issuers:
    """The keys of all issuers that are configured."""

    def __init__(self) -> None:
        """Know none yet."""
        self._files: dict[Path, KeySet] = {}
        self._sources: dict[tuple[str, str], _Source] = {}
        self._news = trio.Event()

    async def prepare(self, configuration: Configuration) -> None:
        """Read the files of a configuration.

        Raises:
            ConfigurationError: One can't be read, or has no keys.
        """
        problems = []
        for number, issuer in enumerate(configuration.auth.issuers):
            if issuer.jwks is not None:
                try:
                    data = await trio.Path(issuer.jwks).read_bytes()
                    self._files[issuer.jwks] = KeySet(parse_jwks(data))
                except (OSError, ValueError) as error:
                    why = error.strerror if isinstance(error, OSError) else error
                    problems.append(
                        Problem(
                            file="",
                            path=f"auth.issuers[{number}].jwks",
                            message=f"{issuer.jwks} can't be used: {why}",
                            remedy="Put the issuer's JSON Web Key Set there",
                        )
                    )
        if problems:
            raise ConfigurationError(tuple(problems))

    def external(self, configuration: Configuration) -> list[ExternalIssuer]:
        """Return whose tokens count; the configuration has been prepared for."""
        wanted = {(i.issuer, i.jwks_url) for i in configuration.auth.issuers if i.jwks_url}
        self._sources = {key: self._sources.get(key) or self._source(*key) for key in wanted}
        self._wake()
        return [
            ExternalIssuer(
                name=issuer.issuer,
                keys=self._keys(issuer),
                token_types=issuer.token_types,
                scopes=issuer.scopes,
                admins=issuer.admins,
            )
            for issuer in configuration.auth.issuers
        ]

    async def run(
        self, on_event: Callable[[object], object], *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Fetch keys until cancelled; acknowledges once each source has been tried."""
        await self._fetch(self._sources.values(), on_event)
        task_status.started()
        while True:
            self._news = trio.Event()
            with trio.move_on_at(min((s.due for s in self._sources.values()), default=math.inf)):
                await self._news.wait()
            now = trio.current_time()
            await self._fetch([s for s in self._sources.values() if s.due <= now], on_event)

    async def _fetch(
        self, sources: Iterable[_Source], on_event: Callable[[object], object]
    ) -> None:
        async with trio.open_nursery() as nursery:
            for source in sources:
                nursery.start_soon(source.fetch, on_event)

    def _source(self, issuer: str, url: str) -> _Source:
        return _Source(issuer, url, self._wake)

    def _wake(self) -> None:
        self._news.set()

    def _keys(self, issuer: config.Issuer) -> KeySet:
        if issuer.jwks is not None:
            return self._files[issuer.jwks]
        assert issuer.jwks_url is not None  # noqa: S101  (the model says so)
        return self._sources[issuer.issuer, issuer.jwks_url].keys
