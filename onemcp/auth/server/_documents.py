"""Clients that are described by a document whose address is their id (CIMD).

Theory of operation: whoever asks for a login can make onemcp fetch such a document, so what is
fetched is bounded in every way: only over HTTPS and from the public Internet (:mod:`.outbound`),
few at once, so many in a minute of one host and of all, and each by one at a time. What was fetched
is remembered for as long as HTTP says, within bounds; failures are not remembered (OAuth Client ID
Metadata Document, section 4.4).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import attrs
import trio

from onemcp.auth.server._clients import Client
from onemcp.auth.server._errors import INVALID_CLIENT, TEMPORARILY_UNAVAILABLE, OAuthError
from onemcp.auth.server._limits import RateLimit
from onemcp.auth.server._redirects import document_fault_of
from onemcp.auth.server._registration import described, read_object
from onemcp.outbound import Answer, FetchFailed, Unreachable

MAX_BYTES: Final = 16 * 1024
PATIENCE: Final = 5.0
"""How long a document may take, in seconds."""

LEAST_FRESH: Final = 300.0
"""How long a document is believed whatever HTTP says: a login takes several requests."""

MOST_FRESH: Final = 86_400.0
MAX_KNOWN: Final = 256
AT_ONCE: Final = 4
MINUTE: Final = 60.0

_OK: Final = 200
_JSON: Final = re.compile(r"application/([a-z0-9!#$&^_.-]+\+)?json", re.IGNORECASE)
_DIRECTIVE: Final = re.compile(r'([a-z-]+)(?:="?([^",]*)"?)?')


class Get(Protocol):
    """Gets a document; see `PublicInternet.get`."""

    async def __call__(self, url: str, *, max_body: int, patience: float) -> Answer:
        """Get it."""


@attrs.frozen
class _Known:
    client: Client
    until: float


class Documents:
    """Finds clients by the address of their document. Owned by one task."""

    def __init__(self, get: Get, clock: Callable[[], float]) -> None:
        """Know no client yet.

        Args:
            get: Gets a document.
            clock: Tells the time, in seconds since the epoch.
        """
        self._get = get
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._under_way: dict[str, trio.Event] = {}
        self._few = trio.CapacityLimiter(AT_ONCE)
        self._by_host, self._by_all = RateLimit(20, MINUTE), RateLimit(60, MINUTE)

    def __repr__(self) -> str:
        return f"<{len(self._known)} documents>"

    async def __call__(self, client_id: str) -> Client:
        """Return the client that a document describes.

        Raises:
            TooManyRequests: Too many are asked for.
            OAuthError: There is no such document, or it describes no client that may be let in; or
                it can't be had now.
        """
        fault = document_fault_of(client_id)
        if fault is not None:
            raise OAuthError(INVALID_CLIENT, f"the client id is refused: {fault}")
        while True:
            known = self._known.get(client_id)
            if known is not None and self._clock() < known.until:
                self._known.move_to_end(client_id)
                return known.client
            under_way = self._under_way.get(client_id)
            if under_way is None:
                return await self._fetch(client_id)
            await under_way.wait()

    async def _fetch(self, client_id: str) -> Client:
        now = self._clock()
        self._by_host.check(urlsplit(client_id).netloc, now)
        self._by_all.check("", now)
        done = self._under_way[client_id] = trio.Event()
        try:
            async with self._few:
                answer = await self._answer(client_id)
        finally:
            del self._under_way[client_id]
            done.set()
        try:
            client = described(client_id, read_object(answer.body))
        except OAuthError as error:
            # Those of registration are no errors of the endpoints that it is needed for here.
            raise OAuthError(INVALID_CLIENT, error.description) from None
        self._known[client_id] = _Known(client, self._clock() + fresh_for(answer.headers))
        self._known.move_to_end(client_id)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return client

    async def _answer(self, client_id: str) -> Answer:
        try:
            answer = await self._get(client_id, max_body=MAX_BYTES, patience=PATIENCE)
        except Unreachable as error:
            # Not the client's fault, perhaps: it is to come back, not to give its login up.
            raise OAuthError(
                TEMPORARILY_UNAVAILABLE, _told("be had now", error), status=503
            ) from None
        except FetchFailed as error:
            raise OAuthError(INVALID_CLIENT, _told("be used", error)) from None
        if answer.status != _OK:
            raise OAuthError(INVALID_CLIENT, f"the metadata document is a {answer.status}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        if not _JSON.fullmatch(kind):
            raise OAuthError(INVALID_CLIENT, "the metadata document is not served as JSON")
        return answer


def _told(what: str, error: FetchFailed) -> str:
    return f"the metadata document can't {what}: {error}"


def fresh_for(headers: Mapping[str, str]) -> float:
    """Tell for how many seconds an answer may be used again (RFC 9111, section 4.2.1).

    Args:
        headers: Its headers; several of one name as one, with commas.
    """
    told = {
        match[1]: match[2] or ""
        for match in _DIRECTIVE.finditer(headers.get("cache-control", "").lower())
    }
    if told.keys() & {"no-store", "no-cache", "private"}:
        return LEAST_FRESH
    lifetime = _seconds(told.get("s-maxage")) or _seconds(told.get("max-age"))
    if lifetime is None:
        lifetime = _until_expiry(headers)
    age = _seconds(headers.get("age")) or 0.0
    return min(max((lifetime or 0.0) - age, LEAST_FRESH), MOST_FRESH)


def _until_expiry(headers: Mapping[str, str]) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow, for what is rare

    try:
        expires = parsedate_to_datetime(headers["expires"])
        return (expires - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None
