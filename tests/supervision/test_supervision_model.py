"""A supervisor against a model of it: hypothesis drives Trio as a guest, on a mock clock.

The model knows no tasks, jobs or messages: it holds who is up, which groups are due when, and the
stamps of the restarts. After each step both must agree. Two seeded bugs show that it bites.
"""

from __future__ import annotations

import queue

import attrs
import hypothesis.strategies as st
import outcome
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from onemcp.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    Intensity,
    Pause,
    StartOvertakenError,
    Strategy,
    Supervisor,
    SupervisorNotRunningError,
    _strategy,
)
from onemcp.supervision._engine import Engine

DELAY, COOLDOWN, ALLOWED, PERIOD = 1.0, 10.0, 2, 4.0
IDS = ["a", "b", "c", "d", "e"]
HOST_PATIENCE = 20.0


class Guest:
    """Run Trio inside this thread, one call at a time."""

    def __init__(self):
        self.clock = trio.testing.MockClock()
        self._ticks = queue.SimpleQueue()
        self._calls = None
        self._answer = None
        self._ended = None
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._ticks.put,
            done_callback=self._done,
            clock=self.clock,
        )
        while self._calls is None:
            self._tick()

    async def _main(self):
        self._token = trio.lowlevel.current_trio_token()
        self._calls, calls = trio.open_memory_channel(1)
        async with trio.open_nursery() as self.nursery:
            while (call := await calls.receive()) is not None:
                answer = await outcome.acapture(call)
                await trio.testing.wait_all_tasks_blocked()
                self._answer = answer
            self.nursery.cancel_scope.cancel()

    def _done(self, ended):
        self._ended = ended

    def _tick(self):
        self._ticks.get(timeout=HOST_PATIENCE)()

    def call(self, function):
        """Await a function inside Trio, until every task is blocked again."""
        self._answer = None
        self._token.run_sync_soon(self._calls.send_nowait, function)
        while self._answer is None:
            assert self._ended is None, self._ended
            self._tick()
        return self._answer.unwrap()

    def close(self):
        """End the run."""
        if self._ended is None:
            self._token.run_sync_soon(self._calls.send_nowait, None)
        while self._ended is None:
            self._tick()
        self._ended.unwrap()


@attrs.define(eq=False)
class Group:
    """Children that are due together."""

    members: list[str]
    due: float


class SupervisorMachine(RuleBasedStateMachine):
    """Do at random what crashes, clocks, operators and reloads do."""

    guest = None

    @initialize(strategy=st.sampled_from(list(Strategy)), count=st.integers(2, 4))
    def begin(self, strategy, count):
        self.guest = Guest()
        self.strategy = strategy
        self.tasks = dict.fromkeys(IDS, 0)
        self.pokes = {}
        self.log = []
        self.versions = dict.fromkeys(IDS[:count], 0)
        self.supervisor = Supervisor(
            "sup",
            [self._spec(child) for child in self.versions],
            strategy=strategy,
            intensity=Intensity(restarts=ALLOWED, period=PERIOD),
            backoff=Backoff(initial=DELAY, factor=1.0, maximum=DELAY, jitter=lambda: 1.0),
            on_exhaustion=Pause(cooldown=COOLDOWN),
        )
        self._start()

    def _spec(self, child):
        async def start(*, task_status):
            self.tasks[child] += 1
            self.pokes[child] = trio.Event()
            self.log.append(f"+{child}")
            try:
                task_status.started()
                await self.pokes[child].wait()
                raise ValueError(child)
            finally:
                self.tasks[child] -= 1
                self.log.append(f"-{child}")

        return ChildSpec(id=child, start=start, version=self.versions[child])

    def _start(self):
        async def start():
            await self.guest.nursery.start(self.supervisor.run)

        self.guest.call(start)
        self.order = list(self.versions)
        self.up = set(self.order)
        self.halted = set()
        self.groups = []
        self.stamps = []
        self.log.clear()

    # The model

    @property
    def now(self):
        return self.guest.clock.current_time()

    def _window(self):
        self.stamps = [stamp for stamp in self.stamps if stamp >= self.now - PERIOD]
        return self.stamps

    def _leave(self, child):
        for group in self.groups:
            if child in group.members:
                group.members.remove(child)
        self.groups = [group for group in self.groups if group.members]

    def _group_of(self, child):
        return next((group for group in self.groups if child in group.members), None)

    def _siblings(self, child):
        position = self.order.index(child)
        return {
            Strategy.ONE_FOR_ONE: [child],
            Strategy.REST_FOR_ONE: self.order[position:],
            Strategy.ONE_FOR_ALL: self.order,
        }[self.strategy]

    def _fire(self, group):
        self.groups.remove(group)
        self.up.update(group.members)

    def _restarted(self, child):
        group = self._group_of(child)
        if group is not None:
            self._fire(group)
        self.halted.discard(child)
        self.up.add(child)

    def _pick(self, among, number):
        return sorted(among)[number % len(among)]

    # The rules

    @precondition(lambda self: self.guest and self.up)
    @rule(number=st.integers(0, 9))
    def crash(self, number):
        child = self._pick(self.up, number)

        async def poke():
            self.pokes[child].set()

        self.guest.call(poke)
        members = [one for one in self._siblings(child) if one not in self.halted]
        stopped = [one for one in members if one in self.up and one != child]
        assert self.log == [f"-{child}", *(f"-{one}" for one in reversed(stopped))]
        if len(self._window()) < ALLOWED:
            self.stamps.append(self.now)
            due = self.now + DELAY
        else:
            self.stamps.clear()
            due = self.now + COOLDOWN
        for one in members:
            self._leave(one)
        self.up.difference_update(members)
        self.groups.append(Group(members, due))

    @precondition(lambda self: self.guest)
    @rule(halves=st.sampled_from([1, 2, 2, 4, 12, 24]))
    def advance(self, halves):
        async def jump():
            self.guest.clock.jump(halves / 2)

        self.guest.call(jump)
        for group in [group for group in self.groups if group.due <= self.now]:
            self._fire(group)

    @precondition(lambda self: self.guest and self.order)
    @rule(number=st.integers(0, 9))
    def stop(self, number):
        child = self._pick(self.order, number)
        self.guest.call(lambda: self.supervisor.stop_child(child))
        self._leave(child)
        self.up.discard(child)
        self.halted.add(child)

    @precondition(lambda self: self.guest and self.order)
    @rule(number=st.integers(0, 9))
    def restart(self, number):
        child = self._pick(self.order, number)
        self.guest.call(lambda: self.supervisor.restart_child(child))
        self._restarted(child)

    @precondition(lambda self: self.guest)
    @rule(
        wanted=st.permutations(IDS), count=st.integers(0, 5), changed=st.sets(st.sampled_from(IDS))
    )
    def reload(self, wanted, count, changed):
        new = wanted[:count]
        versions = {one: self.versions.get(one, 0) + (one in changed) for one in new}
        old, self.versions = self.versions, versions
        report = self.guest.call(
            lambda: self.supervisor.reconfigure([self._spec(one) for one in new])
        )
        assert report.ok
        for one in [one for one in self.order if one not in versions]:
            self._leave(one)
            self.up.discard(one)
            self.halted.discard(one)
        for one in new:
            if one not in old:
                self.up.add(one)
            elif old[one] != versions[one]:
                self._restarted(one)
        self.order = list(new)

    @precondition(lambda self: self.guest)
    @rule()
    def stop_all_with_a_call_in_flight_and_run_again(self):
        failures = []

        async def hang(*, task_status):
            await trio.sleep_forever()

        async def call():
            try:
                await self.supervisor.start_child(ChildSpec(id="hang", start=hang))
            except (StartOvertakenError, SupervisorNotRunningError) as error:
                failures.append(error)

        async def end():
            self.guest.nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
            await self.supervisor.shutdown()

        self.log.clear()
        self.guest.call(end)
        assert len(failures) == 1
        assert self.log == [f"-{one}" for one in reversed(self.order) if one in self.up]
        assert not any(self.tasks.values())
        self._start()

    # The invariants

    @invariant()
    def the_living_are_those_of_the_model(self):
        if self.guest is None:
            return
        self.log.clear()
        assert {one for one, count in self.tasks.items() if count} == self.up
        assert max(self.tasks.values()) <= 1
        states = {child.id: child.state for child in self.supervisor.which_children()}
        assert list(states) == self.order
        waiting = {one for group in self.groups for one in group.members}
        for one, state in states.items():
            if one in self.up:
                assert state is ChildState.RUNNING
            elif one in waiting:
                assert state in {ChildState.RESTARTING, ChildState.PAUSED}
            else:
                assert state is ChildState.STOPPED

    @invariant()
    def restarts_stay_within_the_allowance(self):
        if self.guest is None:
            return

        async def snapshot():
            return self.supervisor.snapshot()

        restarts = self.guest.call(snapshot).restarts
        assert restarts == len(self._window()) <= ALLOWED

    def teardown(self):
        if self.guest is not None:
            self.guest.close()


QUICK = settings(
    max_examples=60,
    stateful_step_count=25,
    database=None,
    suppress_health_check=list(HealthCheck),
)
SEEDED = settings(
    QUICK, max_examples=200, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False
)


def test_the_supervisor_agrees_with_its_model():
    run_state_machine_as_test(SupervisorMachine, settings=QUICK)


def test_the_model_catches_a_wrong_choice_of_siblings(monkeypatch):
    def wrong(children, crashed, strategy):
        position = children.index(crashed)
        return children[position:] if strategy is Strategy.REST_FOR_ONE else (crashed,)

    monkeypatch.setattr(_strategy, "affected", wrong)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SupervisorMachine, settings=SEEDED)


def test_the_model_catches_a_wrong_stop_order(monkeypatch):
    launch = Engine.launch

    def wrong(self, job, *, stop=(), **rest):
        launch(self, job, stop=list(stop)[::-1], **rest)

    monkeypatch.setattr(Engine, "launch", wrong)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SupervisorMachine, settings=SEEDED)


def test_the_model_catches_a_window_that_forgets(monkeypatch):
    monkeypatch.setattr("onemcp.supervision._intensity.RestartWindow.used", lambda self, now: 0)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(SupervisorMachine, settings=SEEDED)
