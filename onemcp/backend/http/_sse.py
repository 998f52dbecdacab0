"""HTTP+SSE of 2024-11-05 as a channel of lines: one stream in, one POST for each line out.

Implements 2024-11-05, Transports, HTTP with SSE.

Theory of operation: a task pumps the stream's messages into a bounded queue, from which `receive`
takes them. `send` POSTs line by line, so that order is kept. A request that the backend refuses
over HTTP fails alone: the refusal is put into the queue as its answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import trio

from onemcp.backend.connection import ConnectionLost, HandshakeFailed, LoginRequired
from onemcp.protocol import jsonrpc
from onemcp.protocol.errors import BackendLost, MessageTooLarge
from onemcp.protocol.framing import Oversized
from onemcp.protocol.jsonrpc import Request
from onemcp.protocol.sse import Event, EventDecoder

from ._client import HeaderList, HttpClient, Peer, same_origin, show
from ._problems import NOT_FOUND, Problem, SessionLost, judge
from ._reply import EVENT_STREAM, JSON, Reply

ENDPOINT: Final = "endpoint"
MAX_ENDPOINT: Final = 8192
"""How long the URI that messages are sent to may be, in bytes."""

MAX_BEFORE_ENDPOINT: Final = 16
"""How many events may come before the one that names it."""

QUEUE: Final = 64
"""How many batches of messages wait to be received before the stream is read no further."""

CONNECTIONS: Final = 4
SEND_TIMEOUT: Final = 30.0
"""How long the backend may take to accept one message, in seconds."""

GONE: Final = frozenset({NOT_FOUND, 410})

_GET: Final[HeaderList] = [(b"accept", EVENT_STREAM.encode())]
_POST: Final[HeaderList] = [
    (b"accept", f"{JSON}, {EVENT_STREAM}".encode()),
    (b"content-type", JSON.encode()),
]


class SseChannel:
    """Lines to and from a backend; see :class:`onemcp.backend.duplex.Channel`."""

    def __init__(self, client: HttpClient, endpoint: httpx.URL) -> None:
        """Send to `endpoint`."""
        self._client = client
        self._endpoint = endpoint
        self._ended: ConnectionLost | None = None
        self._in, self._out = trio.open_memory_channel[list[bytes | Oversized]](QUEUE)

    async def send(self, lines: bytes) -> None:
        """Write whole lines, each in a request of its own."""
        for line in lines.splitlines():
            with trio.move_on_after(SEND_TIMEOUT) as patience:
                await self._post(line)
            if patience.cancelled_caught:
                raise ConnectionLost("it doesn't take what it is sent")

    def send_nowait(self, lines: bytes) -> bytes:
        """Write nothing: a request takes its time."""
        return lines

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for messages."""
        try:
            return await self._out.receive()
        except trio.EndOfChannel:
            raise self._ended or ConnectionLost("it closed its stream") from None

    async def pump(self, reply: Reply, decoder: EventDecoder, events: list[Event]) -> None:
        """Put what comes on the stream, beginning with `events`, into the queue."""
        with self._in:
            try:
                while True:
                    lines: list[bytes | Oversized] = [
                        event.data for event in events if event.event == "message" and event.data
                    ]
                    if lines:
                        await self._in.send(lines)
                    chunk = await reply.chunk()
                    if not chunk:
                        return
                    events = decoder.feed(chunk)
            except Problem as problem:
                self._ended = ConnectionLost(problem.reason)
            except MessageTooLarge as error:
                self._ended = ConnectionLost(f"it sent too much at once: {error}")

    async def _post(self, line: bytes) -> None:
        try:
            async with self._client.send("POST", _POST, line, self._endpoint) as reply:
                if reply.ok:
                    await reply.refusal()  # nothing is expected; reading it frees the connection
                    return
                refusal = await reply.refusal()
                request = jsonrpc.peek_id(line)
                problem = judge(refusal, request, session=False, redact=self._client.peer.redact)
        except Problem as broken:
            problem = broken
        await self._refused(line, problem)

    async def _refused(self, line: bytes, problem: Problem) -> None:
        """Answer a request that was not taken, or end where no other one will be."""
        if problem.wants_login:
            raise LoginRequired(problem.reason)
        if problem.status in GONE:
            raise SessionLost(f"it has ended the session: {problem.reason}")
        if problem.unreachable or isinstance(problem.error, BackendLost):
            raise ConnectionLost(problem.reason)
        message = jsonrpc.decode(line)
        if not isinstance(message, Request):
            return
        try:
            await self._in.send([jsonrpc.encode_failure(message.id, problem.error.error)])
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ConnectionLost("it closed its stream") from None

    def __repr__(self) -> str:
        return f"<SseChannel {show(self._endpoint)}>"


@asynccontextmanager
async def open_sse_channel(peer: Peer) -> AsyncIterator[SseChannel]:
    """Open the stream, learn where to send to, and yield the channel.

    Raises:
        ConnectionLost: The backend can't be reached.
        HandshakeFailed: It doesn't speak HTTP+SSE.
    """
    client = HttpClient(peer, CONNECTIONS)
    try:
        async with client, client.send("GET", _GET) as reply:
            if not reply.ok or reply.kind != EVENT_STREAM:
                raise judge(await reply.refusal(), None, session=False, redact=peer.redact)
            reply.check_encoding()
            decoder = EventDecoder(peer.limits.message_bytes)
            endpoint, events = await _endpoint_of(reply, decoder, client.url)
            channel = SseChannel(client, endpoint)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.pump, reply, decoder, events)
                yield channel
                nursery.cancel_scope.cancel()
    except Problem as problem:
        raise _as_loss(problem) from problem


def _as_loss(problem: Problem) -> ConnectionLost:
    if problem.wants_login:
        return LoginRequired(problem.reason)
    if problem.unreachable or isinstance(problem.error, BackendLost):
        return ConnectionLost(problem.reason)
    return HandshakeFailed(f"it opened no event stream: {problem.reason}")


async def _endpoint_of(
    reply: Reply, decoder: EventDecoder, url: httpx.URL
) -> tuple[httpx.URL, list[Event]]:
    """Wait for the event that says where to send to; return it and the events after it."""
    seen = 0
    while chunk := await reply.chunk():
        try:
            events = decoder.feed(chunk)
        except MessageTooLarge as error:
            raise HandshakeFailed(f"it named no endpoint, but sent too much: {error}") from error
        for position, event in enumerate(events):
            if event.event == ENDPOINT:
                return _checked(event.data, url), events[position + 1 :]
        seen += len(events)
        if seen > MAX_BEFORE_ENDPOINT:
            break
    raise HandshakeFailed("it opened an event stream, but named no endpoint to send to")


def _checked(data: bytes, url: httpx.URL) -> httpx.URL:
    """Read the endpoint, which must have the stream's origin: credentials go there."""
    try:
        if len(data) > MAX_ENDPOINT:
            raise ValueError  # noqa: TRY301 - one reason more of the same kind
        endpoint = url.join(data.decode().strip())
    except (httpx.InvalidURL, ValueError):
        raise HandshakeFailed("the endpoint that it named is no URL") from None
    if not same_origin(endpoint, url) or endpoint.userinfo:
        raise HandshakeFailed(f"it named an endpoint of another origin: {show(endpoint)}")
    return endpoint
