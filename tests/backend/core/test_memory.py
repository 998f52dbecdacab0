"""Programs that use more memory than they may."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock

from onemcp import config
from onemcp.app.connecting import Connector
from onemcp.backend import ConnectionLost, Identity, Setup
from onemcp.backend import memory as module
from onemcp.backend.handshake import EraMemory
from onemcp.backend.keeping import Keeper
from onemcp.backend.memory import MEBIBYTE, MemoryWatch, Usages
from onemcp.backend.process import ProcessInstance
from onemcp.telemetry import Usage


class Growing(Usages):
    """Readings that a test says."""

    def __init__(self, *mebibytes: int) -> None:
        super().__init__({})
        self.readings = list(mebibytes)
        self.asked: list[int] = []

    async def of(self, pid: int) -> Usage:
        await trio.lowlevel.checkpoint()
        self.asked.append(pid)
        return Usage(resident_bytes=self.readings.pop(0) * MEBIBYTE)


async def test_a_program_that_has_grown_too_large_is_lost_and_told_why(autojump_clock: MockClock):
    usages = Growing(10, 20, 21)
    watch = MemoryWatch(usages, 20 * MEBIBYTE)
    watch.pid = 7
    begun = trio.current_time()
    with pytest.raises(ConnectionLost, match=r"21 MiB .* than the 20 MiB that limits\.memory"):
        await watch.run()
    assert trio.current_time() - begun == pytest.approx(3 * module.INTERVAL)
    assert usages.asked == [7, 7, 7]


async def test_nothing_is_looked_at_before_there_is_a_program(autojump_clock: MockClock):
    usages = Growing()
    with trio.move_on_after(100):
        await MemoryWatch(usages, MEBIBYTE).run()
    assert usages.asked == []


async def test_all_watches_share_one_look(monkeypatch: pytest.MonkeyPatch):
    looks: list[tuple[int, ...]] = []

    def look(sessions: Iterable[int]) -> Mapping[int, Usage]:
        looks.append(tuple(sessions))
        return {1: Usage(resident_bytes=5)}

    monkeypatch.setattr(module, "usage_of_sessions", look)
    monkeypatch.setattr(module, "FRESH", 1000.0)
    usages, found = Usages({1: "a", 2: "b"}), []

    async def ask(pid: int) -> None:
        found.append((await usages.of(pid)).resident_bytes)

    usages._read_at = -2000.0 + trio.current_time()
    async with trio.open_nursery() as nursery:
        for pid in (1, 2, 1):
            nursery.start_soon(ask, pid)
    assert sorted(found) == [0, 5, 5]
    assert looks == [(1, 2)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_real_program_over_its_limit_loses_its_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "INTERVAL", 0.05)
    identity = Identity(Raw(b'{"name":"onemcp","version":"1"}'))
    settings = config.Backend(
        name="demo",
        transport=config.StdioTransport(command=sys.executable, args=["-P", "-m", "onemcp.demo"]),
        limits=config.BackendLimits(memory=1_048_576, cpu=600, open_files=64),
    )
    keeper = Keeper(
        settings,
        identity.caller,
        hears_of=lambda _: False,
        on_fetched=lambda *_: None,
        on_event=lambda _: None,
    )
    connector = Connector(ProcessInstance(), identity)
    setup = Setup(settings, EraMemory(), lambda _: None, keeper, lambda _: None)
    with trio.fail_after(30), pytest.raises(ConnectionLost, match=r"limits\.memory allows"):
        await connector(setup).run()
    assert connector.processes == {}
