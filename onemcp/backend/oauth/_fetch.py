"""Small requests to authorization servers: bounded, unredirected, and never with what is another's.

They carry none of the backend's headers. Which URLs are asked is for the `Guard` to say; where
their names lead is looked at here: a backend that is on the Internet must not make onemcp connect
to what only this machine or its network can reach, whatever a name resolves to from one moment to
the next.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import httpx
import msgspec
import trio

from onemcp import outbound
from onemcp.backend.connection import HandshakeFailed
from onemcp.backend.trust import trusting
from onemcp.config import Tls
from onemcp.outbound import fetching

from ._errors import NotNow, OAuthError

MAX_BODY: Final = 256 * 1024
"""How large an answer may be, in bytes."""

PATIENCE: Final = 15.0
"""How long one may take, in seconds."""

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@attrs.frozen
class Fetched:
    """An answer.

    Attributes:
        status: Its HTTP status.
        challenge: Its `WWW-Authenticate`, or "".
        body: Its body. Hidden from `repr`.
    """

    status: int
    challenge: str
    body: bytes = attrs.field(repr=False)


class Fetcher:
    """Sends requests on behalf of one backend, each over a connection of its own."""

    def __init__(self, tls: Tls, home: str) -> None:
        """Trust whom a backend's configuration trusts.

        Args:
            tls: How certificates are verified.
            home: The backend's address, which the operator has chosen.
        """
        self._tls = tls
        self._home = httpx.URL(home)
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str) -> Fetched:
        """Get a document.

        Raises:
            NotNow: That wasn't possible.
            OAuthError: It is nowhere to be asked for.
        """
        return await self._send(httpx.Request("GET", url, headers={"accept": _JSON}))

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Fetched:
        """Post a form.

        Raises:
            NotNow: That wasn't possible.
            OAuthError: It is nowhere to be sent.
        """
        own = {"accept": _JSON, "content-type": _FORM, **headers}
        body = urlencode(form).encode()
        return await self._send(httpx.Request("POST", url, headers=own, content=body))

    async def post_json(
        self, url: str, value: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """Post a JSON document.

        Raises:
            NotNow: That wasn't possible.
            OAuthError: It is nowhere to be sent.
        """
        own = {"accept": _JSON, "content-type": _JSON, **(headers or {})}
        body = msgspec.json.encode(value)
        return await self._send(httpx.Request("POST", url, headers=own, content=body))

    async def _send(self, request: httpx.Request) -> Fetched:
        request.headers["user-agent"] = "onemcp"
        request.headers["accept-encoding"] = "identity"
        if self._context is None:
            self._context = await self._trusting()
        host = request.url.host
        try:
            with trio.move_on_after(PATIENCE):
                addresses = await self._addresses(request.url)
                answer = await fetching.fetch(request, addresses, self._context, max_body=MAX_BODY)
                challenge = ", ".join(answer.headers.get_list("www-authenticate"))
                return Fetched(answer.status, challenge, answer.body)
        except outbound.Unreachable as error:
            raise NotNow(f"{host} {error}") from None
        except outbound.AnswerTooLarge as error:
            raise OAuthError(f"{host} {error}") from None
        raise NotNow(f"{host} didn't answer within {PATIENCE:g} s")

    async def _addresses(self, url: httpx.URL) -> tuple[outbound.Address, ...]:
        """Return where a request may go.

        Raises:
            OAuthError: Nowhere.
            Unreachable: There is no such name.
        """
        addresses = await _resolve(url)
        if url.host == self._home.host or all(map(outbound.is_public, addresses)):
            return addresses
        # A backend that is on a private network itself may have everything there.
        if any(map(outbound.is_public, await _resolve(self._home))):
            raise OAuthError(f"{url.host} is an address of this machine or of a private network")
        return addresses

    async def _trusting(self) -> ssl.SSLContext:
        try:
            return await trio.to_thread.run_sync(trusting, self._tls)
        except HandshakeFailed as error:
            raise OAuthError(error.reason) from error


async def _resolve(url: httpx.URL) -> tuple[outbound.Address, ...]:
    return await outbound.resolve(url.host, url.port or _PORTS.get(url.scheme, 0))
