"""A day of parked calls, in a moment: whoever comes back or doesn't, nothing is left of them."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.multiplexer import CallParked, CallResumed, ParkedCallExpired, ParkingLimits
from onemcp.protocol.jsonrpc import Response
from tests.multiplexer.fakes import World
from tests.multiplexer.parked import Bench, bench, question
from tests.support.census import tasks, timers

ROUNDS = 48
HALF_HOUR = 1800.0
PARKED_FOR = 600.0


async def come(b: Bench, number: int) -> None:
    """Be three clients of which one comes back, one gives up in the middle, and one never does."""
    for each in range(3):
        state = await b.client.call_asked(question(f"{number}-{each}"))
        if each == 0:
            b.finish_soon()
            (answer,) = await b.client.retry(state)
            assert isinstance(answer, Response)
        elif each == 1:
            with trio.move_on_after(1):
                await b.client.retry(state)


async def test_nothing_is_left_of_parked_calls(world: World, autojump_clock: MockClock):
    async with bench(world, limits=ParkingLimits(seconds=PARKED_FOR)) as b:
        await come(b, 0)
        await trio.sleep(HALF_HOUR)
        await wait_all_tasks_blocked()
        running, waiting, used = tasks(), timers(), len(b.parking._used)
        for number in range(ROUNDS):
            await come(b, number)
            assert len(b.parking) <= 2
            await trio.sleep(HALF_HOUR)
            assert len(b.parking) == 0
            assert world.multiplexer.in_flight == 0
        await wait_all_tasks_blocked()
        assert (tasks(), timers()) == (running, waiting)
        assert len(b.parking._used) <= used
        assert len(b.told(CallParked)) == 3 * (ROUNDS + 1)
        assert len(b.told(CallResumed)) == 2 * (ROUNDS + 1)
        assert len(b.told(ParkedCallExpired)) == ROUNDS + 1
