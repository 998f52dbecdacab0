"""What those feel who call while the configuration changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from tests.faults.figures import Figure, Tally
from tests.faults.gateways import Gateway, Kind, backend, running, write
from tests.faults.wire import Client, text

UNTOUCHED = [f"b{number}" for number in range(3)]
CALLERS = 8
PATIENCE = 30.0
"""Seconds until a change must show."""


async def under_load(kind: Kind, share: float) -> Figure:
    """Add, change, remove, break and repair, while other backends are called."""
    wanted, tally = max(10, int(1000 * share)), Tally()
    untouched = {label: backend(label) for label in UNTOUCHED}
    async with (
        running(kind, untouched, wait_for=UNTOUCHED) as gateway,
        await gateway.client() as client,
        trio.open_nursery() as nursery,
    ):
        for number in range(CALLERS):
            nursery.start_soon(_call, gateway, tally, number)
        done = await _reload(gateway, client, untouched, wanted)
        nursery.cancel_scope.cancel()
    failed = tally.outcomes.total() - tally.outcomes["answered"]
    return Figure(
        "reloads under load (add, change, break, repair, remove): failed requests on untouched"
        " backends",
        f"{failed} of {tally.outcomes.total():,} in {done:,} reloads",
        "0 of 1,000 reloads",
        failed == 0 and done >= wanted,
        "".join(f"{each}; " for each in tally.lost[:3]),
    )


async def _call(gateway: Gateway, tally: Tally, number: int) -> None:
    async with await gateway.client() as client:
        turn = 0
        while True:
            turn += 1
            await tally.call(client, UNTOUCHED[turn % len(UNTOUCHED)], f"{number}-{turn}")
            await trio.sleep(0.01)


async def _reload(gateway: Gateway, client: Client, untouched: dict[str, Any], wanted: int) -> int:
    """Change the configuration again and again; each change must show before the next."""
    done = 0
    while done < wanted:
        for version in ("1", "2"):  # added, then changed
            changed = {"changing": backend("changing", f"version={version}")}
            gateway.rewrite({**untouched, **changed})
            await _until(client, "changing", lambda said, v=version: said == f"x {v}")
        write(gateway.config, '{"mcpServers": {"changing": ')  # broken: nothing may change
        repaired = {"changing": backend("changing", "version=3")}
        gateway.rewrite({**untouched, **repaired})
        await _until(client, "changing", lambda said: said == "x 3")
        gateway.rewrite(untouched)
        await _until(client, "changing", lambda said: said is None)
        done += 5
    return done


async def _until(client: Client, label: str, holds: Callable[[str | None], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds(text(await client.echo(label, "x"))):  # noqa: ASYNC110
            await trio.sleep(0.005)
