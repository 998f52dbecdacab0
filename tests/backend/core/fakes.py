"""The other ends that the tests of the core talk to: a scripted channel, a scripted connection."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Raw

from onemcp.backend import Call, Caller, ConnectionLost, Exchange, ServerDescription
from onemcp.backend.duplex import DuplexConnection, DuplexLimits
from onemcp.backend.handshake import EraMemory, Terms
from onemcp.backend.inbound import Inbound
from onemcp.protocol.errors import BackendLost, BackendUnavailable, RemoteError
from onemcp.protocol.fields import plain, raw
from onemcp.protocol.framing import Oversized
from onemcp.protocol.jsonrpc import Failure, Notification, Response, notification
from onemcp.protocol.methods import CATALOGUES
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onemcp.backend import Answer, Incoming

IDENTITY = raw({"name": "onemcp", "version": "0"})
PROBE = 5.0
EVERYTHING = {"elicitation": {}, "sampling": {}, "roots": {}}


def caller(owner: str = "ann", revision: str = LATEST_LEGACY, **options: Any) -> Caller:
    capabilities = raw(options.pop("capabilities", {}))
    return Caller(owner, owner, revision, capabilities, **options)


def call(method: str = "tools/call", owner: str = "ann", **options: Any) -> Call:
    params = {key: raw(value) for key, value in options.pop("params", {}).items()}
    return Call(method, params, options.pop("caller", None) or caller(owner, **options))


def tools(*names: str, **members: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "inputSchema": {}} for name in names], **members}


class Peer:
    """The backend's end of a channel; the channel itself, too."""

    def __init__(self) -> None:
        self.reads = trio.Event()
        self.reads.set()
        self.room: int | None = None
        self.begun = b""
        self.writes: list[bytes] = []
        self.closed = False
        self.teardown = 0.0
        self._said, self._hears = trio.open_memory_channel[list[bytes | Oversized] | Exception](
            float("inf")
        )
        self._sent, self._received = trio.open_memory_channel[dict[str, Any]](float("inf"))

    # the channel

    async def send(self, lines: bytes) -> None:
        await self.reads.wait()
        if self.closed:
            raise ConnectionLost("it closed its input")
        self._take(lines)

    def send_nowait(self, lines: bytes) -> bytes:
        if self.closed or not self.reads.is_set():
            return lines
        if self.room is None:
            self._take(lines)
            return b""
        self.begun, rest = lines[: self.room], lines[self.room :]
        return rest

    def _take(self, lines: bytes) -> None:
        lines, self.begun = self.begun + lines, b""
        self.writes.append(lines)
        assert lines.endswith(b"\n")
        for line in lines.splitlines():
            self._sent.send_nowait(json.loads(line))

    async def receive(self) -> list[bytes | Oversized]:
        said = await self._hears.receive()
        if isinstance(said, Exception):
            raise said
        return said

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Peer]:
        try:
            yield self
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.teardown)

    # what the tests do

    async def next(self) -> dict[str, Any]:
        with trio.fail_after(1000):
            return await self._received.receive()

    def rest(self) -> list[dict[str, Any]]:
        found = []
        while self._received.statistics().current_buffer_used:
            found.append(self._received.receive_nowait())
        return found

    def say(self, *messages: dict[str, Any]) -> None:
        self.say_lines(
            *(json.dumps({"jsonrpc": "2.0", **message}).encode() for message in messages)
        )

    def say_lines(self, *lines: bytes | Oversized) -> None:
        self._said.send_nowait(list(lines))

    def answer(self, request: dict[str, Any], result: Any = None) -> None:
        self.say({"id": request["id"], "result": {} if result is None else result})

    def refuse(self, request: dict[str, Any], code: int = -32601, **error: Any) -> None:
        self.say({"id": request["id"], "error": {"code": code, "message": "no", **error}})

    def end(self, reason: str | None = None) -> None:
        self._said.send_nowait([] if reason is None else ConnectionLost(reason))

    # common dialogues

    async def discovered(self, **capabilities: Any) -> None:
        request = await self.next()
        assert request["method"] == "server/discover"
        self.answer(
            request, {"supportedVersions": [LATEST_MODERN], "capabilities": capabilities or {}}
        )

    async def initialized(self, revision: str = LATEST_LEGACY, **capabilities: Any) -> None:
        request = await self.next()
        assert request["method"] == "initialize"
        self.answer(request, {"protocolVersion": revision, "capabilities": capabilities})
        assert (await self.next())["method"] == "notifications/initialized"


class Duplex:
    """A connection to a peer, running; and what became of it."""

    def __init__(self, pin: str = "auto", memory: EraMemory | None = None, **limits: int) -> None:
        self.peer = Peer()
        self.memory = memory or EraMemory()
        self.notes: list[Notification] = []
        self.lost: ConnectionLost | None = None
        self.ended = trio.Event()
        self.connection = DuplexConnection(
            self.peer.open,
            Terms(pin, IDENTITY, PROBE, self.memory),
            self.notes.append,
            DuplexLimits(**limits),
        )

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await self.connection.run(task_status=task_status)
        except ConnectionLost as reason:
            self.lost = reason
        finally:
            self.ended.set()

    async def wait_up(self) -> ServerDescription:
        while self.connection.server is None:
            assert not self.ended.is_set(), self.lost
            await trio.sleep(0.01)
        return self.connection.server

    async def wait_lost(self) -> ConnectionLost:
        with trio.fail_after(1000):
            await self.ended.wait()
        assert self.lost is not None
        return self.lost


SILENT = object()
"""No answer at all."""


class FakeConnection:
    """A connection whose server answers from a table."""

    def __init__(
        self, capabilities: dict[str, Any] | None = None, revision: str = LATEST_LEGACY
    ) -> None:
        self.description = ServerDescription(revision, capabilities or {})
        self.server: ServerDescription | None = None
        self.answers: dict[str, Any] = {"logging/setLevel": {}}
        self.opened: list[Exchange] = []
        self.cancelled: list[Exchange] = []
        self.startable = trio.Event()
        self.startable.set()
        self.teardown = 0.0
        self.is_shared = True
        self.inbound = Inbound(lambda _: None, lambda _: None)
        self._ids = 0
        self._over = trio.Event()
        self._reason = ConnectionLost("it ended")
        self.running = False

    @property
    def waiting(self) -> list[Exchange]:
        return [exchange for exchange in self.opened if not exchange.finished]

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.running = True
        try:
            await self.startable.wait()
            if not self._over.is_set():
                self.server = self.description
                task_status.started(self.description)
            await self._over.wait()
        finally:
            self.server = None
            for exchange in self.waiting:
                exchange.fail(BackendLost("lost"))
            with trio.CancelScope(shield=True):
                await trio.sleep(self.teardown)
            self.running = False
        raise self._reason

    def lose(self, reason: str = "it ended") -> None:
        self._reason = ConnectionLost(reason)
        self.startable.set()
        self._over.set()

    def open(self, call: Call) -> Exchange:
        if self.server is None:
            raise BackendUnavailable("the connection is not up")
        self._ids += 1
        exchange = Exchange(self._ids, call, self)
        answer = self.answers.get(call.method, SILENT)
        if callable(answer):
            answer = answer(call)
        if isinstance(answer, Exception):
            raise answer
        self.opened.append(exchange)
        if isinstance(answer, Failure):
            exchange.finish(Failure(exchange.id, answer.error))
        elif answer is not SILENT:
            exchange.finish(Response(exchange.id, raw(answer)))
        return exchange

    def notify(self, method: str, params: Any) -> None:
        raise NotImplementedError

    def abandon(self, exchange: Exchange) -> None:
        self.cancelled.append(exchange)

    def reply(self, exchange: Exchange, answer: Answer) -> None:
        raise NotImplementedError

    def methods(self) -> list[str]:
        return [exchange.call.method for exchange in self.opened]

    def asked(self, method: str) -> list[Any]:
        """The parameters of all requests of a method."""
        return [
            {key: plain(value) for key, value in exchange.call.params.items()}
            for exchange in self.opened
            if exchange.call.method == method
        ]


def modern(**capabilities: Any) -> FakeConnection:
    return FakeConnection(capabilities, LATEST_MODERN)


def failure(code: int = -32603, message: str = "no") -> Failure:
    return Failure(0, raw({"code": code, "message": message}))


def error_of(answer: Incoming) -> RemoteError:
    assert isinstance(answer, Failure)
    return RemoteError(answer.error)


def acknowledgement(exchange: Exchange) -> Notification:
    return notification(
        "notifications/subscriptions/acknowledged",
        {
            "_meta": {"io.modelcontextprotocol/subscriptionId": exchange.id},
            "notifications": plain(exchange.call.params["notifications"]),
        },
    )


def content(note: Notification) -> Any:
    return plain(note.params)


def unread(exchange: Exchange) -> list[Incoming]:
    return list(exchange._messages)


ALL_LISTS = {kind.capability: {"listChanged": True} for kind in CATALOGUES}
EMPTY = Raw(b"{}")
