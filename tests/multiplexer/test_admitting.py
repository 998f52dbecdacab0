"""Calls that wait for a place: within their own deadline, and only as long as they are wanted."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.admission import Limits
from onemcp.multiplexer import RetryRefused, View
from onemcp.multiplexer.parking import USED
from onemcp.protocol.errors import Overloaded, ProtocolError, ShuttingDown
from onemcp.protocol.jsonrpc import Response
from tests.multiplexer.fakes import Server, World, decoded, legacy, modern, nothing, send, tool
from tests.multiplexer.parked import bench, question

CALL = {"name": "alpha__t"}


def limit(world: World, **limits: int) -> None:
    world.multiplexer.reconfigure(
        world.multiplexer.identity, separator="__", limits=Limits(**limits)
    )


@attrs.define
class Calls:
    """Calls of a view, and what became of them."""

    world: World
    view: View
    answers: dict[str, Any] = attrs.field(factory=dict)

    async def begin(self, name: str, client: Any = modern) -> trio.CancelScope:
        scope = trio.CancelScope()

        async def call() -> None:
            with scope:
                try:
                    reply = await send(self.view, "tools/call", CALL, client())
                except ProtocolError as error:
                    self.answers[name] = error
                    return
                try:
                    self.answers[name] = await reply.receive()
                finally:
                    reply.close()

        self.world.nursery.start_soon(call)
        await wait_all_tasks_blocked()
        return scope


async def test_a_call_without_a_place_waits_until_another_one_ends(world: World):
    server = Server(tools=[tool("t")], in_flight=1)
    server.handlers["tools/call"] = nothing
    calls = Calls(world, await world.show(server))
    await calls.begin("1")
    await calls.begin("2", legacy)
    assert (len(server.calls), world.multiplexer.admission.queued) == (1, 1)
    for number in ("1", "2"):
        server.last.finish(Response(server.last.id, server.last.call.params["name"]))
        await wait_all_tasks_blocked()
        assert number in calls.answers
    assert (world.multiplexer.in_flight, world.multiplexer.admission.queued) == (0, 0)


async def test_one_deadline_covers_waiting_and_being_served(
    autojump_clock: MockClock, world: World
):
    server = Server(tools=[tool("t")], in_flight=1, call_timeout=10)
    server.handlers["tools/call"] = nothing
    calls = Calls(world, await world.show(server))
    first = await calls.begin("1")
    await calls.begin("2")
    await trio.sleep(7)
    first.cancel()
    await wait_all_tasks_blocked()
    assert len(server.calls) == 2
    await trio.sleep(2.9)
    assert "2" not in calls.answers
    await trio.sleep(0.2)
    assert decoded(calls.answers["2"].error)["code"] == -33003


async def test_a_call_that_gets_no_place_in_time_is_told_so_and_never_made(
    autojump_clock: MockClock, world: World
):
    server = Server(tools=[tool("t")], call_timeout=10)
    calls = Calls(world, await world.show(server))
    limit(world, in_flight=0)
    await calls.begin("1")
    await trio.sleep(11)
    error = calls.answers["1"]
    assert isinstance(error, Overloaded)
    assert str(error) == "no place for a call of backend 'alpha' came free in time"
    assert (server.calls, world.multiplexer.admission.queued) == ([], 0)


async def test_who_gives_up_waiting_is_forgotten(world: World):
    server = Server(tools=[tool("t")], in_flight=1)
    server.handlers["tools/call"] = nothing
    calls = Calls(world, await world.show(server))
    await calls.begin("1")
    scope = await calls.begin("2")
    scope.cancel()
    await wait_all_tasks_blocked()
    assert (world.multiplexer.in_flight, world.multiplexer.admission.queued) == (1, 0)
    assert len(server.calls) == 1


async def test_when_the_gateway_stops_nobody_waits_for_a_place(world: World):
    server = Server(tools=[tool("t")], in_flight=1)
    server.handlers["tools/call"] = nothing
    calls = Calls(world, await world.show(server))
    await calls.begin("1")
    await calls.begin("2")
    world.multiplexer.stop()
    await wait_all_tasks_blocked()
    assert isinstance(calls.answers["2"], ShuttingDown)
    assert world.multiplexer.in_flight == 1


async def test_a_call_that_is_parked_takes_no_place_and_its_retry_waits_for_one(
    world: World, autojump_clock: MockClock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        assert world.multiplexer.in_flight == 0
        limit(world, in_flight=0)
        answers = []

        async def retry() -> None:
            try:
                answers.append(await b.client.retry(state))
            except ProtocolError as error:
                answers.append(error)

        world.nursery.start_soon(retry)
        await wait_all_tasks_blocked()
        assert world.multiplexer.admission.queued == 1
        b.finish_soon()
        limit(world, in_flight=1)
        await trio.sleep(1)
        assert isinstance(answers[0][-1], Response)
        assert b.told(RetryRefused) == []


async def test_of_two_retries_that_wait_for_a_place_one_is_told_that_it_comes_too_late(
    world: World, autojump_clock: MockClock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        limit(world, in_flight=0)
        answers: list[Any] = []

        async def retry() -> None:
            try:
                answers.append(await b.client.retry(state))
            except ProtocolError as error:
                answers.append(error)

        for _ in range(2):
            world.nursery.start_soon(retry)
        await wait_all_tasks_blocked()
        b.finish_soon()
        limit(world, in_flight=2)
        await trio.sleep(1)
        assert len(answers) == 2
        (late,) = [each for each in answers if isinstance(each, ProtocolError)]
        assert decoded(late.error)["message"] == USED
        assert world.multiplexer.in_flight == 0
