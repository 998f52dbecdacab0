"""A day in the life of a gateway, in seconds: what clients leave behind is gone at its end."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onemcp.frontend import Deadlines, Passports
from onemcp.state import Keyring, open_ledger
from tests.frontend.site import CALL, Client, Site, open_site, request, until
from tests.multiplexer.fakes import result
from tests.support.census import tasks, timers
from tests.support.process_tree import open_descriptors

HOUR = 3600.0
WALL = 1_800_000_000.0
ROUNDS = 48
"""How often somebody comes in a day: every half hour."""


async def visit(site: Site, number: int) -> list[Client]:
    """Be a few clients, of whom most go away without a word; return what they leave open."""
    assert (await site.post_modern(CALL)).status == 200
    session = await site.open()
    assert (await session.post(request("tools/list"))).status == 200
    left = [await session.listen()]
    for client in (await session.listen(), await site.connect()):
        if number % 2:
            client.abort()
        else:
            await client.close()
    if number % 3 == 0:
        assert (await session.delete()).status in {200, 204}
    return left


def rows(folder: Path) -> int:
    """Count what is written down of sessions."""
    with closing(sqlite3.connect(folder / "sessions.db")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM notes").fetchone()[0])


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock(rate=1.0)


async def test_nothing_is_left_of_a_day(mock_clock: MockClock, tmp_path: Path):
    deadlines = Deadlines(HOUR, 8 * HOUR)
    start = trio.current_time()

    def wall() -> float:
        return WALL + trio.current_time() - start

    passports = Passports(Keyring.ephemeral(), wall)
    with closing(open_ledger(tmp_path, wall)) as ledger:
        async with open_site(deadlines=deadlines, ledger=ledger, passports=passports) as site:
            site.server.handlers["tools/call"] = functools.partial(result, era_fields=True)({})
            for client in await visit(site, 1):  # what is made once is made now
                await client.close()
            mock_clock.jump(24 * HOUR)
            await until(lambda: not len(site.sessions))
            descriptors, running, waiting = len(open_descriptors()), tasks(), timers()
            most = 0
            for number in range(ROUNDS):
                left = await visit(site, number)
                most = max(most, len(site.sessions))
                for client in left:
                    client.abort()
                mock_clock.jump(24 * HOUR / ROUNDS)
            # Sessions of an hour at most were there, and not those of the whole day.
            assert most <= 10
            mock_clock.jump(24 * HOUR)
            await until(lambda: not len(site.sessions))
            streams = site.application.bounds.streams
            await until(lambda: streams.taken == 0)
            await until(lambda: len(open_descriptors()) <= descriptors)
            await until(lambda: tasks() <= running)
            await until(lambda: timers() <= waiting)
            assert not site.world.multiplexer.in_flight
            # The ends of sessions were written down, until those would have ended anyway.
            assert rows(tmp_path) > 0
            mock_clock.jump(24 * HOUR)
            ledger.prune()  # as every thousand notes, and at every start
            assert rows(tmp_path) == 0
