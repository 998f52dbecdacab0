"""Servers that answer from a script, behind real backends and a real multiplexer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import trio
from msgspec import Raw

from onemcp import config
from onemcp.backend import (
    Backend,
    Call,
    Caller,
    ConnectionLost,
    Exchange,
    Identity,
    ServerDescription,
)
from onemcp.backend.call import outgoing_params
from onemcp.backend.inbound import Inbound
from onemcp.multiplexer import Multiplexer, Reply, SelfDescription, View
from onemcp.protocol.errors import BackendLost
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.methods import CATALOGUES, LISTEN, SUBSCRIBE, UNSUBSCRIBE
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN

ABILITIES = {
    "completions": {},
    "logging": {},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "tools": {"listChanged": True},
}
ANSWERING = Raw(b'{"elicitation":{},"sampling":{},"roots":{}}')
Handler = Callable[[Exchange], object]
"""Answers a request at once, or keeps the exchange to do so later."""


def modern(**more: Any) -> Caller:
    return Caller(object(), "ada", LATEST_MODERN, **more)


def legacy(revision: str = LATEST_LEGACY, **more: Any) -> Caller:
    return Caller(object(), "ada", revision, **more)


def decoded(value: Raw | bytes) -> Any:
    return json.loads(bytes(value))


def result(value: Any, *, era_fields: bool = False) -> Handler:
    """Answer with a result, written here or given as it is."""
    body = value if isinstance(value, Raw) else raw(value)
    if era_fields:
        body = raw({"resultType": "complete", **decoded(body)})
    return lambda exchange: exchange.finish(Response(exchange.id, body))


def failure(code: int, message: str = "no", data: Any = None) -> Handler:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return lambda exchange: exchange.finish(Failure(exchange.id, raw(error)))


def nothing(exchange: Exchange) -> None:
    """Leave a request unanswered."""


class Server:
    """What stands behind a backend: it lists, answers and announces what a test says.

    Attributes:
        calls: The exchanges of everything but lists and subscriptions, in order.
        sent: The parameters of each of them, as they arrived here.
        cancelled: Those that were cancelled.
        answers: The answers to its questions.
        told: The notifications that it has got.
        subscribed: Each resource that is subscribed to, in both eras.
        tasks: Each task that is.
        gate: It gets ready only once this is set.
    """

    def __init__(
        self,
        name: str = "alpha",
        *,
        revision: str = LATEST_MODERN,
        capabilities: dict[str, Any] | None = None,
        instructions: str | None = None,
        prefix: str | None = None,
        call_timeout: float = 60.0,
        in_flight: int = 256,
        queued: int = 256,
        **lists: list[dict[str, Any]],
    ) -> None:
        self.name = name
        self.is_modern = revision == LATEST_MODERN
        declared = ABILITIES if capabilities is None else capabilities
        info = Raw(b'{"name":"%b"}' % name.encode())
        self.description = ServerDescription(revision, declared, info, instructions)
        self.lists: dict[str, Any] = {kind.key: lists.get(kind.key, []) for kind in CATALOGUES}
        self.hints: dict[str, Any] = {}
        self.handlers: dict[str, Handler] = {}
        self.calls: list[Exchange] = []
        self.sent: list[dict[str, Any]] = []
        self.cancelled: list[Exchange] = []
        self.answers: list[Response | Failure] = []
        self.told: list[str] = []
        self.subscribed: set[str] = set()
        self.tasks: set[str] = set()
        self.gate = trio.Event()
        self.gate.set()
        self.connection: FakeConnection | None = None
        self.config = config.Backend(
            name=name,
            prefix=name if prefix is None else prefix,
            transport=config.StdioTransport(command="none"),
            timeouts=config.Timeouts(start=1e6, call=call_timeout),
            limits=config.BackendLimits(in_flight=in_flight, queued=queued),
        )

    @property
    def last(self) -> Exchange:
        return self.calls[-1]

    def announce(self, method: str, **params: Any) -> None:
        """Say something that belongs to no request."""
        assert self.connection is not None
        self.connection.on_notification(Notification(method, raw(params)))

    def change(self) -> None:
        """List one tool more, and say so."""
        self.lists["tools"] = [*self.lists["tools"], tool(f"new{len(self.lists['tools'])}")]
        self.announce("notifications/tools/list_changed")

    def crash(self, *, comes_back: bool = False) -> None:
        """Lose the connection; stay away until the gate is opened, unless it comes back at once."""
        assert self.connection is not None
        if not comes_back:
            self.gate = trio.Event()
        self.connection.lost.set()

    def on_open(self, exchange: Exchange, sent: Raw) -> None:
        method, params = exchange.call.method, decoded(sent)
        for kind in CATALOGUES:
            if method == kind.method:
                result({kind.key: self.lists[kind.key], **self.hints})(exchange)
                return
        if method == LISTEN:
            self.subscribed = set(params["notifications"].get("resourceSubscriptions", ()))
            self.tasks = set(params["notifications"].get("taskIds", ()))
            exchange.deliver(Notification("notifications/subscriptions/acknowledged"))
            return
        self.calls.append(exchange)
        self.sent.append(params)
        handler = self.handlers.get(method)
        if handler is not None:
            handler(exchange)
        elif method in {SUBSCRIBE, UNSUBSCRIBE}:
            (self.subscribed.add if method == SUBSCRIBE else self.subscribed.discard)(params["uri"])
            result({})(exchange)
        else:
            result({"said": self.name}, era_fields=self.is_modern)(exchange)


class FakeConnection:
    """One connection to a scripted server."""

    def __init__(self, server: Server, on_notification: Callable[[Notification], None]) -> None:
        self.server: ServerDescription | None = None
        self.lost = trio.Event()
        self.on_notification = on_notification
        self.exchanges: dict[int, Exchange] = {}
        self.inbound = Inbound(lambda _: None, lambda _: None)
        self.is_shared = True
        self._far = server
        self._ids = 0

    async def run(
        self, *, task_status: trio.TaskStatus[ServerDescription] = trio.TASK_STATUS_IGNORED
    ) -> None:
        await self._far.gate.wait()
        self._far.connection = self
        self.server = self._far.description
        task_status.started(self.server)
        await self.lost.wait()
        self.server = None
        for exchange in self.exchanges.values():
            exchange.fail(BackendLost("the connection was lost"))
        raise ConnectionLost("it crashed")

    def open(self, call: Call) -> Exchange:
        self._ids += 1
        sent, token = outgoing_params(call, self._far.description.revision, self._ids)
        exchange = Exchange(self._ids, call, self, token)
        self.exchanges[self._ids] = exchange
        self._far.on_open(exchange, sent)
        return exchange

    def notify(self, method: str, params: dict[str, Raw]) -> None:
        self._far.told.append(method)

    def abandon(self, exchange: Exchange) -> None:
        self._far.cancelled.append(exchange)

    def reply(self, exchange: Exchange, answer: Response | Failure) -> None:
        self._far.answers.append(answer)


@attrs.define
class World:
    """A multiplexer, and the tasks that keep its backends connected."""

    nursery: trio.Nursery
    multiplexer: Multiplexer = attrs.field(init=False)
    events: list[Any] = attrs.field(factory=list)
    scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        identity = SelfDescription("onemcp", "1.2.3", "Be brief.")
        self.multiplexer = Multiplexer(identity, on_event=self.events.append)

    async def show(self, *servers: Server, wait: bool = True) -> View:
        """Show these servers from now on, connecting to the new ones."""
        backends = [self._backend(server) for server in servers]
        for backend in backends:
            if self.multiplexer.backends.get(backend.name) is not backend:
                self._start(backend)
        for name in self.scopes.keys() - {backend.name for backend in backends}:
            self.scopes.pop(name).cancel()
        self.multiplexer.replace(backends)
        for backend in backends if wait else ():
            await backend.wait_ready()
        view = self.multiplexer.view()
        assert view is not None
        return view

    def view(self, name: str) -> View:
        view = self.multiplexer.view(name)
        assert view is not None
        return view

    def _backend(self, server: Server) -> Backend:
        known = self.multiplexer.backends.get(server.name)
        if known is not None and known.config is server.config:
            return known
        return Backend(
            server.config,
            connect=lambda setup: FakeConnection(server, setup.notification_handler),
            observer=self.multiplexer,
            identity=Identity(Raw(b'{"name":"onemcp"}')),
            on_event=self.events.append,
        )

    def _start(self, backend: Backend) -> None:
        old = self.scopes.pop(backend.name, None)
        if old is not None:
            old.cancel()
        scope = self.scopes[backend.name] = trio.CancelScope()
        self.nursery.start_soon(_keep_serving, backend, scope)


async def _keep_serving(backend: Backend, scope: trio.CancelScope) -> None:
    with scope:
        while True:
            try:
                await backend.serve()
            except ConnectionLost:
                await trio.lowlevel.checkpoint()


async def send(
    view: View, method: str, params: dict[str, Any] | None = None, caller: Caller | None = None
) -> Reply:
    """Dispatch a request with the id 7."""
    return await view.dispatch(Request(7, method, raw(params or {})), caller or modern())


async def receive_all(reply: Reply) -> list[Any]:
    """Receive until the answer, and close."""
    messages: list[Any] = []
    try:
        while not (messages and isinstance(messages[-1], Response | Failure)):
            messages.append(await reply.receive())
    finally:
        reply.close()
    return messages


async def ask(
    view: View, method: str, params: dict[str, Any] | None = None, caller: Caller | None = None
) -> dict[str, Any]:
    """Dispatch a request and return its result, decoded."""
    answer = (await receive_all(await send(view, method, params, caller)))[-1]
    assert isinstance(answer, Response), answer
    assert answer.id == 7
    return decoded(answer.result)


async def ask_for_error(
    view: View, method: str, params: dict[str, Any] | None = None, caller: Caller | None = None
) -> dict[str, Any]:
    """Dispatch a request and return the error that answers it, decoded."""
    answer = (await receive_all(await send(view, method, params, caller)))[-1]
    assert isinstance(answer, Failure), answer
    assert answer.id == 7
    return decoded(answer.error)


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def resource(uri: str) -> dict[str, Any]:
    return {"uri": uri, "name": uri}


def template(uri_template: str) -> dict[str, Any]:
    return {"uriTemplate": uri_template, "name": uri_template}
