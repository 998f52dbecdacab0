"""What healthy backends feel while one beside them burns."""

from __future__ import annotations

import random
import statistics

import trio

from tests.faults.figures import Figure, Tally, milliseconds
from tests.faults.gateways import Gateway, Kind, backend, running

HEALTHY = [f"b{number}" for number in range(9)]
BURNING = ("crash", "stderr", "hang", "babble")
CLIENTS = 64
PACE = 0.2
"""Seconds between two calls of a client: what is measured is how calls disturb each other, not how
many the machine can do."""


async def beside_a_fire(kind: Kind, share: float) -> list[Figure]:
    """Measure the calls of healthy backends beside a quiet one and beside each kind of bad one."""
    seconds = max(2.0, 20 * share)
    quiet = [await _run(kind, "steady", seconds)]
    burning = {}
    for mode in BURNING:
        burning[mode] = await _run(kind, mode, seconds)
        quiet.append(await _run(kind, "steady", seconds))
    base = statistics.median(each.percentile(0.99) for each in quiet)
    return [_figure(mode, tally, base) for mode, tally in burning.items()]


def _figure(mode: str, tally: Tally, base: float) -> Figure:
    ratio = tally.percentile(0.99) / base
    says = {
        "crash": "crash-loops",
        "stderr": "floods stderr",
        "hang": "hangs",
        "babble": "writes hostile frames",
    }
    return Figure(
        f"p99 of healthy siblings while one backend {says[mode]}, against quiet",
        f"{ratio:.2f} x",
        "<= 1.3 x",
        ratio <= 1.3 and tally.outcomes["answered"] == tally.outcomes.total(),
        f"quiet: {milliseconds(base)}; {tally.outcomes.total():,} calls, all answered"
        if tally.outcomes["answered"] == tally.outcomes.total()
        else f"{dict(tally.outcomes)}",
    )


async def _run(kind: Kind, mode: str, seconds: float) -> Tally:
    tally = Tally()
    servers = {label: backend(label) for label in HEALTHY} | {"bad": backend("bad", mode)}
    async with running(kind, servers, wait_for=HEALTHY) as gateway:
        with trio.move_on_after(seconds + 5) as patience:
            async with trio.open_nursery() as nursery:
                bad = Tally()
                nursery.start_soon(_call_the_bad_one, gateway, bad)
                async with trio.open_nursery() as calling:
                    for number in range(CLIENTS):
                        calling.start_soon(_call, gateway, tally, number, seconds)
                nursery.cancel_scope.cancel()
        assert not patience.cancelled_caught, f"healthy backends hang beside one in mode {mode}"
    return tally


async def _call(gateway: Gateway, tally: Tally, number: int, seconds: float) -> None:
    chance = random.Random(number)  # noqa: S311 - to be repeated
    async with await gateway.client() as client:
        end = trio.current_time() + seconds
        await trio.sleep(chance.random() * PACE)
        turn = 0
        while trio.current_time() < end:
            turn += 1
            await tally.call(client, chance.choice(HEALTHY), f"{number}-{turn}")
            await trio.sleep(chance.random() * 2 * PACE)


async def _call_the_bad_one(gateway: Gateway, tally: Tally) -> None:
    """Keep a few calls at the bad backend."""

    async def call(number: int) -> None:
        async with await gateway.client() as client:
            turn = 0
            while True:
                turn += 1
                with trio.move_on_after(1):
                    await tally.call(client, "bad", f"{number}-{turn}")
                await trio.sleep(PACE)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(call, number)
