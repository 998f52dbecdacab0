"""A backend with a pool of instances, each of them a scripted legacy program."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from onemcp import config
from onemcp.backend import Backend, Caller, ConnectionLost, Exchange, Identity, Setup
from onemcp.backend.duplex import DuplexConnection, DuplexLimits
from onemcp.backend.handshake import Terms
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.jsonrpc import Notification
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.backend.core.fakes import EVERYTHING, IDENTITY, PROBE, Peer, call, caller, tools

PATIENCE = 50_000
CAPABILITIES = {"tools": {}, "logging": {}}


def able(owner: str = "ann", **options: Any) -> Caller:
    """A client that can be asked anything."""
    return caller(owner, capabilities=EVERYTHING, **options)


class Program(Peer):
    """One instance: it does everything by itself but answer calls and pings that it must not.

    Attributes:
        calls: The calls of clients, in the order they came.
        heard: The methods of everything it was sent.
        pings: Whether it answers pings.
    """

    def __init__(self, revision: str = LATEST_LEGACY) -> None:
        super().__init__()
        self.revision = revision
        self.calls: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.refusals: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.pings = True
        self.ended = False

    @property
    def last(self) -> dict[str, Any]:
        return self.calls[-1]

    async def serve(self) -> None:
        async for message in self._received:
            method = message.get("method", "")
            self.heard.append(method)
            if not method:
                (self.refusals if "error" in message else self.answers).append(message)
            elif method == "initialize":
                result = {"protocolVersion": self.revision, "capabilities": CAPABILITIES}
                self.answer(message, result)
            elif method == "tools/list":
                self.answer(message, tools("t", "u"))
            elif method == "ping":
                if self.pings:
                    self.answer(message)
            elif method == "logging/setLevel":
                self.answer(message)
            elif "id" in message:
                self.calls.append(message)

    def ask(self, number: str = "q", method: str = "elicitation/create") -> None:
        self.say({"id": number, "method": method, "params": {"message": "?"}})

    def log(self, data: str) -> None:
        params = {"level": "error", "data": data}
        self.say({"method": "notifications/message", "params": params})

    def count(self, method: str) -> int:
        return self.heard.count(method)


class World:
    """The backend, its supervisor, and all programs that were ever started.

    Attributes:
        cannot_start: Why no program can be started; None where one can.
        gate: Programs speak only once it is set.
    """

    def __init__(self, nursery: trio.Nursery, **settings: Any) -> None:
        self.nursery = nursery
        self.programs: list[Program] = []
        self.events: list[Any] = []
        self.announcements: list[str] = []
        self.ends: list[ConnectionLost] = []
        self.cannot_start: str | None = None
        self.revision = LATEST_LEGACY
        self.gate = trio.Event()
        self.gate.set()
        self.backend = Backend(
            config.Backend(
                name="b",
                transport=config.StdioTransport(command="x"),
                protocol="legacy",
                instances=config.Instances(**settings.pop("instances", {})),
                **settings,
            ),
            connect=self._connect,
            observer=self,
            identity=Identity(IDENTITY),
            on_event=self.events.append,
        )

    @property
    def primary(self) -> Program:
        return self.programs[0]

    @property
    def alive(self) -> list[Program]:
        return [program for program in self.programs if not program.ended]

    def changed(self, backend: Backend) -> None:
        """Nothing to route."""

    def announced(self, backend: Backend, note: Notification) -> None:
        self.announcements.append(note.method)

    async def up(self) -> World:
        await self.nursery.start(self.backend.pool.supervisor.run)
        await self.incarnate()
        return self

    async def incarnate(self) -> None:
        await self.nursery.start(self._serve)
        with trio.fail_after(PATIENCE):
            await self.backend.wait_ready()
        await settle()

    async def open(self, who: Caller, name: str = "t") -> Exchange:
        exchange = await self.backend.open(call(caller=who, params={"name": name}))
        await settle()
        return exchange

    def begin(self, who: Caller, name: str = "t") -> Pending:
        """Open a call in a task of its own."""
        pending = Pending()
        asked = call(caller=who, params={"name": name})
        self.nursery.start_soon(pending.run, functools.partial(self.backend.open, asked))
        return pending

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await self.backend.serve(task_status=task_status)
        except ConnectionLost as reason:
            self.ends.append(reason)

    def _connect(self, setup: Setup) -> DuplexConnection:
        terms = Terms("legacy", IDENTITY, PROBE, setup.memory)
        return DuplexConnection(self._open, terms, setup.notification_handler, DuplexLimits())

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Peer]:
        await self.gate.wait()
        if self.cannot_start is not None:
            raise ConnectionLost(self.cannot_start)
        program = Program(self.revision)
        self.programs.append(program)
        self.nursery.start_soon(program.serve)
        try:
            yield program
        finally:
            program.ended = True


class Pending:
    """A call that may have to wait, and what has become of it."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.error: Exception | None = None
        self.scope = trio.CancelScope()

    @property
    def waits(self) -> bool:
        return self.exchange is None and self.error is None

    async def run(self, opening: Any) -> None:
        with self.scope:
            try:
                self.exchange = await opening()
            except ProtocolError as error:
                self.error = error


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.001)
