"""Supervise a few workers that have nothing to do with MCP.

A sensor that fails now and then feeds a display through a channel. Both live under a supervisor
that restarts the sensor with a growing delay, and pauses it when it fails too often; batch jobs
come and go under a dynamic supervisor. Run it: ``python docs/examples/supervised_workers.py``.
"""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from onemcp.supervision import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Event,
    Intensity,
    Pause,
    Restart,
    Strategy,
    Supervisor,
    What,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_SECONDS = 3.0
LOOSE = 0.2  # the chance that a reading fails
NOTABLE = {What.CRASHED, What.RESTARTING, What.PAUSED, What.SUPERVISOR_STARTED, What.STOPPED}


async def sensor(
    readings: trio.MemorySendChannel[float],
    chance: random.Random,
    *,
    task_status: trio.TaskStatus[str],
) -> None:
    """Send readings until the cable comes loose."""
    task_status.started("/dev/thermometer")  # what the supervisor keeps as the child's value
    while True:
        await trio.sleep(0.05)
        if chance.random() < LOOSE:
            raise OSError("the cable came loose")
        await readings.send(20.0 + chance.random())


async def display(
    readings: trio.MemoryReceiveChannel[float], *, task_status: trio.TaskStatus[None]
) -> None:
    """Count readings, and say how many there were when told to stop."""
    shown = 0
    task_status.started()
    try:
        while True:
            await readings.receive()
            shown += 1
    finally:
        print(f"the display showed {shown} readings")


async def job(seconds: float, *, task_status: trio.TaskStatus[None]) -> None:
    """Do something that ends by itself."""
    task_status.started()
    await trio.sleep(seconds)


def report(event: Event) -> None:
    """Print what is worth a line; logs and metrics would hang on this same hook."""
    if event.what in NOTABLE:
        print(event)


def build(
    chance: random.Random, hook: Callable[[Event], Any]
) -> tuple[Supervisor, DynamicSupervisor]:
    """Describe the tree; nothing runs yet."""
    send, receive = trio.open_memory_channel[float](8)
    station = Supervisor(
        "station",
        [
            ChildSpec(id="display", start=partial(display, receive), shutdown=1.0),
            ChildSpec(id="sensor", start=partial(sensor, send, chance)),
        ],
        strategy=Strategy.REST_FOR_ONE,  # the sensor depends on the display, not the other way
        intensity=Intensity(restarts=3, period=5.0),
        backoff=Backoff(initial=0.05, maximum=1.0, jitter=chance.random),
        on_exhaustion=Pause(cooldown=1.0),
    )
    jobs = DynamicSupervisor("jobs", max_children=10)
    root = Supervisor(
        "root",
        [ChildSpec.for_supervisor(station), ChildSpec.for_supervisor(jobs, shutdown=math.inf)],
        on_event=hook,
    )
    return root, jobs


async def main() -> None:
    """Run the tree for a while, then stop it: in reverse order, from the leaves up."""
    root, jobs = build(random.Random(7), report)  # noqa: S311 - a toy sensor
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for number in range(3):
            await jobs.start_child(
                ChildSpec(
                    id=f"job-{number}",
                    start=partial(job, number / 2),
                    restart=Restart.TEMPORARY,
                )
            )
        await trio.sleep(RUN_SECONDS)
        print(root.snapshot())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
