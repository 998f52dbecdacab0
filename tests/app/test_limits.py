"""Every limit on clients: reached, told of, felt by nobody else, and raised by a reload."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from onemcp import config
from onemcp.app import Access, Gateway
from onemcp.app import gateway as composition
from onemcp.auth import load_or_create_keys, new_token
from onemcp.backend import Setup
from onemcp.config import Reloaded
from onemcp.protocol import meta
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.frontend.site import (
    Answer,
    Client,
    modern_headers,
    notification,
    request,
    until,
    with_meta,
)
from tests.multiplexer.fakes import FakeConnection, Server, nothing, tool
from tests.multiplexer.parked import question

OVERLOADED = -33004
LISTEN = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
ABLE = {meta.CLIENT_CAPABILITIES: {"elicitation": {}}}


class Person:
    """Somebody with a token, and everything that they hold open."""

    def __init__(self, place: Place, name: str) -> None:
        token = new_token(place.keys, name, 600.0)
        self.place = place
        self.credentials = {"authorization": f"Bearer {token}"}
        self.answers: list[Answer] = []

    async def connect(self) -> Client:
        host, port = self.place.address
        client = Client(await trio.open_tcp_stream(host, port), f"{host}:{port}")
        self.place.clients.append(client)
        return client

    async def post(self, message: Any, **more: Any) -> Answer:
        client = await self.connect()
        headers = modern_headers(message) | self.credentials
        return await client.ask("POST", "/mcp", headers, with_meta(message, **more))

    async def begin(self, message: Any) -> Answer | None:
        """Send a request; return the answer if there is one before something is held by it."""
        before, client = self.place.held, await self.connect()
        headers = modern_headers(message) | self.credentials
        await client.begin("POST", "/mcp", headers, with_meta(message))
        answers: list[Answer] = []

        async def receive() -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                answers.append(await client.answer())
                self.answers += answers

        self.place.nursery.start_soon(receive)
        await until(lambda: self.place.held != before or bool(answers))
        return answers[0] if answers else None


@attrs.define
class Place:
    """A gateway before scripted servers, with its file.

    Attributes:
        nursery: Where clients wait for answers.
        gateway: The gateway.
        folder: Where its file and its keys are.
        servers: What stands behind it, by name.
        clients: All connections.
    """

    nursery: trio.Nursery
    gateway: Gateway
    folder: Path
    servers: dict[str, Server]
    clients: list[Client] = attrs.field(factory=list)

    @property
    def keys(self) -> Any:
        return load_or_create_keys(self.folder)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.gateway.url.removeprefix("http://").partition("/")[0].partition(":")
        return host, int(port)

    @property
    def held(self) -> tuple[int, ...]:
        calls = sum(len(server.calls) for server in self.servers.values())
        multiplexer = self.gateway.multiplexer
        return calls, multiplexer.admission.queued, self.gateway.streams

    async def reload(self, limits: dict[str, int], of_server: dict[str, int]) -> None:
        write(self.folder, limits, of_server)
        assert self.gateway.reloader is not None
        told = await self.gateway.reloader.reload()
        assert told in {Reloaded.APPLIED, Reloaded.UNCHANGED}  # where its watcher was first


def write(folder: Path, limits: dict[str, int], of_server: dict[str, int]) -> None:
    demo = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}
    servers: dict[str, Any] = {
        "alpha": {"command": "scripted", "limits": of_server},
        "asking": {"command": "scripted"},
    }
    if "messageBytes" in of_server:
        servers = {"demo": {**demo, "limits": of_server}}
    document = {"mcpServers": servers, "server": {"port": 0, "shutdownGrace": 0}, "limits": limits}
    (folder / "onemcp.json").write_text(json.dumps(document))


@contextlib.asynccontextmanager
async def open_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch, row: Row
) -> AsyncIterator[Place]:
    alpha = Server("alpha", tools=[tool("t")])
    alpha.handlers["tools/call"] = nothing
    asking = Server("asking", revision=LATEST_LEGACY, tools=[tool("t")])
    asking.handlers["tools/call"] = lambda exchange: exchange.deliver(question())
    servers = {"alpha": alpha, "asking": asking}
    real = composition.Connector

    class Connector(real):
        def __call__(self, setup: Setup) -> Any:
            server = servers.get(setup.config.name)
            if server is None:
                return super().__call__(setup)
            return FakeConnection(server, setup.notification_handler)

    monkeypatch.setattr(composition, "Connector", Connector)
    write(folder, row.limits, row.server)
    configuration = config.load(folder / "onemcp.json")
    access = Access(lambda: load_or_create_keys(folder), folder)
    await access.prepare(configuration)
    gateway = Gateway(configuration, access=access, path=folder / "onemcp.json")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.run)
            for backend in gateway.multiplexer.backends.values():
                await backend.wait_ready()
            place = Place(nursery, gateway, folder, servers)
            try:
                yield place
            finally:
                with trio.CancelScope(shield=True):
                    for client in place.clients:
                        await trio.aclose_forcefully(client.stream)
            await gateway.stop()


async def call(person: Person) -> Answer | None:
    return await person.begin(request("tools/call", {"name": "alpha__t", "arguments": {}}))


async def stream(person: Person) -> Answer | None:
    return await person.begin(LISTEN)


async def session(person: Person) -> Answer | None:
    params = {"protocolVersion": LATEST_LEGACY, "capabilities": {}}
    message = request("initialize", params)
    headers = {**modern_headers(message), **person.credentials}
    del headers["mcp-protocol-version"]
    client = await person.connect()
    answer = await client.ask("POST", "/mcp", headers, message)
    return None if answer.status == 200 else answer


async def parked(person: Person) -> Answer | None:
    """Call something that asks; where the question finds no room, the server says so."""
    asking = person.place.servers["asking"]
    before = len(asking.answers)

    async def fail_when_refused() -> None:
        await until(lambda: len(asking.answers) > before)
        refusal = asking.answers[-1]
        assert isinstance(refusal, Failure)
        asking.last.finish(Failure(asking.last.id, refusal.error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_when_refused)
        message = request("tools/call", {"name": "asking__t", "arguments": {}})
        answer = await person.post(message, **ABLE)
        nursery.cancel_scope.cancel()
    return answer if "error" in answer.json else None


async def body(person: Person) -> Answer | None:
    answer = await person.post(request("ping", {"padding": "x" * 2000}))
    return answer if answer.status == 413 else None


async def note(person: Person) -> Answer | None:
    answer = await person.post(notification("notifications/roots/list_changed"))
    return None if answer.status == 202 else answer


async def echo(person: Person) -> Answer | None:
    arguments = {"message": "x" * 20_000}
    answer = await person.post(
        request("tools/call", {"name": "demo__echo", "arguments": arguments})
    )
    return answer if "error" in answer.json else None


Use = Callable[[Person], Awaitable[Answer | None]]
"""Uses something once, and holds it where it lasts; returns the refusal if there is one."""


@attrs.frozen
class Row:
    """One limit.

    Attributes:
        use: What is limited.
        status: The HTTP status of a refusal.
        said: What the refusal says.
        fits: How often Eve may use it, besides Ada who was there before.
        limits: What the configuration says of all.
        server: What it says of the server.
    """

    use: Use
    status: int
    said: str
    fits: int = 1
    limits: dict[str, int] = attrs.field(factory=dict)
    server: dict[str, int] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return self.said.partition(".")[2].rstrip(")").replace(" ", "-")


ROWS = [
    Row(call, 503, "limits.queued)", limits={"inFlight": 2, "queued": 0}),
    Row(call, 503, "limits.queued)", fits=2, limits={"inFlight": 2, "queued": 1}),
    Row(
        call,
        429,
        "limits.queuedPerPrincipal)",
        limits={"inFlightPerPrincipal": 1, "queuedPerPrincipal": 0},
    ),
    Row(
        call,
        429,
        "limits.queuedPerPrincipal)",
        fits=2,
        limits={"inFlightPerPrincipal": 1, "queuedPerPrincipal": 1},
    ),
    Row(call, 503, "limits.queued of the server)", server={"inFlight": 2, "queued": 0}),
    Row(call, 503, "limits.queued of the server)", fits=2, server={"inFlight": 2, "queued": 1}),
    Row(session, 503, "limits.sessions)", limits={"sessions": 2, "sessionsPerPrincipal": 2}),
    Row(session, 429, "limits.sessionsPerPrincipal)", limits={"sessionsPerPrincipal": 1}),
    Row(stream, 503, "limits.streams)", limits={"streams": 2, "streamsPerPrincipal": 2}),
    Row(stream, 429, "limits.streamsPerPrincipal)", limits={"streamsPerPrincipal": 1}),
    Row(parked, 200, "limits.parked)", limits={"parked": 2}),
    Row(parked, 200, "limits.parkedPerPrincipal)", limits={"parkedPerPrincipal": 1}),
    Row(parked, 200, "limits.parkedPerBackend)", limits={"parkedPerBackend": 2}),
    Row(note, 429, "limits.notificationsPerPrincipal)", limits={"notificationsPerPrincipal": 1}),
    Row(body, 413, "limits.bodyBytes)", fits=0, limits={"bodyBytes": 1024}),
    Row(echo, 200, "limits.messageBytes", fits=0, server={"messageBytes": 16_384}),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_a_limit_is_told_of_and_felt_by_nobody_else_and_raised_by_a_reload(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with open_place(tmp_path, monkeypatch, row) as place:
        eve, ada = Person(place, "eve"), Person(place, "ada")
        if row.fits:
            assert await row.use(ada) is None
        for _ in range(row.fits):
            assert await row.use(eve) is None
        refused = await row.use(eve)
        assert refused is not None
        assert refused.status == row.status
        assert row.said in refused.message
        if row.status in {429, 503}:
            assert refused.code == OVERLOADED
            assert int(refused.headers["retry-after"]) > 0
        assert await has_what_she_had(ada, row)
        higher = {name: 4096 if name == "bodyBytes" else 50 for name in row.limits}
        await place.reload(higher, dict.fromkeys(row.server, 65536))
        assert await row.use(eve) is None


async def has_what_she_had(person: Person, row: Row) -> bool:
    """Tell whether nothing that somebody holds has been taken from them, and calls are answered."""
    if row.use is call:
        exchange = person.place.servers["alpha"].calls[0]
        exchange.finish(Response(exchange.id, exchange.call.params["name"]))
        await until(lambda: len(person.answers) == 1)
        return person.answers.pop().status == 200
    return person.answers == []
