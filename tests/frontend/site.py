"""The real application behind a real Hypercorn, in front of scripted backends, and its clients."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import attrs
import h11
import trio

from onemcp.admission import PlaceLimits, Places, Rate
from onemcp.app import listener as listening
from onemcp.auth import Gate
from onemcp.frontend import (
    Application,
    Bounds,
    Deadlines,
    LegacyFrontend,
    Passports,
    SessionMemory,
    Sessions,
)
from onemcp.frontend.resumable import RETRY
from onemcp.protocol import meta
from onemcp.protocol.methods import NAMED
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.protocol.sse import Event, EventDecoder
from onemcp.state import Ledger
from tests.multiplexer.fakes import Server, World, tool

LIMIT = 64 * 1024
JSON = "application/json"
BOTH = "application/json, text/event-stream"
HEADERS = {"content-type": JSON, "accept": BOTH}


def request(method: str, params: Any = None, request_id: Any = 1) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": request_id, "method": method}
    return message if params is None else message | {"params": params}


def notification(method: str, params: Any = None) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "method": method}
    return message if params is None else message | {"params": params}


def with_meta(message: dict[str, Any], version: str = LATEST_MODERN, **more: Any) -> dict[str, Any]:
    params = message.get("params", {})
    members = {meta.PROTOCOL_VERSION: version, meta.CLIENT_CAPABILITIES: {}, **more}
    return message | {"params": {**params, "_meta": members}}


def modern_headers(message: Mapping[str, Any], version: str = LATEST_MODERN) -> dict[str, str]:
    headers = {**HEADERS, "mcp-protocol-version": version, "mcp-method": message["method"]}
    key = NAMED.get(message["method"])
    if key is not None:
        headers["mcp-name"] = message["params"][key]
    return headers


@attrs.frozen
class Answer:
    """A whole HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        return self.json["error"]["code"]

    @property
    def message(self) -> str:
        return self.json["error"]["message"]

    @property
    def events(self) -> list[Event]:
        return EventDecoder(LIMIT).feed(self.body)

    @property
    def messages(self) -> list[Any]:
        return [json.loads(event.data) for event in self.events if event.data]


class Client:
    """One connection of an HTTP client that says exactly what it is told to."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)
        self._host = host
        self._decoder = EventDecoder(1024 * 1024)
        self._events: list[Event] = []
        self.comments = 0

    async def ask(
        self,
        method: str,
        path: str = "/mcp",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """Send a request and receive the whole response."""
        await self.begin(method, path, headers, body)
        return await self.answer()

    async def begin(
        self,
        method: str,
        path: str = "/mcp",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        data = data if isinstance(data, bytes) else data.encode()
        fields = {"host": self._host, **(headers or {})}
        if data and "transfer-encoding" not in fields:
            fields.setdefault("content-length", str(len(data)))
        events: list[h11.Event] = [
            h11.Request(method=method, target=path, headers=list(fields.items()))
        ]
        if data:
            events.append(h11.Data(data=data))
        if data or "content-length" not in fields:
            events.append(h11.EndOfMessage())
        await self.stream.send_all(b"".join(self.http.send(event) or b"" for event in events))

    async def begin_raw(self, data: bytes) -> None:
        """Send a request that h11 would not send."""
        await self.stream.send_all(data)
        self.http.send(h11.Request(method="POST", target="/", headers=[("host", "")]))

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            await self.stream.send_all(data)

    async def next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self.stream.receive_some())

    async def head(self) -> h11.Response:
        """Receive the head of a response."""
        event = await self.next()
        assert isinstance(event, h11.Response), event
        return event

    async def answer(self) -> Answer:
        """Receive a whole response."""
        head = await self.head()
        headers = {key.decode(): value.decode() for key, value in head.headers}
        return Answer(head.status_code, headers, await self.answer_body())

    async def answer_body(self) -> bytes:
        """Receive the rest of a response."""
        body = b""
        while isinstance(event := await self.next(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        return body

    async def stream_begins(self) -> None:
        head = await self.head()
        assert head.status_code == 200, head
        headers = dict(head.headers)
        assert headers[b"content-type"] == b"text/event-stream"
        assert headers[b"x-accel-buffering"] == b"no"
        assert headers[b"cache-control"] == b"no-store"

    async def event(self) -> Event | None:
        """Receive the next event of a stream; None at its end."""
        while not self._events:
            event = await self.next()
            if isinstance(event, h11.EndOfMessage):
                return None
            assert isinstance(event, h11.Data), event
            self.comments += event.data.count(b":\r\n\r\n")
            self._events += self._decoder.feed(bytes(event.data))
        return self._events.pop(0)

    async def message(self) -> Any:
        """Receive the next message of a stream; None at its end."""
        while (event := await self.event()) is not None:
            if event.data:  # else it primes the client to come back
                return json.loads(event.data)
        return None

    async def comment(self) -> None:
        """Receive a keep-alive comment."""
        before = self.comments
        while self.comments == before:
            event = await self.next()
            assert isinstance(event, h11.Data), event
            self.comments += event.data.count(b":\r\n\r\n")

    async def ends(self) -> None:
        """Receive the end of the connection."""
        while await self.stream.receive_some():
            pass

    async def close(self) -> None:
        await self.stream.aclose()

    def abort(self) -> None:
        """Reset the connection, as the end of a process does with unread data."""
        linger = b"\x01\0\0\0\0\0\0\0"
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.stream.socket.close()


@attrs.define
class Site:
    """Everything from the listening socket to the backends."""

    nursery: trio.Nursery
    world: World
    server: Server
    application: Application
    listener: socket.socket
    events: list[Any]
    clients: list[Client]
    stopped: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def sessions(self) -> Sessions:
        return self.application.legacy.sessions

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    async def serve(self, grace: float = 1.0) -> None:
        async def run(*, task_status: trio.TaskStatus[str]) -> None:
            with self.scope:
                await listening.serve(
                    self.application,
                    self.listener,
                    grace,
                    self.drain,
                    self.events.append,
                    task_status=task_status,
                )
            self.stopped.set()

        await self.nursery.start(run)

    async def drain(self, ended: trio.Event) -> None:
        self.world.multiplexer.stop()
        await until(lambda: not self.world.multiplexer.in_flight and not len(self.sessions))

    async def connect(self) -> Client:
        stream = await trio.open_tcp_stream("127.0.0.1", self.listener.getsockname()[1])
        client = Client(stream, self.host)
        self.clients.append(client)
        return client

    async def ask(
        self,
        method: str,
        path: str = "/mcp",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """Send a request on a connection of its own."""
        client = await self.connect()
        answer = await client.ask(method, path, headers, body)
        await client.close()
        return answer

    async def post(
        self, message: Any, headers: Mapping[str, str] | None = None, path: str = "/mcp"
    ) -> Answer:
        return await self.ask("POST", path, HEADERS | dict(headers or {}), message)

    async def post_modern(self, message: dict[str, Any], path: str = "/mcp") -> Answer:
        return await self.ask("POST", path, modern_headers(message), with_meta(message))

    async def begin_modern(self, message: dict[str, Any], **more: Any) -> Client:
        client = await self.connect()
        await client.begin("POST", "/mcp", modern_headers(message), with_meta(message, **more))
        return client

    async def open(
        self,
        revision: str = LATEST_LEGACY,
        capabilities: Any = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/mcp",
    ) -> SessionClient:
        params = {
            "protocolVersion": revision,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = await self.post(request("initialize", params, 0), headers, path)
        assert answer.status == 200, answer
        assert answer.json["result"]["protocolVersion"] == revision
        return SessionClient(self, answer.headers["mcp-session-id"], revision, dict(headers or {}))


@attrs.frozen
class SessionClient:
    """A legacy client in its session; every request has a connection of its own."""

    site: Site
    id: str
    revision: str
    more: dict[str, str]

    @property
    def headers(self) -> dict[str, str]:
        return {
            **HEADERS,
            "mcp-session-id": self.id,
            "mcp-protocol-version": self.revision,
            **self.more,
        }

    @property
    def session(self) -> Any:
        return self.site.sessions._sessions[self.id]

    def event_id(self, stream: str, event: int) -> str:
        """Return the id that a client was told of an event of one of its streams."""
        return self.session.streams.find(stream).event_id(event)

    async def post(self, message: Any, **headers: str) -> Answer:
        return await self.site.ask("POST", "/mcp", self.headers | headers, message)

    async def begin(self, message: Any) -> Client:
        client = await self.site.connect()
        await client.begin("POST", "/mcp", self.headers, message)
        return client

    async def get(self, last: str | None = None) -> Client:
        client = await self.site.connect()
        headers = self.headers | ({} if last is None else {"last-event-id": last})
        await client.begin("GET", "/mcp", headers)
        return client

    async def listen(self, last: str | None = None) -> Client:
        client = await self.get(last)
        await client.stream_begins()
        if self.revision == LATEST_LEGACY:  # a priming event, with an id to come back to
            prime = await client.event()
            assert prime is not None
            assert (prime.data, prime.retry) == (b"", RETRY)
        return client

    async def delete(self) -> Answer:
        return await self.site.ask("DELETE", "/mcp", self.headers)


CALL = request("tools/call", {"name": "alpha__t", "arguments": {}})


def call(request_id: Any = 1, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": "alpha__t", "arguments": arguments}, request_id)


@contextlib.asynccontextmanager
async def open_site(
    server: Server | None = None,
    *others: Server,
    gate: Gate | None = None,
    poll_after: float | None = None,
    sessions: int = 1000,
    streams: int = 1000,
    notifications: int = 1000,
    deadlines: Deadlines = Deadlines(3600.0, 86400.0),  # noqa: B008 - frozen
    grace: float = 1.0,
    passports: Passports | None = None,
    ledger: Ledger | None = None,
) -> AsyncIterator[Site]:
    """Serve scripted backends until the end of the block."""
    server = server or Server(tools=[tool("t")])
    events: list[Any] = []
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        await world.show(server, *others)
        kept = Sessions(
            PlaceLimits(sessions, sessions),
            deadlines,
            passports=passports,
            memory=None if ledger is None else SessionMemory(ledger, events.append),
            on_event=events.append,
        )
        await nursery.start(kept.supervisor.run)
        with listening.listen("127.0.0.1", 0) as listener:
            application = Application(
                world.multiplexer,
                LegacyFrontend(kept, poll_after),
                gate or Gate(mode="none"),
                Bounds(
                    LIMIT,
                    Places("streams of events", "limits.streams", PlaceLimits(streams, streams)),
                    Rate(notifications),
                ),
                events.append,
            )
            site = Site(nursery, world, server, application, listener, events, [])
            await site.serve(grace)
            try:
                yield site
            finally:
                for client in site.clients:
                    with trio.CancelScope(shield=True):
                        await trio.aclose_forcefully(client.stream)
                nursery.cancel_scope.cancel()


async def wait_for(server: Server, calls: int = 1) -> None:
    """Wait until a backend has got so many calls."""
    await until(lambda: len(server.calls) >= calls)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has become true in another task, or at the other end of a socket."""
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await trio.sleep(0.001)
