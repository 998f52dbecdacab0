"""Getting what a stranger has named, from everybody's Internet and from nowhere else."""

from __future__ import annotations

import ssl
from typing import Final

import httpx
import trio

from ._addresses import Address, is_public, resolve
from ._answer import Answer
from ._errors import NotPublic, Unreachable
from .fetching import fetch

HTTPS_PORT: Final = 443


class PublicInternet:
    """Gets documents over HTTPS from public addresses. Owned by one task.

    A name one of whose addresses is not public is not asked at all: which of them is connected to
    is nothing that a stranger shall have a hand in.
    """

    def __init__(self) -> None:
        """Trust the usual authorities, which are read when they are first needed."""
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str, *, max_body: int, patience: float) -> Answer:
        """Get a document.

        Args:
            url: An absolute URL.
            max_body: How large the answer may be, in bytes.
            patience: How long all of it may take, in seconds.

        Raises:
            NotPublic: It isn't HTTPS, or leads to this machine or a private network.
            Unreachable: Nobody answers there, or not in time.
            AnswerTooLarge: The answer is larger than that.
        """
        own = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "onemcp"}
        try:
            request = httpx.Request("GET", url, headers=own)
        except httpx.InvalidURL:
            raise NotPublic("it is no URL") from None
        if request.url.scheme != "https" or request.url.userinfo:
            raise NotPublic("it is no https URL, or names a user")
        with trio.move_on_after(patience):
            addresses = await self._addresses(request.url)
            if self._context is None:
                self._context = await trio.to_thread.run_sync(httpx.create_ssl_context)
            return await fetch(request, addresses, self._context, max_body=max_body)
        raise Unreachable("it doesn't answer in time")

    async def _addresses(self, url: httpx.URL) -> tuple[Address, ...]:
        addresses = await resolve(url.host, url.port or HTTPS_PORT)
        if not all(map(is_public, addresses)):
            raise NotPublic("it leads to this machine or a private network")
        return addresses
