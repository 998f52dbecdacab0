"""A day of a backend that asks, hangs, crashes and stays away, in a moment: nothing of it grows."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onemcp import config
from onemcp.app.trees import supervise
from onemcp.backend import BackendDown, BreakerClosed, BreakerOpened, BreakerState, InstanceReady
from onemcp.control import Journal
from onemcp.control.journal import KEPT_ENTRIES
from onemcp.protocol.errors import BackendLost, CircuitOpen
from onemcp.protocol.jsonrpc import Response
from tests.backend.core.fakes import EMPTY, error_of
from tests.backend.core.pooled import World, able, settle
from tests.support.census import tasks, timers

ROUNDS = 6
"""Each of them takes six hours."""
HOUR = 3600.0
CALL = 60.0
FAILURES = 2
CLIENTS = [able(name) for name in ("ann", "bob", "cid")]


class Day(World):
    """A backend as the gateway supervises it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(
            nursery,
            interactive=True,
            timeouts=config.Timeouts(call=CALL),
            breaker=config.Breaker(failures=FAILURES),
            restart=config.Restart(intensity=3, period=60.0, cooldown=300.0),
        )
        self.journal = Journal()
        self.noted = 0
        self.supervisor = supervise("b", self.backend, None)

    async def begin_day(self) -> None:
        await self.nursery.start(self.supervisor.run)
        await self.backend.wait_ready()
        await settle()

    async def lease(self) -> None:
        """Let everybody be asked by an instance of their own; one never answers."""
        exchanges = [await self.open(who) for who in CLIENTS]
        programs = [each for each in self.alive if each.calls]
        assert len(programs) == len(CLIENTS)
        for program in programs:
            program.ask()
        await settle()
        for exchange, program in zip(exchanges[1:], programs[1:], strict=True):
            exchange.reply(Response("q", EMPTY))
            program.answer(program.last)
        await settle()
        for exchange in exchanges:
            exchange.close()

    async def crash(self) -> None:
        """Lose the connection; it is there again after a while."""
        exchange = await self.open(CLIENTS[0])
        (program,) = self.alive
        assert program.calls
        program.end("it crashed")
        await settle()
        assert error_of(await exchange.receive()).code == BackendLost.code
        await self.backend.wait_ready()

    async def stay_away(self) -> None:
        """Be restarted until that is given up for a while, and then come back."""
        self.cannot_start = "it is away"
        self.alive[0].end("it crashed")
        await trio.sleep(HOUR / 2)
        assert not self.backend.is_up
        self.cannot_start = None
        await trio.sleep(HOUR / 2)
        assert self.backend.is_up

    async def hang(self) -> None:
        """Answer nothing until the breaker opens; then answer again."""
        for _ in range(FAILURES):
            exchange = await self.open(CLIENTS[0])
            await trio.sleep(CALL)
            exchange.expire()
        assert self.backend.breaker.state is BreakerState.OPEN
        try:
            await self.open(CLIENTS[0])
        except CircuitOpen:
            await trio.sleep(HOUR)
        exchange = await self.open(CLIENTS[0])
        (program,) = (each for each in self.alive if each.calls)
        program.answer(program.last)
        await settle()
        exchange.close()
        assert self.backend.breaker.is_closed

    async def end_round(self) -> None:
        """Let what nobody uses end."""
        await trio.sleep(HOUR)
        for event in self.events[self.noted :]:
            self.journal(event)
        self.noted = len(self.events)
        for program in self.programs:
            program.calls.clear()
            if program.ended:
                program._sent.close()  # whose task is the test's own
        await settle()


async def test_nothing_of_a_backend_grows_in_a_day(
    nursery: trio.Nursery, autojump_clock: MockClock
):
    day = Day(nursery)
    await day.begin_day()
    begun, census = trio.current_time(), []
    for _ in range(ROUNDS):
        for happens in (day.lease, day.crash, day.hang, day.stay_away):
            await happens()
            await day.end_round()
        census.append((tasks(), timers(), len(day.alive), day.backend.in_flight))
    assert trio.current_time() - begun >= 24 * HOUR
    assert set(census[1:]) == {census[1]}
    assert day.backend.breaker.is_closed
    assert len(day.journal.last("b", 10 * KEPT_ENTRIES)) <= KEPT_ENTRIES
    for kind in (InstanceReady, BackendDown, BreakerOpened, BreakerClosed):
        assert len(day.of(kind)) >= ROUNDS, kind
    nursery.cancel_scope.cancel()
