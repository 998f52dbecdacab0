"""Hostile children and hasty operators at random: whatever happens, the promises hold.

No incarnation overlaps its predecessor, every command is answered, nothing outlives the
supervisor, and no step is taken that the table of states does not know.
"""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
import trio
import trio.testing

from onemcp.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Escalate,
    Intensity,
    Pause,
    Restart,
    Strategy,
    SupervisionError,
    Supervisor,
)

IDS = "abcdef"


class Chaos:
    """One run: a supervisor, its children and those who give commands."""

    def __init__(self, seed):
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.alive = Counter()
        self.waiting = 0
        self.made = 0
        self.errors = []
        self.beside = self.chance.random() < 0.5
        self.dynamic = self.chance.random() < 0.2
        policy = {
            "intensity": Intensity(restarts=self.chance.randrange(4), period=5.0),
            "backoff": Backoff(initial=self.pick(0.0, 0.5), jitter=self.chance.random),
            "on_exhaustion": self.pick(Pause(cooldown=0.5), Pause(cooldown=10.0), Escalate()),
        }
        if self.dynamic:
            self.supervisor = DynamicSupervisor("sup", max_children=4, **policy)
        else:
            specs = [self.spec(one) for one in IDS[: self.chance.randrange(1, 6)]]
            strategy = self.pick(*Strategy)
            self.supervisor = Supervisor("sup", specs, strategy=strategy, **policy)

    def pick(self, *choices):
        return self.chance.choice(choices)

    def spec(self, child_id):
        self.made += 1
        key = f"{child_id}{self.made}" if self.beside else child_id
        return ChildSpec(
            id=child_id,
            start=lambda *, task_status: self.child(key, task_status),
            restart=self.pick(Restart.PERMANENT, Restart.PERMANENT, *Restart),
            shutdown=self.pick(0, 1.0, 5.0, math.inf),
            start_timeout=self.pick(1.0, 5.0, 30.0),
            version=self.chance.randrange(3),
            coexists=self.beside,
            ready=self.pick(None, self.probe),
            drain=self.pick(None, self.probe),
        )

    async def probe(self):
        await trio.sleep(self.pick(0, 1, 40))
        if self.chance.random() < 0.2:
            raise OSError("probe")

    async def child(self, key, task_status):
        self.alive[key] += 1
        assert self.alive[key] == 1 or self.beside
        try:
            await trio.sleep(self.pick(0, 0, 0.1, 2))
            await self.begin(self.chance.random())
            task_status.started(key)
            await trio.sleep(self.pick(0, 0.5, 3, 50, 1000))
            if self.chance.random() < 0.5:
                raise OSError("work")
        finally:
            try:
                if self.chance.random() < 0.3:
                    with trio.move_on_after(self.pick(0.1, 3, 20), shield=True):
                        await trio.sleep_forever()
                if self.chance.random() < 0.1:
                    raise OSError("cleanup")
            finally:
                self.alive[key] -= 1

    async def begin(self, fate):
        if fate < 0.15:
            raise OSError("start")
        if fate < 0.2:
            await trio.sleep_forever()

    async def command(self):
        child_id = self.chance.choice(IDS)
        commands = [
            lambda: self.supervisor.start_child(self.spec(child_id)),
            lambda: self.supervisor.stop_child(child_id),
            lambda: self.supervisor.restart_child(child_id),
        ]
        if not self.dynamic:
            wanted = [self.spec(one) for one in self.chance.sample(IDS, self.chance.randrange(6))]
            commands += [
                lambda: self.supervisor.delete_child(child_id),
                lambda: self.supervisor.reconfigure(wanted),
            ]
        self.waiting += 1
        try:
            await self.chance.choice(commands)()
        except SupervisionError as error:
            self.errors.append(error)
        self.waiting -= 1

    async def live(self):
        async with trio.open_nursery() as operators:
            try:
                with trio.move_on_after(self.pick(5, 30, 200)):
                    async with trio.open_nursery() as nursery:
                        await nursery.start(self.supervisor.run)
                        for _ in range(self.chance.randrange(40)):
                            await trio.sleep(self.pick(0, 0, 0.1, 1, 7))
                            operators.start_soon(self.command)
                        await self.supervisor.shutdown()
            except* SupervisionError as errors:
                self.errors.append(errors)


@pytest.mark.parametrize("decade", range(4))
def test_hostile_children_and_hasty_operators_break_no_promise(decade):
    for seed in range(decade * 10, decade * 10 + 10):
        chaos = Chaos(seed)
        trio.run(chaos.live, clock=trio.testing.MockClock(autojump_threshold=0))
        assert not chaos.supervisor.running
        assert chaos.waiting == 0
        assert not +chaos.alive
        states = {child.state for child in chaos.supervisor.which_children()}
        assert states <= {ChildState.STOPPED}
