"""Children that do as they are told, and a record of what became of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field

from onemcp.supervision import BaseSupervisor, ChildSpec, Event, What


class Boom(Exception):
    """Is what children crash with."""


@define(eq=False)
class Probe:
    """A child under the test's control.

    ``script`` holds what the next incarnations do: "ok", "fail" (raise before the
    acknowledgement), "hang" (never acknowledge), "return" (end without acknowledging).
    """

    world: World
    id: str
    script: list[str] = field(factory=list)
    cleanup: float = 0.0
    cleanup_error: Exception | None = None
    incarnations: int = 0
    alive: int = 0
    peak: int = 0
    _poke: trio.Event = field(factory=trio.Event)
    _error: Exception | None = None

    async def start(self, *, task_status: trio.TaskStatus[int]) -> None:
        """Run one incarnation."""
        self.incarnations += 1
        self.alive += 1
        self.peak = max(self.peak, self.alive)
        number, self._poke = self.incarnations, trio.Event()
        self.world.log.append(f"+{self.id}")
        try:
            await self._begin(self.script.pop(0) if self.script else "ok", task_status, number)
        finally:
            try:
                if self.cleanup:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + self.cleanup):
                        await trio.sleep_forever()
                if self.cleanup_error is not None:
                    raise self.cleanup_error
            finally:
                self.alive -= 1
                self.world.log.append(f"-{self.id}")

    async def _begin(self, act: str, status: trio.TaskStatus[int], number: int) -> None:
        await trio.lowlevel.checkpoint()
        if act == "fail":
            raise Boom(self.id)
        if act == "return":
            return
        if act == "hang":
            await trio.sleep_forever()
        status.started(number)
        await self._poke.wait()
        if self._error is not None:
            raise self._error

    def crash(self, error: Exception | None = None) -> None:
        """Make the present incarnation raise."""
        self._error = error or Boom(self.id)
        self._poke.set()

    def finish(self) -> None:
        """Make the present incarnation return."""
        self._error = None
        self._poke.set()


@define(eq=False)
class World:
    """All probes of a test, what they did and what was reported."""

    log: list[str] = field(factory=list)
    events: list[Event] = field(factory=list)
    probes: dict[str, Probe] = field(factory=dict)

    def __getitem__(self, child_id: str) -> Probe:
        return self.probes[child_id]

    def spec(self, child_id: str, *, script: str = "", **fields: Any) -> ChildSpec:
        """Make a probe and describe it."""
        probe = self.probes[child_id] = Probe(self, child_id, script.split())
        return ChildSpec(id=child_id, start=probe.start, **fields)

    def told(self, what: What, child: str | None = None) -> list[Event]:
        """Return the events of one kind."""
        return [e for e in self.events if e.what is what and child in (None, e.child)]

    def take_log(self) -> str:
        """Return and forget what the probes did."""
        log, self.log = " ".join(self.log), []
        return log

    @asynccontextmanager
    async def running(self, supervisor: BaseSupervisor):
        """Run a supervisor around a block."""
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            try:
                yield supervisor
            finally:
                nursery.cancel_scope.cancel()


async def settle(seconds: float = 1e-4) -> None:
    """Let everybody do what they can do now (under a mock clock)."""
    await trio.sleep(seconds)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


@pytest.fixture(name="settle")
def settle_fixture():
    return settle


@pytest.fixture
def boom() -> type[Exception]:
    return Boom
