"""What healthy backends feel while one beside them burns."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from tests.faults.figures import Figure, Tally, milliseconds
from tests.faults.gateways import Gateway, Kind, backend, running
from tests.faults.wire import Client

HEALTHY = [f"b{number}" for number in range(9)]
QUIET = "steady"
BURNING = ("crash", "stderr", "hang", "babble")
CLIENTS = 64
ROUNDS = 5
SETTLING = 1.0
"""Seconds that the bad backend has burned before anything is measured."""

PACE = 0.2
"""Seconds between two calls of a client: what is measured is how calls disturb each other, not how
many the machine can do."""


async def beside_a_fire(kind: Kind, share: float) -> list[Figure]:
    """Measure the calls of healthy backends beside a quiet one and beside each kind of bad one.

    In each round all of them take their turn, one after the other: what else the machine does then
    happens to all alike, and a round that it spoils is not the one in the middle.
    """
    seconds = max(1.0, 8 * share)
    tallies: dict[str, list[Tally]] = {mode: [] for mode in (QUIET, *BURNING)}
    for _ in range(ROUNDS):
        for mode, found in tallies.items():
            found.append(await _run(kind, mode, seconds))
    base = _late(tallies[QUIET])
    return [_figure(mode, tallies[mode], base) for mode in BURNING]


def _late(tallies: list[Tally]) -> float:
    return statistics.median(each.percentile(0.99) for each in tallies)


def _figure(mode: str, tallies: list[Tally], base: float) -> Figure:
    late = _late(tallies)
    ratio = late / base
    outcomes = sum((each.outcomes for each in tallies), Counter())
    is_answered = outcomes["answered"] == outcomes.total()
    said = f"{outcomes.total():,} calls, all answered" if is_answered else f"{dict(outcomes)}"
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
        ratio <= 1.3 and is_answered,
        f"{milliseconds(late)}, quiet {milliseconds(base)}: medians of {ROUNDS} rounds; {said}",
    )


async def _run(kind: Kind, mode: str, seconds: float) -> Tally:
    tally = Tally()
    servers = {label: backend(label) for label in HEALTHY} | {"bad": backend("bad", mode)}
    async with (
        running(kind, servers, wait_for=HEALTHY) as gateway,
        AsyncExitStack() as open_clients,
        trio.open_nursery() as nursery,
    ):
        clients = [
            await open_clients.enter_async_context(await known(gateway)) for _ in range(CLIENTS)
        ]
        nursery.start_soon(_call_the_bad_one, gateway, Tally())
        await trio.sleep(SETTLING)
        with trio.move_on_after(seconds + 10) as patience:
            async with trio.open_nursery() as calling:
                for number, client in enumerate(clients):
                    calling.start_soon(call_now_and_then, client, tally, number, HEALTHY, seconds)
        nursery.cancel_scope.cancel()
    assert not patience.cancelled_caught, f"healthy backends hang beside one in mode {mode}"
    return tally


async def known(gateway: Gateway) -> Client:
    """Open a session, and learn what there is to call: that is no part of a call."""
    client = await gateway.client()
    await client.tools()
    return client


async def call_now_and_then(
    client: Client, tally: Tally, number: int, labels: Sequence[str], seconds: float
) -> None:
    """Call one of some backends every `PACE` seconds or so, for so many seconds."""
    chance = random.Random(number)  # noqa: S311 - to be repeated
    end = trio.current_time() + seconds
    await trio.sleep(chance.random() * PACE)
    turn = 0
    while trio.current_time() < end:
        turn += 1
        await tally.call(client, chance.choice(labels), f"{number}-{turn}")
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
