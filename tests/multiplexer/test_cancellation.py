"""Whatever is cancelled, at whichever checkpoint, leaves nothing in flight behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.multiplexer import ALL_LISTS, View
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    ANSWERING,
    Server,
    World,
    failure,
    legacy,
    modern,
    resource,
    result,
    send,
    template,
    tool,
)

URI = "x://1"
ASKING = {
    "resultType": "input_required",
    "inputRequests": {"a": {"method": "roots/list"}, "b": {"method": "roots/list"}},
}


MOST_CHECKPOINTS = 100


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when a task has come to its checkpoint of a certain number."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, number: int) -> None:
        self.task = task
        self.scope = scope
        self.left = number

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


@attrs.define
class Trial:
    """One attempt at a scenario, cancelled at its checkpoint of a certain number."""

    number: int
    was_too_late: bool = False

    async def run(self, scenario: Awaitable[None]) -> None:
        with trio.CancelScope() as scope:
            instrument = CancelAt(trio.lowlevel.current_task(), scope, self.number)
            trio.lowlevel.add_instrument(instrument)
            try:
                await scenario
            finally:
                trio.lowlevel.remove_instrument(instrument)
        self.was_too_late = not scope.cancelled_caught


async def serve(view: View, method: str, params: dict, caller) -> None:
    """Do what a frontend does with a request, answering every question."""
    reply = await send(view, method, params, caller)
    try:
        while True:
            message = await reply.receive()
            if isinstance(message, Request):
                reply.answer(Response(message.id, raw({"roots": []})))
            elif isinstance(message, Response):
                return
    finally:
        reply.close()


def later(world: World, handler: Callable) -> Callable:
    """Answer only after everything else has come to rest."""

    async def answer(exchange) -> None:
        await wait_all_tasks_blocked()
        handler(exchange)

    return lambda exchange: world.nursery.start_soon(answer, exchange)


def talkative(exchange) -> None:
    exchange.deliver(Notification("notifications/progress", Raw(b"{}")))
    exchange.deliver(Request(1, "roots/list"))
    result({})(exchange)


async def simple_call(world: World, trial: Trial) -> None:
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
    server.handlers["tools/call"] = later(world, talkative)
    view = await world.show(server)
    caller = legacy(capabilities=ANSWERING)
    await trial.run(serve(view, "tools/call", {"name": "alpha__t"}, caller))


async def call_with_log_level(world: World, trial: Trial) -> None:
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
    server.handlers["logging/setLevel"] = later(world, result({}))
    view = await world.show(server)
    caller = modern(log_level="debug")
    await trial.run(serve(view, "tools/call", {"name": "alpha__t"}, caller))


async def call_to_a_starting_backend(world: World, trial: Trial) -> None:
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    server.crash()
    await wait_all_tasks_blocked()
    server.handlers["tools/call"] = later(world, result({"resultType": "complete"}))

    async def come_back() -> None:
        await wait_all_tasks_blocked()
        server.gate.set()

    world.nursery.start_soon(come_back)
    await trial.run(serve(view, "tools/call", {"name": "alpha__t"}, modern()))


async def rounds_of_questions(world: World, trial: Trial) -> None:
    server = Server(tools=[tool("t")])
    rounds = [ASKING, ASKING, {"resultType": "complete"}]

    def answer(exchange) -> None:
        result(rounds.pop(0))(exchange)

    server.handlers["tools/call"] = later(world, answer)
    view = await world.show(server)
    caller = legacy(capabilities=ANSWERING)
    await trial.run(serve(view, "tools/call", {"name": "alpha__t"}, caller))


async def reading_in_turn(world: World, trial: Trial) -> None:
    servers = [Server(name) for name in ("one", "two", "three")]
    for server in servers[:2]:
        server.handlers["resources/read"] = later(world, failure(-32002))
    view = await world.show(*servers)
    await trial.run(serve(view, "resources/read", {"uri": URI}, modern()))


async def listening(world: World, trial: Trial) -> None:
    one = Server("one", revision=LATEST_LEGACY, resources=[resource(URI)])
    two = Server("two", revision=LATEST_LEGACY, resourceTemplates=[template("y:{id}")])
    for server in (one, two):
        server.handlers["resources/subscribe"] = later(world, result({}))
    view = await world.show(one, two)

    async def end() -> None:
        await trio.sleep(0.05)
        view.end_subscriptions()

    world.nursery.start_soon(end)
    params = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": [URI, "y:1"]}}
    await trial.run(serve(view, "subscriptions/listen", params, modern()))


async def subscribing_by_resource(world: World, trial: Trial) -> None:
    server = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    server.handlers["resources/subscribe"] = later(world, result({}))
    view = await world.show(server)

    async def subscribe() -> None:
        subscriber = await view.subscribe(ALL_LISTS)
        try:
            await view.subscribe_resource(subscriber, URI)
        finally:
            subscriber.close()

    await trial.run(subscribe())


@pytest.mark.requirement("basic/patterns/cancellation#behavior-requirements-3")
@pytest.mark.parametrize(
    "scenario",
    [
        simple_call,
        call_with_log_level,
        call_to_a_starting_backend,
        rounds_of_questions,
        reading_in_turn,
        listening,
        subscribing_by_resource,
    ],
)
async def test_cancelled_at_any_checkpoint_nothing_is_left(
    scenario: Callable[[World, Trial], Awaitable[None]], autojump_clock: MockClock
):
    for number in range(1, MOST_CHECKPOINTS):
        trial = Trial(number)
        async with trio.open_nursery() as nursery:
            world = World(nursery)
            await scenario(world, trial)
            await wait_all_tasks_blocked()
            multiplexer = world.multiplexer
            assert multiplexer.in_flight == 0, number
            for backend in multiplexer.backends.values():
                assert backend.in_flight == 0, number
                assert backend.upstream.wanted == set(), number
            view = multiplexer.view()
            assert view is not None
            assert len(view._audience) == 0, number
            nursery.cancel_scope.cancel()
        if trial.was_too_late:
            assert number > 2
            return
    pytest.fail("the scenario never ended by itself")
