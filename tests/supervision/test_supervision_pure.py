"""The pure parts need no event loop."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.supervision import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Event,
    Intensity,
    Kind,
    Pause,
    Restart,
    RestartWindow,
    Strategy,
    Supervisor,
    UnknownChildError,
    What,
    affected,
    plan_reload,
)
from onemcp.supervision._lifecycle import TRANSITIONS, IllegalStepError, Step, advance, mermaid
from onemcp.supervision._reload import ReloadReport
from onemcp.supervision._timers import Timers


async def nothing(*, task_status):
    task_status.started()


def spec(child_id, **fields):
    return ChildSpec(id=child_id, start=nothing, **fields)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "b"),
        (Strategy.REST_FOR_ONE, "bcd"),
        (Strategy.ONE_FOR_ALL, "abcd"),
    ],
)
def test_affected_siblings_come_in_start_order(strategy, expected):
    assert affected("abcd", "b", strategy) == tuple(expected)


def test_affected_refuses_a_stranger():
    with pytest.raises(ValueError, match="x"):
        affected(["a"], "x", Strategy.ONE_FOR_ALL)


def test_window_counts_exactly_its_period():
    window = RestartWindow(Intensity(restarts=2, period=5.0))
    assert [window.admit(0.0), window.admit(0.0), window.admit(5.0)] == [True, True, False]
    assert window.admit(5.001)
    assert window.used(5.001) == 1
    window.clear()
    assert window.used(5.001) == 0


def test_an_intensity_of_zero_allows_no_restart():
    assert not RestartWindow(Intensity(restarts=0, period=1.0)).admit(0.0)


@given(
    restarts=st.integers(0, 5),
    period=st.integers(1, 10),
    gaps=st.lists(st.integers(0, 8), max_size=40),
)
def test_no_window_ever_holds_more_restarts_than_allowed(restarts, period, gaps):
    window, now, admitted = RestartWindow(Intensity(restarts=restarts, period=period)), 0, []
    for gap in gaps:
        now += gap
        if window.admit(now):
            admitted.append(now)
        assert sum(stamp >= now - period for stamp in admitted) <= restarts


def test_backoff_grows_and_is_capped():
    backoff = Backoff(initial=1.0, factor=2.0, maximum=5.0, jitter=lambda: 1.0)
    assert [backoff.delay(n) for n in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.delay(100_000) == 5.0


@given(attempt=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_full_jitter_stays_within_the_bound(attempt, chance):
    backoff = Backoff(jitter=lambda: chance)
    assert 0.0 <= backoff.delay(attempt) <= backoff.bound(attempt) <= backoff.maximum


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(initial=-1.0),
        lambda: Backoff(maximum=math.inf),
        lambda: Backoff(factor=0.5),
        lambda: Intensity(restarts=-1),
        lambda: Intensity(period=0.0),
        lambda: Pause(cooldown=math.inf),
        lambda: spec(""),
        lambda: spec("a", shutdown=-1.0),
        lambda: spec("a", shutdown=math.nan),
        lambda: spec("a", start_timeout=0),
        lambda: spec("a", significant=True),
        lambda: Supervisor("s", [spec("a"), spec("a")]),
        lambda: Supervisor("s", [spec("a", significant=True, restart=Restart.TEMPORARY)]),
        lambda: DynamicSupervisor("s", max_children=0),
        lambda: Event(supervisor="s", what=What.STARTED, at=0.0),
        lambda: Event(supervisor="s", what=What.RELOADED, at=0.0, child="a"),
    ],
)
def test_what_contradicts_itself_is_refused(make):
    with pytest.raises(ValueError, match=r".+"):
        make()


def test_kind_sets_the_defaults():
    assert (spec("a").shutdown, spec("a").start_timeout) == (5.0, 30.0)
    nested = ChildSpec.for_supervisor(Supervisor("inner"), version=3)
    assert (nested.id, nested.kind, nested.version) == ("inner", Kind.SUPERVISOR, 3)
    assert nested.shutdown == nested.start_timeout == math.inf


def test_significant_children_are_welcome_where_they_mean_something():
    child = spec("a", significant=True, restart=Restart.TRANSIENT)
    assert Supervisor("s", [child], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT).running is False


def test_every_state_can_be_left_and_unknown_steps_are_bugs():
    assert set(TRANSITIONS) == set(ChildState)
    assert all(TRANSITIONS.values())
    assert advance(ChildState.RUNNING, Step.CANCEL) is ChildState.STOPPING
    with pytest.raises(IllegalStepError, match="stopped cannot acknowledge"):
        advance(ChildState.STOPPED, Step.ACKNOWLEDGE)
    assert "running --> stopping: cancel" in mermaid()


def test_an_unknown_child_names_the_nearest():
    error = UnknownChildError("root", "githib", ["files", "github", "search"])
    assert error.nearest == "github"
    assert "did you mean 'github'" in str(error)
    assert "no children" in str(UnknownChildError("root", "x", []))


def test_a_reload_compares_ids_and_versions():
    old = [spec("a"), spec("b", version=1), spec("c", version=1, coexists=True), spec("d")]
    new = [
        spec("e"),
        spec("c", version=2, coexists=True),
        spec("b", version=2, coexists=True),
        spec("a"),
    ]
    plan = plan_reload(old, new)
    assert (plan.stop, plan.start, plan.keep) == (("d",), ("e",), ("a",))
    assert (plan.replace, plan.restart) == (("c",), ("b",))


@given(
    old=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)),
    new=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2)),
    coexists=st.booleans(),
)
def test_a_reload_plan_leads_from_old_to_new(old, new, coexists):
    plan = plan_reload(
        [spec(i, version=v, coexists=coexists) for i, v in old.items()],
        [spec(i, version=v, coexists=coexists) for i, v in new.items()],
    )
    changed = {*plan.restart, *plan.replace}
    assert (set(old) - set(plan.stop)) | set(plan.start) == set(new)
    assert set(plan.keep) == {i for i in new if old.get(i) == new[i]}
    assert changed == {i for i in new if i in old and old[i] != new[i]}
    assert set(plan.replace) == (changed if coexists else set())
    assert list(plan.stop) == [i for i in reversed(old) if i not in new]


def test_a_report_says_what_happened():
    assert str(ReloadReport()) == "nothing to do"
    report = ReloadReport(started=("a",), failed={"b": ValueError("no")})
    assert not report.ok
    assert str(report) == "started: a; failed: b (no)"


def test_timers_keep_one_deadline_per_key():
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.set("b", 2.0)
    timers.set("a", 3.0)
    assert timers.next() == 2.0
    assert (timers.pop_due(1.9), timers.pop_due(2.0), timers.pop_due(2.5)) == (None, "b", None)
    timers.set("a", math.inf)
    assert timers.next() == math.inf


def test_cleared_timers_do_not_pile_up():
    timers: Timers[int] = Timers()
    for key in range(1000):
        timers.set(key, 5.0)
        timers.clear(key)
    assert len(timers._heap) < 40


def test_an_event_prints_where_what_and_why():
    event = Event(
        supervisor="root/x", what=What.CRASHED, at=1.5, child="c", generation=2, reason=OSError("n")
    )
    assert str(event) == "[1.500] root/x/c #2 crashed: OSError('n')"
    assert str(Event(supervisor="r", what=What.RELOADED, at=0.0)) == "[0.000] r reloaded"
