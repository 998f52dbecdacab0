"""What callers notice while one of the replicas of a backend is killed again and again."""

from __future__ import annotations

import itertools
import math
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from tests.faults.figures import Figure, Tally, milliseconds, not_applicable
from tests.faults.gateways import Gateway, Kind, running
from tests.faults.recovery import lively, own_start
from tests.faults.siblings import CLIENTS, ROUNDS, call_now_and_then, known
from tests.faults.wire import Client
from tests.support.eventually import eventually

LABEL = "b"
REPLICAS = 3
WORK = 2
"""Milliseconds that a replica works on a call; it takes one after the other."""

CALLERS = 16
"""How many call without a pause where calls are counted."""

CALM = 0.5
"""Seconds between two kills where the time of calls is measured, after the replica is back."""

TAKES_PART = 5
"""How many calls a replica has to have answered before it is killed again."""

LOST = (
    f"calls to tools that only read, lost or failed while one of {REPLICAS} replicas is killed"
    " with -9 again and again"
)
LATE = f"p99 of calls while one of {REPLICAS} replicas is killed with -9, against quiet"
BACK = (
    "kill -9 of a replica to the next call that it answers, beyond the backend's own start, under"
    " load"
)
NOWHERE = "`mcpServers` has no way to ask for replicas that all gateways know"


async def under_kills(kind: Kind, share: float) -> Figure:
    """Call from all sides while the same replica is killed whenever it is back."""
    if not kind.is_onemcp:
        return not_applicable(LOST, NOWHERE)
    kills, tally = max(3, int(200 * share)), Tally()
    async with _replicated(kind) as gateway, trio.open_nursery() as nursery:
        for number in range(CALLERS):
            nursery.start_soon(_call_on, gateway, tally, number)
        victim = _Victim(gateway, tally)
        for _ in range(kills):
            await victim.kill()
        nursery.cancel_scope.cancel()
    calls = tally.outcomes.total()
    failed = calls - tally.outcomes["answered"]
    return Figure(
        LOST,
        f"{failed} of {calls:,} in {kills} kills",
        "0",
        failed == 0,
        "; ".join([*(f"{code}: {count}" for code, count in tally.errors.items()), *tally.lost[:3]]),
    )


async def beside_kills(kind: Kind, share: float) -> list[Figure]:
    """Measure calls while nothing happens and while a replica is killed, in turn."""
    if not kind.is_onemcp:
        return [not_applicable(measure, NOWHERE) for measure in (LATE, BACK)]
    seconds, quiet, struck = max(1.0, 8 * share), list[Tally](), list[Tally]()
    own, late = statistics.median(own_start() for _ in range(5)), list[float]()
    async with _replicated(kind) as gateway, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await known(gateway)) for _ in range(CLIENTS)]
        for _ in range(ROUNDS):
            quiet.append(await _round(clients, Tally(), seconds))
            tally = Tally()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_strike, gateway, tally, late)
                struck.append(await _round(clients, tally, seconds))
                nursery.cancel_scope.cancel()
    return [_of_calls(quiet, struck), _of_returns([each - own for each in late], own)]


def _of_calls(quiet: list[Tally], struck: list[Tally]) -> Figure:
    base, found = (
        statistics.median(each.percentile(0.99) for each in tallies) for tallies in (quiet, struck)
    )
    calls = sum(each.outcomes.total() for each in struck)
    failed = calls - sum(each.outcomes["answered"] for each in struck)
    said = f"{failed} of them not answered" if failed else "all answered"
    return Figure(
        LATE,
        f"{found / base:.2f} x",
        "<= 1.3 x",
        found <= 1.3 * base and not failed,
        f"{milliseconds(found)}, quiet {milliseconds(base)}: medians of {ROUNDS} rounds;"
        f" {calls:,} calls, {said}",
    )


def _of_returns(late: list[float], own: float) -> Figure:
    middle, worst = (statistics.median(late), max(late)) if late else (math.inf, math.inf)
    return Figure(
        BACK,
        f"{milliseconds(middle)} (worst of {len(late)}: {milliseconds(worst)})",
        "< 300 ms",
        worst < 0.3,
        f"the backend alone: {milliseconds(own)}",
    )


@asynccontextmanager
async def _replicated(kind: Kind) -> AsyncIterator[Gateway]:
    """Run a gateway with one backend, once all of its replicas are there."""
    server = lively(kind, LABEL, f"reads={WORK}") | {"replicas": REPLICAS, "sticky": False}
    async with running(kind, {LABEL: server}, wait_for=[LABEL]) as gateway:
        await eventually(lambda: len(gateway.processes(LABEL)) == REPLICAS, "all replicas run")
        yield gateway


class _Victim:
    """The one replica that is killed, whichever process it is."""

    def __init__(self, gateway: Gateway, tally: Tally) -> None:
        self._gateway = gateway
        self._answers = tally.endings
        self._process = str(min(gateway.processes(LABEL)))

    async def kill(self) -> float:
        """Kill it once it takes part; return the seconds until it does so again."""
        await self._until(lambda: self._answers[self._process] >= TAKES_PART)
        known = {*self._answers, *map(str, self._gateway.processes(LABEL))}
        os.kill(int(self._process), signal.SIGKILL)
        begun = time.perf_counter()
        await self._until(lambda: not known.issuperset(self._answers))
        (self._process,) = self._answers.keys() - known
        return time.perf_counter() - begun

    async def _until(self, condition: Callable[[], bool]) -> None:
        await eventually(condition, "the replica takes calls", poll=0.001)


async def _strike(gateway: Gateway, tally: Tally, late: list[float]) -> None:
    victim = _Victim(gateway, tally)
    while True:
        late.append(await victim.kill())
        await trio.sleep(CALM)


async def _call_on(gateway: Gateway, tally: Tally, number: int) -> None:
    async with await gateway.client() as client:
        for turn in itertools.count():
            await tally.call(client, LABEL, f"{number}-{turn}")


async def _round(clients: list[Client], tally: Tally, seconds: float) -> Tally:
    async with trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            nursery.start_soon(call_now_and_then, client, tally, number, [LABEL], seconds)
    return tally
