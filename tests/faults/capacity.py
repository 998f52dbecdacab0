"""How a gateway starts among the dead, and how it does under more load than it can carry."""

from __future__ import annotations

import statistics
import time

import trio

from tests.faults.figures import Figure, Tally, milliseconds
from tests.faults.gateways import Gateway, Kind, backend, running

WORK = 5
"""Milliseconds that the backend takes for each call, one after the other."""
DEADLINE = 5.0
"""Seconds within which an admitted call has to be answered."""
CLIENTS = 64
OVERLOAD = 5


async def among_the_dead(kind: Kind, share: float) -> Figure:
    """Start a hundred backends of which twenty never start; compare with the eighty."""
    healthy = {f"b{n}": backend(f"b{n}") for n in range(max(8, int(80 * share)))}
    dead = {f"d{n}": backend(f"d{n}", "mute") for n in range(len(healthy) // 4)}
    alone, among = [], []
    for _ in range(3):
        alone.append(await _start(kind, healthy, healthy))
        among.append(await _start(kind, dead | healthy, healthy))
    ratio = statistics.median(among) / statistics.median(alone)
    return Figure(
        f"time to serve while {len(dead)} of {len(dead) + len(healthy)} backends never start",
        f"{ratio:.2f} x that with the {len(healthy)} alone",
        "as with them alone (<= 1.25 x: they start more processes)",
        ratio <= 1.25,
        f"{statistics.median(alone):.2f} s alone, {statistics.median(among):.2f} s among them",
    )


async def _start(kind: Kind, servers: dict[str, object], wanted: dict[str, object]) -> float:
    begun = time.perf_counter()
    async with running(kind, servers, wait_for=wanted):
        return time.perf_counter() - begun


async def overloaded(kind: Kind, share: float) -> Figure:
    """Find out what the backend can do behind the gateway; offer it five times as much."""
    seconds = max(3.0, 20 * share)
    settings = {"mcpServers": {"b": backend("b", f"work={WORK}")}}
    async with running(kind, settings["mcpServers"], wait_for="b") as gateway:
        capacity = await _capacity(gateway, seconds)
        begun = trio.current_time()
        tally = await _offer(gateway, capacity * OVERLOAD, seconds)
        took = trio.current_time() - begun
    goodput = sum(each <= DEADLINE for each in tally.seconds) / took
    ratio, late = goodput / capacity, tally.percentile(0.99)
    codes = ", ".join(f"{code}: {count:,}" for code, count in tally.errors.most_common())
    return Figure(
        f"goodput at {OVERLOAD} x capacity, against capacity; p99 of what is admitted",
        f"{ratio:.2f}; {milliseconds(late)}",
        f">= 0.9; within its deadline ({DEADLINE:.0f} s)",
        ratio >= 0.9 and late <= DEADLINE and tally.unanswered == 0,
        f"capacity {capacity:,.0f} calls/s; refused: {codes or 'none'}; "
        f"neither answered nor refused: {tally.unanswered}",
    )


async def _capacity(gateway: Gateway, seconds: float) -> float:
    tally = Tally()

    async def call(number: int) -> None:
        async with await gateway.client() as client:
            turn = 0
            while True:
                turn += 1
                await tally.call(client, "b", f"{number}-{turn}")

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(call, number)
    return tally.outcomes["answered"] / seconds


async def _offer(gateway: Gateway, rate: float, seconds: float) -> Tally:
    """Call at a rate, however many calls are under way."""
    tally = Tally()
    async with trio.open_nursery() as nursery:
        clients = [await gateway.client() for _ in range(CLIENTS)]
        begun, number = trio.current_time(), 0
        while trio.current_time() < begun + seconds:
            due = begun + number / rate
            await trio.sleep_until(due)
            nursery.start_soon(tally.call, clients[number % CLIENTS], "b", f"call-{number}")
            number += 1
    for client in clients:
        await client.__aexit__(None, None, None)
    return tally
