"""What sessions and their streams cost, held and abandoned."""

from __future__ import annotations

import resource

import trio

from tests.faults.figures import Figure, Tally
from tests.faults.gateways import Gateway, Kind, backend, running
from tests.faults.wire import Connection, notifications
from tests.support.process_tree import memory

IDLE = 1.0
"""Seconds after which onemcp may end a session that nobody uses, where that is measured: about as
many live at once, then, as its default limits allow."""
AT_ONCE = 32
RESERVE = 200
"""Descriptors that aren't needed for streams."""


async def abandoned(kind: Kind, share: float) -> Figure:
    """Open sessions and leave them alone; look at the memory before and after.

    Before there have been as many as there are at a time, for the memory that they take is kept for
    the next ones: what is looked for here is what is left of each. What each takes is in `held`.
    """
    count = max(500, int(10_000 * share))
    settings = {"limits": _room(2 * count) | {"sessionIdle": IDLE}}
    async with running(kind, {"b": backend("b")}, wait_for="b", **settings) as gateway:
        await _open(gateway, count // 4)
        await trio.sleep(IDLE * 2)
        before = memory(gateway.pid)
        await _open(gateway, count)
        most = memory(gateway.pid)
        await trio.sleep(IDLE * 2)
        tally = Tally()
        async with await gateway.client() as client:
            await tally.call(client, "b", "still-there")
        ratio = memory(gateway.pid) / before
    return Figure(
        f"RSS after {count:,} sessions opened and abandoned, against before",
        f"{ratio:.2f} x",
        "<= 1.1 x",
        ratio <= 1.1 and tally.outcomes["answered"] == 1,
        f"{before / 2**20:.0f} MiB before, when {count // 4:,} had come and gone; "
        f"{most / 2**20:.0f} MiB when the last was opened",
    )


def _room(count: int) -> dict[str, float]:
    """Return limits that let one client have so many sessions, with a stream each."""
    names = ("sessions", "sessionsPerPrincipal", "streams", "streamsPerPrincipal")
    return dict.fromkeys(names, count)


async def _open(gateway: Gateway, count: int) -> None:
    """Open sessions, and keep nothing of them."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            async with await gateway.client():
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)


async def held(kind: Kind, share: float) -> list[Figure]:
    """Hold as many streams as are wanted, each of a session of its own; all must hear the news."""
    count = min(max(200, int(5_000 * share)), _descriptors())
    servers = {"b": backend("b")}
    settings = {"limits": _room(count + 10)}
    streams: list[Connection] = []
    async with running(kind, servers, wait_for="b", **settings) as gateway:
        await _hold(gateway, count // 10, streams)
        before, first = memory(gateway.pid), len(streams)
        await _hold(gateway, count, streams)
        each = (memory(gateway.pid) - before) / (len(streams) - first)
        heard = await _heard(gateway, servers, settings, streams)
        for stream in streams:
            await stream.aclose()
    return [
        Figure(
            "memory per idle legacy session with its stream",
            f"{each / 1024:.1f} KB",
            "<= 32 KB",
            each <= 32 * 1024,
            f"of the gateway, over {len(streams) - first:,} of them",
        ),
        Figure(
            "concurrent open streams held on one core, all of which hear that a list has changed",
            f"{heard:,}",
            ">= 5,000",
            heard >= 5000,
            f"{len(streams):,} were opened",
        ),
    ]


def _descriptors() -> int:
    """Raise the limit of descriptors as far as may be, for the gateway too; return the rest."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return (most - RESERVE) // 2


async def _hold(gateway: Gateway, count: int, streams: list[Connection]) -> None:
    left = iter(range(count - len(streams)))

    async def some() -> None:
        for _ in left:
            async with await gateway.client() as client:
                streams.append(await client.listen())

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)


async def _heard(
    gateway: Gateway,
    servers: dict[str, dict[str, object]],
    settings: dict[str, dict[str, float]],
    streams: list[Connection],
) -> int:
    """Add a backend; return how many streams hear of it."""
    heard = 0

    async def hear(stream: Connection) -> None:
        nonlocal heard
        async for message in notifications(stream):
            if message.get("method") == "notifications/tools/list_changed":
                heard += 1
                return

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(hear, stream)
            gateway.rewrite({**servers, "another": backend("another")}, **settings)
    return heard
