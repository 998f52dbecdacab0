"""Backends that say nothing: who is asked for a sign of life, when, and what follows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from onemcp import config
from onemcp.backend import BackendDown, ConnectionLost, ServerDescription
from onemcp.backend.attribution import INTERNAL
from onemcp.backend.call import Caller
from onemcp.backend.probe import PATIENCE, probe
from onemcp.protocol.errors import Overloaded
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from tests.multiplexer.fakes import (
    FakeConnection,
    Server,
    World,
    failure,
    modern,
    nothing,
    result,
)

EVERY = 60.0
ONEMCP = Caller(INTERNAL, INTERNAL)


class Silent(Server):
    """A server of a revision, and what is asked of it after how many seconds."""

    def __init__(self, revision: str = LATEST_LEGACY, answer: Any = nothing) -> None:
        super().__init__(revision=revision)
        self.handlers["ping"] = answer
        self.connection = FakeConnection(self, lambda _: None)

    async def probed(self, seconds: float, every: float = EVERY) -> int:
        """Probe it for a while; return how often it was pinged."""
        description = ServerDescription(self.description.revision, {})
        with trio.move_on_after(seconds):
            assert self.connection is not None
            await probe(self.connection, description, ONEMCP, every)
        assert {each.call.method for each in self.calls} <= {"ping"}
        return len(self.calls)


@pytest.mark.parametrize("answer", [result({}), failure(-32601)])
async def test_one_that_answers_is_asked_again_and_again(autojump_clock: MockClock, answer: Any):
    assert await Silent(answer=answer).probed(10 * EVERY - 1) == 9


async def test_one_that_does_not_answer_is_lost(autojump_clock: MockClock):
    begun, server = trio.current_time(), Silent()
    with pytest.raises(ConnectionLost, match="did not answer a ping within 30 s"):
        await server.probed(10 * EVERY)
    assert trio.current_time() - begun == pytest.approx(EVERY + PATIENCE)
    assert len(server.cancelled) == 1


@pytest.mark.parametrize(("revision", "every"), [(LATEST_MODERN, EVERY), (LATEST_LEGACY, 0.0)])
async def test_nothing_is_asked_where_there_is_no_ping_or_nobody_wants_it(
    autojump_clock: MockClock, revision: str, every: float
):
    assert await Silent(revision).probed(10_000, every) == 0


async def test_while_a_call_is_in_flight_nothing_is_asked(autojump_clock: MockClock):
    server = Silent(answer=result({}))
    assert server.connection is not None
    inbound = server.connection.inbound
    inbound.exchanges[99] = object()  # type: ignore[assignment]
    assert await server.probed(3 * EVERY) == 0
    inbound.exchanges.clear()
    assert await server.probed(EVERY + 1) == 1


async def test_a_call_that_comes_after_the_ping_is_given_its_time(autojump_clock: MockClock):
    server = Silent()
    assert server.connection is not None
    inbound = server.connection.inbound
    server.handlers["ping"] = lambda _: inbound.exchanges.update({99: modern()})  # type: ignore[dict-item]
    assert await server.probed(5 * EVERY) == 1


async def test_a_ping_that_cannot_be_sent_says_nothing(autojump_clock: MockClock):
    server = Silent()

    def refuse(_: object) -> None:
        raise Overloaded("full")

    server.handlers["ping"] = refuse
    assert await server.probed(3 * EVERY - 1) == 2


async def test_a_backend_that_falls_silent_is_started_anew(
    autojump_clock: MockClock, nursery: trio.Nursery
):
    world, server = World(nursery), Server(revision=LATEST_LEGACY)
    server.handlers["ping"] = nothing
    server.config = attrs.evolve(server.config, timeouts=config.Timeouts(start=1e6, idle=EVERY))
    await world.show(server)
    first = server.connection
    await trio.sleep(EVERY + PATIENCE + 1)
    assert server.connection is not first
    assert world.multiplexer.backends["alpha"].is_up
    [down] = [each for each in world.events if isinstance(each, BackendDown)]
    assert "did not answer a ping" in down.reason
    nursery.cancel_scope.cancel()
