"""Servers that do what a test tells them, on real sockets, and connections to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from msgspec import Raw

from onemcp.backend.call import Call, Caller
from onemcp.backend.connection import Connection, ConnectionLost
from onemcp.backend.exchange import Answer, Exchange
from onemcp.backend.handshake import EraMemory, Terms, answer_of
from onemcp.backend.http import Tools, connect_http
from onemcp.config import BackendLimits, HttpTransport, Timeouts, Tls
from onemcp.protocol.fields import raw
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Failure, Notification
from onemcp.protocol.sse import encode_event

LIMIT = 20
"""Seconds that any test may take."""

IDENTITY = raw({"name": "onemcp", "version": "0"})

# --- servers -----------------------------------------------------------------------------------


class Visit:
    """One HTTP request to a scripted server, and the means to answer it."""

    def __init__(self, scope: Any, receive: Any, send: Any, body: bytes) -> None:
        self.verb: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.body = body
        self.message: Any = json.loads(body) if body else None
        self._receive = receive
        self._send = send

    @property
    def what(self) -> str:
        """The JSON-RPC method of a POST, ``answer`` where it has none, else the HTTP method."""
        return self.message.get("method", "answer") if self.verb == "POST" else self.verb

    async def begin(self, status: int, *headers: tuple[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(
        self, status: int, body: bytes = b"", kind: str = "", *headers: tuple[str, str]
    ) -> None:
        kinds = [("content-type", kind)] if kind else []
        await self.begin(status, *kinds, *headers)
        await self.write(body, more=False)

    async def json(self, value: Any, status: int = 200, *headers: tuple[str, str]) -> None:
        await self.answer(status, json.dumps(value).encode(), "application/json", *headers)

    def response(self, result: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": self.message["id"], "result": result}

    async def result(self, value: Any, *headers: tuple[str, str]) -> None:
        await self.json(self.response(value), 200, *headers)

    async def error(self, code: int, status: int = 200, data: Any = None, **more: Any) -> None:
        error = {"code": code, "message": "as scripted"} | ({"data": data} if data else {})
        request_id = more.get("id", self.message.get("id"))
        await self.json({"jsonrpc": "2.0", "id": request_id, "error": error}, status)

    async def stream(self, *headers: tuple[str, str]) -> None:
        await self.begin(200, ("content-type", "text/event-stream"), *headers)

    async def event(self, value: Any, **more: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        await self.write(encode_event(data, **more))

    async def note(self, method: str, **params: Any) -> None:
        await self.event({"jsonrpc": "2.0", "method": method, "params": params})

    async def end(self) -> None:
        await self.write(b"", more=False)

    async def gone(self) -> None:
        """Wait until the client has closed its end."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


Handler = Callable[[Visit], Awaitable[None]]


class Server:
    """A scripted server; what is not scripted is answered as its era would."""

    def __init__(self, **handlers: Handler) -> None:
        self.visits: list[Visit] = []
        self.errors: list[str] = []
        self._handlers = handlers
        self._arrived = trio.Event()

    def on(self, what: str, handler: Handler) -> None:
        self._handlers[what] = handler

    def of(self, what: str) -> list[Visit]:
        return [visit for visit in self.visits if visit.what == what]

    async def seen(self, what: str, times: int = 1) -> Visit:
        """Wait for a request; return the last of them."""
        while len(self.of(what)) < times:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.of(what)[-1]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        visit = Visit(scope, receive, send, body)
        self.visits.append(visit)
        self._arrived.set()
        handler = self._handlers.get(visit.what) or getattr(self, visit.verb.lower())
        await handler(visit)

    async def post(self, visit: Visit) -> None:
        raise NotImplementedError

    async def get(self, visit: Visit) -> None:
        await visit.answer(405)

    async def delete(self, visit: Visit) -> None:
        await visit.answer(405)


DISCOVERED = {
    "resultType": "complete",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {"listChanged": True}},
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "1"}},
}


class Modern(Server):
    """A server of 2026-07-28 that answers every request with its method."""

    async def post(self, visit: Visit) -> None:
        if visit.what == "server/discover":
            await visit.result(DISCOVERED)
        elif visit.what == "initialize":
            await visit.error(-32601, 404)
        else:
            await visit.result({"did": visit.what})


class Legacy(Server):
    """A server of an earlier revision, with a session."""

    def __init__(
        self, revision: str = "2025-11-25", session: str | None = "s-1", **handlers: Handler
    ) -> None:
        super().__init__(**handlers)
        self.revision = revision
        self.session = session

    async def post(self, visit: Visit) -> None:
        if visit.what == "initialize":
            headers = [] if self.session is None else [("Mcp-Session-Id", self.session)]
            result = {
                "protocolVersion": self.revision,
                "capabilities": {},
                "serverInfo": {"name": "scripted", "version": "1"},
            }
            await visit.result(result, *headers)
        elif self.session and visit.headers.get("mcp-session-id") != self.session:
            await visit.error(-32000, 400, id=None)
        elif "id" not in visit.message or visit.what == "answer":
            await visit.answer(202)
        else:
            await visit.result({"did": visit.what})


class Sse(Server):
    """A server of 2024-11-05; `say` puts messages on its stream."""

    def __init__(self, endpoint: str = "/messages?key=1", **handlers: Handler) -> None:
        super().__init__(**handlers)
        self.endpoint = endpoint
        self._in, self._out = trio.open_memory_channel[bytes](100)

    def say(self, value: Any) -> None:
        self._in.send_nowait(encode_event(json.dumps(value).encode()))

    def hang_up(self) -> None:
        self._in.close()

    async def get(self, visit: Visit) -> None:
        await visit.stream()
        await visit.event(self.endpoint.encode(), event="endpoint")
        async for event in self._out:
            await visit.write(event)
        await visit.end()

    async def post(self, visit: Visit) -> None:
        if visit.path != "/messages":
            await visit.answer(405)
            return
        await visit.answer(202, b"Accepted")
        if visit.what == "initialize":
            self.say(visit.response({"protocolVersion": "2024-11-05", "capabilities": {}}))
        elif "id" in visit.message and "method" in visit.message:
            self.say(visit.response({"did": visit.what}))


@asynccontextmanager
async def serving(app: Any, **settings: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port and yield its URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    config.graceful_timeout = 0
    for name, value in settings.items():
        setattr(config, name, value)
    async with trio.open_nursery() as nursery:
        (address, *_) = await nursery.start(partial(serve, mode="asgi"), app, config)
        yield f"{address}/mcp"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve raw TCP, for what no HTTP server would do."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):  # the client has gone first
                await handler(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), handle, 0)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        nursery.cancel_scope.cancel()


# --- clients -----------------------------------------------------------------------------------


def terms(pin: str = "auto", memory: EraMemory | None = None, probe: float = LIMIT) -> Terms:
    return Terms(pin, IDENTITY, probe, memory or EraMemory())


def caller(owner: str = "a", **more: Any) -> Caller:
    return Caller(owner, owner, **more)


@attrs.define
class Catalogue:
    """What is known of a backend's tools: their mirrored parameters, now and when asked again."""

    known: dict[str, tuple[MirroredParameter, ...]] = attrs.field(factory=dict)
    changed: dict[str, tuple[MirroredParameter, ...]] | None = None
    relisted: int = 0

    def mirrored(self, tool: str) -> tuple[MirroredParameter, ...]:
        return self.known.get(tool, ())

    async def relist_tools(self) -> None:
        await trio.lowlevel.checkpoint()
        self.relisted += 1
        self.known = self.known if self.changed is None else self.changed


@attrs.define
class Live:
    """A running connection."""

    connection: Connection
    notes: list[Notification] = attrs.field(factory=list)
    noted: trio.Event = attrs.field(factory=trio.Event)
    lost: ConnectionLost | None = None
    over: trio.Event = attrs.field(factory=trio.Event)
    memory: EraMemory = attrs.field(factory=EraMemory)

    def open(self, method: str, who: Caller | None = None, **params: Any) -> Exchange:
        fields = {key.lstrip("+"): raw(value) for key, value in params.items()}
        return self.connection.open(Call(method, fields, who or caller()))

    async def ask(self, method: str, who: Caller | None = None, **params: Any) -> Answer:
        return await answer_of(self.open(method, who, **params))

    async def result(self, method: str, who: Caller | None = None, **params: Any) -> Any:
        answer = await self.ask(method, who, **params)
        assert not isinstance(answer, Failure), bytes(answer.error)
        return json.loads(bytes(answer.result))

    async def error(self, method: str, who: Caller | None = None, **params: Any) -> Any:
        return failure_of(await self.ask(method, who, **params))

    def on_notification(self, note: Notification) -> None:
        self.notes.append(note)
        self.noted.set()


def failure_of(answer: Answer) -> Any:
    assert isinstance(answer, Failure), answer
    return json.loads(bytes(answer.error))


def plain(value: Raw) -> Any:
    return json.loads(bytes(value))


@asynccontextmanager
async def connecting(
    url: str,
    *,
    pin: str = "auto",
    kind: Any = None,
    headers: dict[str, str] | None = None,
    ca_file: Path | None = None,
    memory: EraMemory | None = None,
    tools: Tools | None = None,
    limits: BackendLimits | None = None,
    probe: float = LIMIT,
) -> AsyncIterator[Live]:
    """Run a connection; its end is recorded, not raised."""
    memory = memory or EraMemory()
    notes: list[Notification] = []
    live = Live(None, notes, memory=memory)  # type: ignore[arg-type]  # set below
    live.connection = connect_http(
        HttpTransport(url=url, headers=headers or {}, type=kind, tls=Tls(ca_file=ca_file)),
        Timeouts(),
        limits or BackendLimits(),
        terms(pin, memory, probe),
        on_notification=live.on_notification,
        tools=tools or Catalogue(),
    )

    async def run(task_status: Any) -> None:
        try:
            await live.connection.run(task_status=task_status)
        except ConnectionLost as reason:
            live.lost = reason
        finally:
            live.over.set()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            up = trio.Event()

            async def start() -> None:
                try:
                    await nursery.start(run)
                except RuntimeError:
                    assert live.lost is not None  # it ended without acknowledging
                up.set()

            nursery.start_soon(start)
            await up.wait()
            yield live
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(server: Any, **options: Any) -> AsyncIterator[Live]:
    """Serve an application and connect to it."""
    async with serving(server) as url, connecting(url, **options) as live:
        assert live.lost is None, live.lost
        yield live


async def refusal(url: str, **options: Any) -> ConnectionLost:
    """Fail to connect, and return why."""
    async with connecting(url, **options) as live:
        assert live.lost is not None, "it connected"
        return live.lost
    raise AssertionError  # pragma: no cover
