"""Where it fails x restart type x strategy, asserted on live tasks and on real processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import trio

from onemcp.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    Intensity,
    Pause,
    Restart,
    Strategy,
    Supervisor,
    What,
)

FAULTS = ("before_ack", "after_ack", "mid_work", "during_cleanup", "during_stop")
MATRIX = [
    pytest.param(fault, restart, strategy, id=f"{fault}-{restart.value}-{strategy.value}")
    for fault, restart, strategy in product(FAULTS, Restart, Strategy)
]


class Fault:
    """A child that fails once, in one place; ``alive`` counts its live tasks."""

    def __init__(self, where):
        self.where = where
        self.incarnations = 0
        self.alive = 0
        self.armed = True
        self.go = trio.Event()

    def _hit(self, where):
        if self.armed and self.where == where:
            self.armed = False
            raise ValueError(where)

    async def start(self, *, task_status):
        self.incarnations += 1
        self.alive += 1
        try:
            self._hit("before_ack")
            task_status.started()
            self._hit("after_ack")
            await self.go.wait()
            self._hit("mid_work")
            if self.where == "during_cleanup" and self.armed:
                raise OSError("work")
            await trio.sleep_forever()
        except trio.Cancelled:
            self._hit("during_stop")
            raise
        finally:
            self.alive -= 1
            self._hit("during_cleanup")


@pytest.mark.parametrize(("fault", "restart", "strategy"), MATRIX)
async def test_one_fault_leaves_exactly_the_children_that_should_live(
    world, autojump_clock, fault, restart, strategy
):
    child = Fault(fault)
    supervisor = Supervisor(
        "sup",
        [
            world.spec("a"),
            ChildSpec(id="x", start=child.start, restart=restart),
            world.spec("c"),
        ],
        strategy=strategy,
        backoff=Backoff(initial=0.0),
        on_exhaustion=Pause(),
        on_event=world.events.append,
    )
    async with world.running(supervisor):
        child.go.set()
        await trio.sleep(1.0)
        died = fault != "during_stop"
        again = died and restart is not Restart.TEMPORARY
        assert child.incarnations == (2 if again else 1)
        assert child.alive == (1 if again or not died else 0)
        assert (world["a"].alive, world["c"].alive) == (1, 1)
        grouped = again and strategy is not Strategy.ONE_FOR_ONE
        grouped = grouped and (fault != "before_ack" or strategy is Strategy.ONE_FOR_ALL)
        assert world["a"].incarnations == (2 if again and strategy is Strategy.ONE_FOR_ALL else 1)
        assert world["c"].incarnations == (2 if grouped and fault != "before_ack" else 1)
        known = {c.id: c.state for c in supervisor.which_children()}
        assert ("x" in known) is (child.alive == 1)
        assert set(known.values()) == {ChildState.RUNNING}
    assert (child.alive, world["a"].alive, world["c"].alive) == (0, 0, 0)
    assert len(world.told(What.CLEANUP_FAILED, "x")) == (1 if fault == "during_stop" else 0)
    assert not supervisor.running


# Real processes: the real clock, bounded by fail_after

TREE = """
import os, subprocess, sys, time
grandchild = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
)
print(os.getpid(), grandchild.pid, flush=True)
time.sleep(600)
"""


def living(pids):
    """Return those of the processes that exist and are no zombies."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.add(pid)
    return found


async def gone(pids):
    """Wait until none of the processes lives: SIGKILL takes a moment."""
    while living(pids):  # noqa: ASYNC110 - a grandchild's end is no event
        await trio.sleep(0.005)


class Owner:
    """A child that owns a process with a grandchild in a session of its own."""

    def __init__(self, fault):
        self.fault = fault
        self.armed = True
        self.pids = []
        self.poke = trio.Event()

    async def start(self, *, task_status):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", TREE], stdout=subprocess.PIPE, start_new_session=True
        )
        pids = [process.pid]
        try:
            assert process.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            pids = [int(word) for word in line.split()]
            self.pids += pids
            self._hit("before_ack")
            task_status.started(tuple(pids))
            self._hit("after_ack")
            await self.poke.wait()
            self._hit("mid_work")
            await trio.sleep_forever()
        finally:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            with trio.move_on_after(5.0, shield=True):
                await process.wait()
            await process.stdout.aclose()
            self._hit("during_cleanup")

    def _hit(self, where):
        if self.armed and self.fault == where:
            self.armed = False
            raise ValueError(where)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("fault", ["before_ack", "after_ack", "mid_work", "during_cleanup"])
async def test_no_process_outlives_its_incarnation_grandchildren_included(world, fault):
    with trio.fail_after(20.0):
        one, two, again = Owner(fault), Owner("never"), trio.Event()

        def hook(event):
            if (event.what, event.child) == (What.STARTED, "two") and len(one.pids) == 4:
                again.set()

        supervisor = Supervisor(
            "sup",
            [ChildSpec(id="one", start=one.start), ChildSpec(id="two", start=two.start)],
            strategy=Strategy.ONE_FOR_ALL,
            intensity=Intensity(restarts=3, period=5.0),
            backoff=Backoff(initial=0.0),
            on_exhaustion=Pause(),
            on_event=hook,
        )
        async with world.running(supervisor):
            if fault == "during_cleanup":
                await supervisor.restart_child("one")
            else:
                one.poke.set()
                await again.wait()
            now = {pid for name in ("one", "two") for pid in supervisor.value(name)}
            assert len(now) == 4
            await gone({*one.pids, *two.pids} - now)
            assert living(now) == now
        await gone(one.pids + two.pids)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_processes_stop_in_reverse_order_and_before_the_supervisor_ends(world):
    with trio.fail_after(20.0):
        owners = [Owner("never") for _ in range(3)]
        specs = [
            ChildSpec(id=str(n), start=owner.start, shutdown=math.inf)
            for n, owner in enumerate(owners)
        ]
        seen = []

        def hook(event):
            if event.what is What.STOPPED:
                seen.append([bool(living(owner.pids[:1])) for owner in owners])

        async with world.running(Supervisor("sup", specs, on_event=hook)):
            assert len(living(pid for owner in owners for pid in owner.pids)) == 6
    assert seen == [[True, True, False], [True, False, False], [False, False, False]]
