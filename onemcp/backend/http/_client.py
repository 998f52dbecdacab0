"""HTTP as the transports need it: requests to one origin, and responses read piece by piece.

It drives httpx' transport rather than its client, which would keep cookies without bound, log
URLs (where some services want their key) and spend time on what is not needed here. Proxies of
the environment are ignored. Redirects are followed within the origin only.

The pool of httpx takes time that grows with the square of its idle connections, milliseconds for
each request at two hundred of them. So connections are spread over many small pools, of which the
first with room is taken: while little is under way, the others are left alone.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs
import httpx
import trio

from onemcp.backend.oauth import Challenge, Credentials, NotNow, OAuthError, read_challenge
from onemcp.backend.redaction import Redactor, redactor_for
from onemcp.backend.tracing import ONEMCP, SERVER, Trace
from onemcp.backend.trust import trusting
from onemcp.config import BackendLimits, HttpTransport, Timeouts
from onemcp.protocol.errors import BackendProtocolError, BackendUnavailable

from ._problems import FORBIDDEN, REDIRECTS, SEE_OTHER, UNAUTHORIZED, Problem, translate
from ._reply import CLOSE_TIMEOUT, Reply

HeaderList = list[tuple[bytes, bytes]]

CONNECT_TIMEOUT: Final = 10.0
"""How long making one TCP and TLS connection may take, in seconds."""

KEEPALIVE: Final = 4.0
"""How long an idle connection is kept, in seconds: less than servers usually do, which is 5."""

SPARE_CONNECTIONS: Final = 8
"""Connections over those for requests in flight: for the standalone stream and for answers."""

POOL_SIZE: Final = 8
"""How many connections one pool holds."""

MAX_REDIRECTS: Final = 3

_OWN: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-length",
        b"content-type",
        b"last-event-id",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"transfer-encoding",
    }
)
"""Headers that the transport writes itself, whatever the configuration says."""

_TIMEOUT: Final = httpx.Timeout(None, connect=CONNECT_TIMEOUT).as_dict()


@attrs.frozen
class Peer:
    """How to reach a backend, and what it may use.

    Attributes:
        transport: Its URL and headers.
        timeouts: How long it may take.
        limits: What it may use.
        credentials: How onemcp logs in at it, if it does.
        trace: Takes what is asked and how it is answered, if somebody wants to know.
        redact: Takes what is secret out of what it says.
    """

    transport: HttpTransport
    timeouts: Timeouts
    limits: BackendLimits
    credentials: Credentials | None = None
    trace: Trace | None = None
    redact: Redactor = attrs.field(init=False, eq=False)

    @redact.default
    def _default_redact(self) -> Redactor:
        return redactor_for(self.transport, self.credentials, {})


def static_headers(transport: HttpTransport) -> HeaderList:
    """Write the headers that go with every request: the configured ones but for `_OWN`."""
    headers = {name.lower().encode(): value.encode() for name, value in transport.headers.items()}
    url = httpx.URL(transport.url)
    if url.userinfo and b"authorization" not in headers:
        pair = f"{url.username}:{url.password}".encode()
        headers[b"authorization"] = b"Basic " + base64.b64encode(pair)
    headers.setdefault(b"user-agent", b"onemcp")
    kept = [
        (name, value)
        for name, value in headers.items()
        if name not in _OWN and not name.startswith(b"mcp-param-")
    ]
    # Unencoded, so that the size of a message is known while it is read.
    return [*kept, (b"accept-encoding", b"identity")]


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Tell whether two URLs have the same scheme, host and port (RFC 6454)."""
    return _origin(one) == _origin(other)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def show(url: httpx.URL, redact: Callable[[str], str] = str) -> str:
    """Write a URL without what may be secret in it: user, query and fragment."""
    port = "" if url.port is None else f":{url.port}"
    return redact(f"{url.scheme}://{url.host}{port}{url.path}")[:200]


def _with_token(headers: HeaderList, token: str | None) -> HeaderList:
    """Add a token as RFC 6750, section 2.1, has it."""
    return headers if token is None else [*headers, (b"authorization", b"Bearer " + token.encode())]


def _challenge_of(reply: Reply) -> Challenge | None:
    """Return what a response wants, or None where it is no matter of tokens."""
    if reply.status not in {UNAUTHORIZED, FORBIDDEN}:
        return None
    challenge = read_challenge(", ".join(reply.headers.get_list("www-authenticate")))
    return challenge if reply.status == UNAUTHORIZED or challenge.lacks_scope else None


def _without_token(error: OAuthError, status: int) -> Problem:
    if isinstance(error, NotNow):
        return Problem(BackendUnavailable(f"there is no token for it: {error}"), unreachable=True)
    return Problem(BackendUnavailable(f"it wants a login: {error}"), status, doubtful=True)


class _Pool:
    """A few connections.

    Attributes:
        transport: What they are used through.
        used: How many requests use them.
    """

    __slots__ = ("transport", "used")

    def __init__(self, ssl_context: ssl.SSLContext, socket: Path | None) -> None:
        """Make no connection yet."""
        self.used = 0
        self.transport = httpx.AsyncHTTPTransport(
            verify=ssl_context,
            trust_env=False,
            uds=None if socket is None else os.fspath(socket),
            limits=httpx.Limits(
                max_connections=POOL_SIZE,
                max_keepalive_connections=POOL_SIZE,
                keepalive_expiry=KEEPALIVE,
            ),
        )

    def release(self) -> None:
        """Take note that a request uses its connection no longer."""
        self.used -= 1


class HttpClient:
    """Sends requests to one origin over kept connections.

    Attributes:
        url: Where to; a redirect within the origin changes it.
        peer: What the backend may use.
    """

    def __init__(self, peer: Peer, connections: int) -> None:
        """Prepare for up to `connections` connections at once."""
        self.peer = peer
        self.url = httpx.URL(peer.transport.url).copy_with(username=None, password=None)
        self._static = static_headers(peer.transport)
        self._ssl_context: ssl.SSLContext | None = None
        self._max_pools = -(-connections // POOL_SIZE)
        self._pools: list[_Pool] = []

    async def __aenter__(self) -> Self:
        """Read the authorities to trust.

        Raises:
            HandshakeFailed: That isn't possible.
        """
        if self.url.scheme == "https":
            # Reading them takes tens of milliseconds.
            self._ssl_context = await trio.to_thread.run_sync(trusting, self.peer.transport.tls)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            for pool in self._pools:
                await pool.transport.aclose()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        headers: Sequence[tuple[bytes, bytes]],
        content: bytes | None = None,
        url: httpx.URL | None = None,
    ) -> AsyncIterator[Reply]:
        """Send a request and yield the response; leaving the block before its end closes it.

        Args:
            method: The HTTP method.
            headers: The headers besides the configured ones.
            content: The body, or None.
            url: Where to, if not to `self.url`.

        Raises:
            Problem: The request could not be sent, or was redirected elsewhere.
        """
        reply = await self._authorized(method, [*self._static, *headers], content, url)
        try:
            yield reply
        finally:
            await reply.aclose()

    async def _authorized(
        self, method: str, headers: HeaderList, content: bytes | None, url: httpx.URL | None
    ) -> Reply:
        """Send a request with a token, and once more where that was refused and there is another.

        Raises:
            Problem: As for `send`; or there is no token to be had.
        """
        credentials = self.peer.credentials
        if credentials is None:
            return await self._follow(method, headers, content, url)
        token = await credentials.token()
        reply = await self._follow(method, _with_token(headers, token), content, url)
        challenge = _challenge_of(reply)
        if challenge is None:
            return reply
        try:
            renewed = await credentials.renew(token, challenge)
        except OAuthError as error:
            await reply.aclose()
            raise _without_token(error, reply.status) from error
        except BaseException:
            await reply.aclose()
            raise
        if renewed:
            await reply.aclose()
            token = await credentials.token()
            reply = await self._follow(method, _with_token(headers, token), content, url)
        reply.remedy = credentials.remedy(_challenge_of(reply) or Challenge())
        return reply

    async def _follow(
        self, method: str, headers: HeaderList, content: bytes | None, url: httpx.URL | None
    ) -> Reply:
        target, hops = url or self.url, 0
        while True:
            reply = await self._send(method, target, headers, content)
            if reply.status not in REDIRECTS:
                return reply
            await reply.aclose()
            target, hops = self._redirected(reply, target), hops + 1
            if hops > MAX_REDIRECTS:
                raise Problem(BackendProtocolError("it redirects in circles"), reply.status)
            if url is None:
                self.url = target

    async def _send(
        self, method: str, url: httpx.URL, headers: HeaderList, content: bytes | None
    ) -> Reply:
        extensions = {"timeout": _TIMEOUT}
        request = httpx.Request(
            method, url, headers=headers, content=content, extensions=extensions
        )
        if self.peer.trace is not None:
            self.peer.trace(ONEMCP, f"{method} {show(url)} ".encode() + (content or b""))
        pool = self._pool()
        pool.used += 1
        response = None
        try:
            response = await pool.transport.handle_async_request(request)
        except httpx.HTTPError as error:
            raise translate(error) from error
        finally:
            if response is None:
                pool.release()
        if self.peer.trace is not None:
            kind = response.headers.get("content-type", "no content")
            self.peer.trace(SERVER, f"{response.status_code} {kind}")
        return Reply(response, pool.release)

    def _pool(self) -> _Pool:
        for pool in self._pools:
            if pool.used < POOL_SIZE:
                return pool
        if len(self._pools) < self._max_pools:
            # Without TLS there is nothing to trust, and redirects don't leave the origin.
            context = self._ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._pools.append(_Pool(context, self.peer.transport.socket))
            return self._pools[-1]
        return min(self._pools, key=lambda pool: pool.used)

    def _redirected(self, reply: Reply, url: httpx.URL) -> httpx.URL:
        """Return where a response points, if that is allowed.

        Raises:
            Problem: It is another origin, or the method would change.
        """
        try:
            target = url.join(reply.headers.get("location", ""))
        except (httpx.InvalidURL, ValueError):
            raise Problem(BackendProtocolError("it redirects to no URL"), reply.status) from None
        if reply.status == SEE_OTHER or target == url or not same_origin(target, url):
            elsewhere = show(target, self.peer.redact)
            error = BackendProtocolError(
                f"it redirects to {elsewhere}: if that is right, set it as the URL"
            )
            raise Problem(error, reply.status)
        return target

    def __repr__(self) -> str:
        return f"<HttpClient {show(self.url, self.peer.redact)}>"
