"""Modern clients of a scripted legacy backend that asks, and a clock that tests can turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.backend import Caller
from onemcp.multiplexer import Parking, ParkingLimits, Reply, View
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from onemcp.state import Keyring
from tests.multiplexer.fakes import Server, World, decoded, modern, nothing, receive_all, tool

KEYS = Keyring([bytes(32)])
ABLE = Raw(b'{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{},"context":{}},"roots":{}}')
ELICIT, SAMPLE, ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
ACCEPT = {"action": "accept", "content": {"name": "Ada"}}
CALL = {"name": "alpha__t", "arguments": {"a": 1}}
WALL = 1_800_000_000.0


def able(**more: Any) -> Caller:
    return modern(**{"capabilities": ABLE, **more})


@attrs.define
class Client:
    """A modern client that does everything as the specification says, unless told otherwise."""

    view: View
    server: Server
    caller: Any = able

    async def begin(self, params: dict[str, Any] | None = None, **more: Any) -> Reply:
        request = Request(7, "tools/call", raw(CALL if params is None else params))
        return await self.view.dispatch(request, self.caller(**more))

    async def call(self, params: dict[str, Any] | None = None, **more: Any) -> list[Any]:
        """Make a call and receive everything until its answer."""
        return await receive_all(await self.begin(params, **more))

    async def call_asked(self, *questions: Request, **more: Any) -> dict[str, Any]:
        """Make a call during which the server asks; return the result that asks for input."""
        self.server.handlers["tools/call"] = lambda each: [each.deliver(one) for one in questions]
        return asked(await self.call(**more))

    async def retry(
        self, state: dict[str, Any], answers: dict[str, Any] | None = None, **more: Any
    ) -> list[Any]:
        """Come back with answers, by default one to each question."""
        return await self.call(retried(state, answers), **more)


def retried(state: dict[str, Any], answers: dict[str, Any] | None = None) -> dict[str, Any]:
    if answers is None:
        answers = dict.fromkeys(state["inputRequests"], ACCEPT)
    return {**CALL, "requestState": state["requestState"], "inputResponses": answers}


def asked(messages: Sequence[Any]) -> dict[str, Any]:
    answer = messages[-1]
    assert isinstance(answer, Response), decoded(answer.error)
    result = decoded(answer.result)
    assert result["resultType"] == "input_required"
    return result


def error_of(messages: Sequence[Any]) -> dict[str, Any]:
    (answer,) = messages
    assert isinstance(answer, Failure), decoded(answer.result)
    return decoded(answer.error)


def question(number: int | str = 1, method: str = ELICIT, **params: Any) -> Request:
    return Request(number, method, raw(params or {"message": f"Question {number}?"}))


def withdrawal(number: int | str) -> Notification:
    return Notification("notifications/cancelled", raw({"requestId": number}))


@attrs.define
class Bench:
    """A world with parking.

    Attributes:
        wall: The Unix time.
    """

    world: World
    parking: Parking
    wall: list[float]
    scope: trio.CancelScope
    client: Client

    @property
    def server(self) -> Server:
        return self.client.server

    def finish(self, value: dict[str, Any] | None = None) -> None:
        """Let the server end the call."""
        exchange = self.server.last
        exchange.finish(Response(exchange.id, raw({"content": [], **(value or {})})))

    def finish_soon(self, error: Raw | None = None, value: dict[str, Any] | None = None) -> None:
        """Let the server end the call, or fail it, as soon as it has got its answers."""
        before = len(self.server.answers)

        async def watch() -> None:
            while len(self.server.answers) == before:  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.01)
            if error is None:
                self.finish(value)
            else:
                self.server.last.finish(Failure(self.server.last.id, error))

        self.world.nursery.start_soon(watch)

    def told(self, kind: type) -> list[Any]:
        return [event for event in self.world.events if isinstance(event, kind)]


@asynccontextmanager
async def bench(
    world: World,
    *,
    limits: ParkingLimits | None = None,
    keys: Keyring = KEYS,
    server: Server | None = None,
    others: Sequence[Server] = (),
) -> AsyncIterator[Bench]:
    """Show a legacy server whose tool `t` never answers by itself."""
    wall = [WALL]
    parking = Parking(
        keys, limits, on_event=world.events.append, wall_clock=lambda: wall[0] + trio.current_time()
    )
    world.multiplexer.parking = parking
    if server is None:
        server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
        server.handlers["tools/call"] = nothing
    view = await world.show(server, *others)
    scope = trio.CancelScope()

    async def run(task_status: Any) -> None:
        with scope:
            await parking.supervisor.run(task_status=task_status)

    await world.nursery.start(run)
    yield Bench(world, parking, wall, scope, Client(view, server))
    scope.cancel()
    await wait_all_tasks_blocked()
    assert world.multiplexer.in_flight == 0
    assert len(parking) == 0
