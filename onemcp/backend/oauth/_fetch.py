"""Small requests to authorization servers: bounded, unredirected, and never with what is another's.

They carry none of the backend's headers, follow no redirect, read a bounded body and have a
deadline. Which addresses are asked is for the `Guard` to say.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import attrs
import httpx
import msgspec
import trio

from onemcp.backend.connection import HandshakeFailed
from onemcp.backend.trust import trusting
from onemcp.config import Tls

from ._errors import NotNow, OAuthError

MAX_BODY: Final = 256 * 1024
"""How large an answer may be, in bytes."""

PATIENCE: Final = 15.0
"""How long one may take, in seconds."""

CLOSE_PATIENCE: Final = 2.0
_TIMEOUT: Final = httpx.Timeout(None, connect=10.0).as_dict()
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"


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
    """Sends requests, each over a connection of its own."""

    def __init__(self, tls: Tls) -> None:
        """Trust whom a backend's configuration trusts."""
        self._tls = tls
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str) -> Fetched:
        """Get a document.

        Raises:
            NotNow: That wasn't possible.
        """
        return await self._send(httpx.Request("GET", url, headers={"accept": _JSON}))

    async def post_form(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> Fetched:
        """Post a form.

        Raises:
            NotNow: That wasn't possible.
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
        """
        own = {"accept": _JSON, "content-type": _JSON, **(headers or {})}
        body = msgspec.json.encode(value)
        return await self._send(httpx.Request("POST", url, headers=own, content=body))

    async def _send(self, request: httpx.Request) -> Fetched:
        request.headers["user-agent"] = "onemcp"
        request.headers["accept-encoding"] = "identity"
        request.extensions["timeout"] = _TIMEOUT
        if self._context is None:
            self._context = await self._trusting()
        host = request.url.host
        with trio.move_on_after(PATIENCE):
            transport = httpx.AsyncHTTPTransport(verify=self._context, trust_env=False)
            try:
                return await _ask(transport, request)
            except httpx.HTTPError:
                raise NotNow(f"{host} can't be reached") from None
            finally:
                with trio.move_on_after(CLOSE_PATIENCE, shield=True):
                    await transport.aclose()
        raise NotNow(f"{host} didn't answer within {PATIENCE:g} s")

    async def _trusting(self) -> ssl.SSLContext:
        try:
            return await trio.to_thread.run_sync(trusting, self._tls)
        except HandshakeFailed as error:
            raise OAuthError(error.reason) from error


async def _ask(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> Fetched:
    response = await transport.handle_async_request(request)
    chunks = aiter(response.stream)  # type: ignore[arg-type]  # httpx types both kinds
    try:
        body = await _body(response, chunks)
    finally:
        with trio.move_on_after(CLOSE_PATIENCE, shield=True):
            await _end(chunks)
            await response.aclose()
    challenge = ", ".join(response.headers.get_list("www-authenticate"))
    return Fetched(response.status_code, challenge, body)


async def _body(response: httpx.Response, chunks: AsyncIterator[bytes]) -> bytes:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return b""  # it need not end
    parts, size = [], 0
    async for chunk in chunks:
        size += len(chunk)
        if size > MAX_BODY:
            raise OAuthError(f"an authorization server answers with more than {MAX_BODY} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def _end(chunks: AsyncIterator[bytes]) -> None:
    """End a body that was given up: httpx leaves generators behind, which a cancelled read ends."""
    with trio.CancelScope() as scope, contextlib.suppress(httpx.HTTPError):
        scope.cancel()
        async for _ in chunks:
            pass
