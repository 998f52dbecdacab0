"""HTTP as the transports need it: requests to one origin, and responses read piece by piece.

Nothing that a backend sends is kept, such as cookies. Proxies of the environment are ignored.
Redirects are followed within the origin only.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

import attrs
import httpx
import trio

from onemcp.backend import http1
from onemcp.backend.oauth import Challenge, Credentials, NotNow, OAuthError, read_challenge
from onemcp.backend.redaction import Redactor, redactor_for
from onemcp.backend.throttle import Throttle
from onemcp.backend.tracing import ONEMCP, SERVER, Trace
from onemcp.backend.trust import trusting
from onemcp.config import BackendLimits, HttpTransport, Timeouts
from onemcp.protocol.errors import BackendProtocolError, BackendUnavailable

from ._problems import FORBIDDEN, REDIRECTS, SEE_OTHER, UNAUTHORIZED, Problem, translate
from ._reply import Reply

HeaderList = list[tuple[bytes, bytes]]

SPARE_CONNECTIONS: Final = 8
"""Connections over those for requests in flight: for the standalone stream and for answers."""

MAX_REDIRECTS: Final = 3

_PORTS: Final = {"http": 80, "https": 443}

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


@attrs.frozen
class Peer:
    """How to reach a backend, and what it may use.

    Attributes:
        transport: Its URL and headers.
        timeouts: How long it may take.
        limits: What it may use.
        credentials: How onemcp logs in at it, if it does.
        trace: Takes what is asked and how it is answered, if somebody wants to know.
        throttle: Bounds how many of its notifications are passed on.
        redact: Takes what is secret out of what it says.
    """

    transport: HttpTransport
    timeouts: Timeouts
    limits: BackendLimits
    credentials: Credentials | None = None
    trace: Trace | None = None
    throttle: Throttle = attrs.field(factory=Throttle)
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
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


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
    challenge = read_challenge(", ".join(reply.headers(b"www-authenticate")))
    return challenge if reply.status == UNAUTHORIZED or challenge.lacks_scope else None


def _without_token(error: OAuthError, status: int) -> Problem:
    if isinstance(error, NotNow):
        return Problem(BackendUnavailable(f"there is no token for it: {error}"), unreachable=True)
    return Problem(BackendUnavailable(f"it wants a login: {error}"), status, doubtful=True)


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
        self._connections = connections
        self._pool: http1.Pool | None = None

    async def __aenter__(self) -> Self:
        """Read the authorities to trust.

        Raises:
            HandshakeFailed: That isn't possible.
        """
        url, context = self.url, None
        if url.scheme == "https":
            # Reading them takes tens of milliseconds.
            context = await trio.to_thread.run_sync(trusting, self.peer.transport.tls)
            context.set_alpn_protocols(["http/1.1"])
        await trio.lowlevel.checkpoint()
        origin = http1.Origin(
            url.raw_host.decode("ascii"),
            url.port or _PORTS[url.scheme],
            url.netloc,
            context,
            self.peer.transport.socket,
        )
        self._pool = http1.Pool(origin, self._connections)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.close()

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
            reply.close()

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
            reply.close()
            raise _without_token(error, reply.status) from error
        except BaseException:
            reply.close()
            raise
        if renewed:
            reply.close()
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
            reply.close()
            target, hops = self._redirected(reply, target), hops + 1
            if hops > MAX_REDIRECTS:
                raise Problem(BackendProtocolError("it redirects in circles"), reply.status)
            if url is None:
                self.url = target

    async def _send(
        self, method: str, url: httpx.URL, headers: HeaderList, content: bytes | None
    ) -> Reply:
        if self._pool is None:
            raise Problem(BackendUnavailable("the connection is not up"))
        if self.peer.trace is not None:
            self.peer.trace(ONEMCP, f"{method} {show(url)} ".encode() + (content or b""))
        try:
            response = await self._pool.request(method.encode(), url.raw_path, headers, content)
        except http1.HttpError as error:
            raise translate(error) from error
        reply = Reply(response)
        if self.peer.trace is not None:
            kind = reply.header(b"content-type") or "no content"
            self.peer.trace(SERVER, f"{reply.status} {kind}")
        return reply

    def _redirected(self, reply: Reply, url: httpx.URL) -> httpx.URL:
        """Return where a response points, if that is allowed.

        Raises:
            Problem: It is another origin, or the method would change.
        """
        try:
            target = url.join(reply.header(b"location"))
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
