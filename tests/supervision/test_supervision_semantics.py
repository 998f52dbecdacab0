"""Strategies, restart types, intensity, backoff, pause, commands: OTP's words on Trio."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from onemcp.supervision import (
    AlreadyRunningError,
    AutoShutdown,
    Backoff,
    ChildNotRunningError,
    ChildRunningError,
    ChildSpec,
    ChildState,
    DuplicateChildError,
    Escalate,
    Intensity,
    Kind,
    NotAcknowledgedError,
    Pause,
    Restart,
    RestartIntensityExceeded,
    StartFailedError,
    StartOvertakenError,
    StartTimeout,
    Strategy,
    Supervisor,
    SupervisorNotRunningError,
    UnknownChildError,
    What,
)

AT_ONCE = Backoff(initial=0.0)
STEADY = Backoff(initial=1.0, factor=2.0, maximum=8.0, stable_after=60.0, jitter=lambda: 1.0)


def build(world, ids="abc", **options):
    options.setdefault("backoff", AT_ONCE)
    specs = options.pop("specs", None) or [world.spec(child_id) for child_id in ids]
    return Supervisor("sup", specs, on_event=world.events.append, **options)


# Starting and stopping


async def test_children_start_in_order_and_stop_in_reverse(world, clock):
    async with world.running(build(world)):
        assert world.take_log() == "+a +b +c"
    assert world.take_log() == "-c -b -a"
    assert [e.child for e in world.told(What.STOPPED)] == ["c", "b", "a"]


async def test_each_child_is_down_before_the_next_one_is_told(world, clock):
    supervisor = build(world)
    async with world.running(supervisor):
        world["c"].cleanup = 3.0
        world["b"].cleanup = 2.0
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(5.0)
    steps = [(e.child, e.what) for e in world.events if e.what in {What.STOPPING, What.STOPPED}]
    assert steps == [(c, w) for c in "cba" for w in (What.STOPPING, What.STOPPED)]


async def test_the_acknowledged_value_is_readable(world, clock, settle):
    supervisor = build(world)
    with pytest.raises(ChildNotRunningError, match="pending"):
        supervisor.value("a")
    async with world.running(supervisor):
        assert supervisor.value("a") == 1
        world["a"].crash()
        await settle()
        assert supervisor.value("a") == 2
        with pytest.raises(UnknownChildError, match="did you mean"):
            supervisor.value("z")
    with pytest.raises(ChildNotRunningError, match="stopped"):
        supervisor.value("a")


async def test_an_overdue_child_is_reported_and_holds_nobody_else_up(world, clock):
    specs = [world.spec("a"), world.spec("b", shutdown=1.0)]
    async with world.running(build(world, specs=specs)):
        world["b"].cleanup = 30.0
        world.log.clear()
        began = trio.current_time()
    assert world.take_log() == "-a -b"
    assert [e.at - began for e in world.told(What.OVERDUE, "b")] == [pytest.approx(1.0)]
    assert trio.current_time() - began == pytest.approx(30.0)
    assert world.told(What.STOPPED, "b")


async def test_immediate_shutdown_does_not_wait_for_the_child(world, clock):
    specs = [world.spec("a"), world.spec("b", shutdown=0)]
    async with world.running(build(world, specs=specs)):
        world["b"].cleanup = 3.0
        world.log.clear()
    assert world.take_log() == "-a -b"
    assert not world.told(What.OVERDUE)


async def test_infinite_shutdown_waits_as_long_as_it_takes(world, clock):
    async with world.running(build(world, specs=[world.spec("a", shutdown=math.inf)])):
        world["a"].cleanup = 86_400.0
    assert not world.told(What.OVERDUE)


async def test_a_failing_first_start_ends_an_escalating_supervisor(world, clock):
    supervisor = build(
        world, specs=[world.spec("a"), world.spec("b", script="fail"), world.spec("c")]
    )
    with pytest.raises(StartFailedError, match="'b'") as caught:
        await supervisor.run()
    assert type(caught.value.__cause__).__name__ == "Boom"
    assert world.take_log() == "+a +b -b -a"


@pytest.mark.parametrize(
    ("script", "cause"), [("return", NotAcknowledgedError), ("hang", StartTimeout)]
)
async def test_what_never_acknowledges_has_not_started(world, clock, script, cause):
    supervisor = build(world, specs=[world.spec("a", script=script, start_timeout=2.0)])
    with pytest.raises(StartFailedError) as caught:
        await supervisor.run()
    assert isinstance(caught.value.__cause__, cause)


async def test_a_supervisor_runs_again_from_its_initial_specs(world, clock):
    supervisor = build(world, "ab")
    async with world.running(supervisor):
        await supervisor.start_child(world.spec("x"))
        await supervisor.stop_child("a")
        with pytest.raises(AlreadyRunningError):
            await supervisor.run()
    assert not supervisor.running
    async with world.running(supervisor):
        assert [c.id for c in supervisor.which_children()] == ["a", "b"]
        assert supervisor.count_children().active == 2


async def test_an_empty_supervisor_runs_until_it_is_told_to_end(world, clock):
    supervisor = build(world, "")
    async with trio.open_nursery() as nursery:
        assert await nursery.start(supervisor.run) is supervisor
        await supervisor.shutdown()
        assert not supervisor.running
    assert [e.what for e in world.events] == [
        What.SUPERVISOR_STARTED,
        What.SUPERVISOR_STOPPING,
        What.SUPERVISOR_STOPPED,
    ]


# Restart types and strategies


@pytest.mark.parametrize(
    ("restart", "crash", "again"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.PERMANENT, False, True),
        (Restart.TRANSIENT, True, True),
        (Restart.TRANSIENT, False, False),
        (Restart.TEMPORARY, True, False),
        (Restart.TEMPORARY, False, False),
    ],
)
async def test_the_restart_type_decides_whether_it_starts_again(
    world, clock, restart, crash, again
):
    supervisor = build(world, specs=[world.spec("a", restart=restart), world.spec("b")])
    async with world.running(supervisor):
        world["a"].crash() if crash else world["a"].finish()
        await trio.sleep(0.1)
        assert world["a"].incarnations == (2 if again else 1)
        assert bool(world.told(What.CRASHED)) is crash
        known = [child.id for child in supervisor.which_children()]
        assert ("a" in known) is (restart is not Restart.TEMPORARY)


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        (Strategy.ONE_FOR_ONE, "-b +b"),
        (Strategy.REST_FOR_ONE, "-b -d -c +b +c +d"),
        (Strategy.ONE_FOR_ALL, "-b -d -c -a +a +b +c +d"),
    ],
)
async def test_the_strategy_decides_who_restarts_with_it(world, clock, settle, strategy, log):
    supervisor = build(world, "abcd", strategy=strategy)
    async with world.running(supervisor):
        world.log.clear()
        world["b"].crash()
        await settle()
        assert world.take_log() == log
        assert supervisor.snapshot().restarts == 1


async def test_a_temporary_sibling_is_not_started_again_with_its_group(world, clock, settle):
    specs = [world.spec("a"), world.spec("t", restart=Restart.TEMPORARY), world.spec("c")]
    supervisor = build(world, specs=specs, strategy=Strategy.ONE_FOR_ALL)
    async with world.running(supervisor):
        world.log.clear()
        world["a"].crash()
        await settle()
        assert world.take_log() == "-a -c -t +a +c"
        assert [child.id for child in supervisor.which_children()] == ["a", "c"]


async def test_a_child_that_the_operator_stopped_stays_down_when_its_group_restarts(
    world, clock, settle
):
    supervisor = build(world, strategy=Strategy.ONE_FOR_ALL)
    async with world.running(supervisor):
        await supervisor.stop_child("b")
        await supervisor.stop_child("b")
        world.log.clear()
        world["a"].crash()
        await settle()
        assert world.take_log() == "-a -c +a +c"
        assert await supervisor.restart_child("b") == 2


async def test_a_second_crash_during_a_group_restart_joins_the_two(world, clock, settle):
    supervisor = build(world, "abcd", strategy=Strategy.REST_FOR_ONE)
    async with world.running(supervisor):
        world["c"].script = ["fail"]
        world.log.clear()
        world["b"].crash()
        await settle()
        assert world.take_log() == "-b -d -c +b +c -c +c +d"
        assert supervisor.snapshot().restarts == 2


async def test_a_sibling_that_crashes_while_its_group_stops_counts_once(world, clock, settle):
    supervisor = build(world, strategy=Strategy.ONE_FOR_ALL)
    async with world.running(supervisor):
        world["c"].cleanup = 1.0
        world["a"].crash()
        await settle(0.5)
        world["b"].crash()
        await settle(1.0)
        assert supervisor.snapshot().restarts == 1
        assert supervisor.count_children().active == 3


async def test_a_wider_crash_takes_over_a_pending_group(world, clock, settle):
    supervisor = build(world, strategy=Strategy.REST_FOR_ONE, backoff=STEADY)
    async with world.running(supervisor):
        world["b"].crash()
        await settle(0.5)
        world["a"].crash()
        world.log.clear()
        await settle(0.9)
        assert world.take_log() == "-a"
        await settle(0.2)
        assert world.take_log() == "+a +b +c"


# Intensity, backoff, exhaustion


async def test_exhaustion_escalates_with_the_cause(world, clock):
    supervisor = build(world, "ab", intensity=Intensity(restarts=1, period=5.0))

    async def crash_twice():
        for _ in range(2):
            await trio.sleep(1.0)
            world["a"].crash()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash_twice)
        with pytest.raises(RestartIntensityExceeded) as caught:
            await supervisor.run()
    error = caught.value
    assert (error.supervisor, error.child, error.restarts) == ("sup", "a", 1)
    assert type(error.__cause__).__name__ == "Boom"
    assert world["b"].alive == 0
    assert world.told(What.EXHAUSTED, "a")


async def test_restarts_outside_the_period_do_not_count(world, clock):
    supervisor = build(world, "a", intensity=Intensity(restarts=1, period=5.0))
    async with world.running(supervisor):
        for _ in range(10):
            world["a"].crash()
            await trio.sleep(5.01)
        assert world["a"].incarnations == 11


async def test_backoff_shows_as_restarting_with_the_time_of_the_next_attempt(world, clock, settle):
    supervisor = build(world, "a", backoff=STEADY, intensity=Intensity(restarts=100, period=1.0))
    async with world.running(supervisor):
        for expected in (1.0, 2.0, 4.0, 8.0, 8.0):
            world["a"].crash()
            await settle()
            child = supervisor.snapshot()["a"]
            assert child.state is ChildState.RESTARTING
            assert child.next_attempt is not None
            assert child.retry_in(trio.current_time()) == pytest.approx(expected, abs=0.01)
            assert child.retry_in(child.next_attempt + 1.0) == 0.0
            assert "next attempt in" in str(supervisor.snapshot())
            await trio.sleep(expected + 0.1)
            assert supervisor.snapshot()["a"].state is ChildState.RUNNING
        await trio.sleep(60.0)
        world["a"].crash()
        await trio.sleep(1.1)
        assert supervisor.snapshot()["a"].state is ChildState.RUNNING


async def test_an_hour_of_backoff_delays_neither_a_command_nor_the_stop(world, clock, settle):
    supervisor = build(world, backoff=Backoff(initial=3600.0, maximum=3600.0, jitter=lambda: 1.0))
    async with world.running(supervisor):
        world["a"].crash()
        await settle()
        began = trio.current_time()
        await supervisor.stop_child("b")
        await supervisor.restart_child("c")
        assert trio.current_time() == began
    assert trio.current_time() == began


async def test_restart_child_cuts_a_backoff_short_and_the_old_wait_does_nothing(
    world, clock, settle
):
    supervisor = build(world, "a", backoff=STEADY)
    async with world.running(supervisor):
        world["a"].crash()
        await settle()
        assert await supervisor.restart_child("a") == 2
        await trio.sleep(10.0)
        assert world["a"].incarnations == 2


async def test_pause_leaves_siblings_alone_and_tries_again_after_the_cooldown(world, clock, settle):
    supervisor = build(
        world, "ab", intensity=Intensity(restarts=0, period=5.0), on_exhaustion=Pause(cooldown=60.0)
    )
    async with world.running(supervisor):
        world["a"].crash()
        await settle()
        assert supervisor.snapshot()["a"].state is ChildState.PAUSED
        await trio.sleep(59.0)
        assert (world["a"].incarnations, world["b"].incarnations) == (1, 1)
        await trio.sleep(1.1)
        assert (world["a"].incarnations, world["b"].incarnations) == (2, 1)
        assert supervisor.snapshot()["a"].state is ChildState.RUNNING


async def test_an_operator_restarts_a_paused_child_at_once(world, clock, settle):
    supervisor = build(
        world, "ab", intensity=Intensity(restarts=0), on_exhaustion=Pause(cooldown=3600.0)
    )
    async with world.running(supervisor):
        world["a"].crash()
        await settle()
        began = trio.current_time()
        assert await supervisor.restart_child("a") == 2
        world["a"].script = ["fail"]
        world["a"].crash()
        await settle()
        with pytest.raises(StartFailedError):
            await supervisor.restart_child("a")
        assert trio.current_time() == pytest.approx(began, abs=0.01)
        assert supervisor.snapshot()["a"].state is ChildState.PAUSED


async def test_pause_takes_the_whole_affected_group(world, clock, settle):
    supervisor = build(
        world,
        strategy=Strategy.REST_FOR_ONE,
        intensity=Intensity(restarts=0),
        on_exhaustion=Pause(cooldown=10.0),
    )
    async with world.running(supervisor):
        world.log.clear()
        world["b"].crash()
        await settle()
        states = [child.state for child in supervisor.which_children()]
        assert states == [ChildState.RUNNING, ChildState.PAUSED, ChildState.PAUSED]
        await supervisor.restart_child("c")
        assert world.take_log() == "-b -c +b +c"


async def test_under_pause_a_failing_first_start_concerns_that_child_alone(world, clock, settle):
    specs = [world.spec("a"), world.spec("b", script="fail fail fail"), world.spec("c")]
    supervisor = build(
        world,
        specs=specs,
        intensity=Intensity(restarts=1, period=5.0),
        on_exhaustion=Pause(cooldown=60.0),
    )
    async with world.running(supervisor):
        await settle()
        states = [child.state for child in supervisor.which_children()]
        assert states == [ChildState.RUNNING, ChildState.PAUSED, ChildState.RUNNING]
        await trio.sleep(61.0)
        assert supervisor.snapshot()["b"].state is ChildState.RUNNING


async def test_under_pause_the_rest_waits_for_a_failing_first_start(world, clock, settle):
    specs = [
        world.spec("a", script="fail"),
        world.spec("b"),
        world.spec("t", restart=Restart.TEMPORARY),
    ]
    supervisor = build(
        world, specs=specs, strategy=Strategy.REST_FOR_ONE, backoff=STEADY, on_exhaustion=Pause()
    )
    async with world.running(supervisor):
        await settle()
        assert world.take_log() == "+a -a"
        await trio.sleep(1.0)
        assert world.take_log() == "+a +b +t"


async def test_a_child_that_ignores_the_end_of_its_start_holds_up_nobody_under_pause(
    world, clock, settle
):
    specs = [world.spec("a", script="hang", start_timeout=1.0, shutdown=1.0), world.spec("b")]
    world["a"].cleanup = 10.0
    supervisor = build(world, specs=specs, on_exhaustion=Pause())
    async with world.running(supervisor):
        assert trio.current_time() == pytest.approx(2.0)
        assert world["b"].alive == 1
        await trio.sleep(20.0)
        assert supervisor.value("a") == 2
        assert world["a"].peak == 1


async def test_a_child_that_ignores_the_end_of_its_start_ends_an_escalating_supervisor(
    world, clock
):
    specs = [world.spec("a", script="hang", start_timeout=1.0, shutdown=1.0), world.spec("b")]
    world["a"].cleanup = 10.0
    with pytest.raises(StartFailedError):
        await build(world, specs=specs).run()
    assert world["b"].incarnations == 0


# Significant children


@pytest.mark.parametrize(
    ("rule", "survives_first"),
    [(AutoShutdown.ANY_SIGNIFICANT, False), (AutoShutdown.ALL_SIGNIFICANT, True)],
)
async def test_the_end_of_significant_children_ends_the_supervisor(
    world, clock, settle, rule, survives_first
):
    specs = [
        world.spec("s1", significant=True, restart=Restart.TRANSIENT),
        world.spec("s2", significant=True, restart=Restart.TEMPORARY),
        world.spec("other"),
    ]
    supervisor = build(world, specs=specs, auto_shutdown=rule)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        world["s1"].crash()
        await settle()
        assert world["s1"].incarnations == 2
        world["s1"].finish()
        await settle()
        assert supervisor.running is survives_first
        if survives_first:
            world["s2"].crash()
    assert not supervisor.running
    assert world["other"].alive == 0


async def test_a_supervisor_that_ends_while_it_starts_has_acknowledged(world, clock):
    specs = [
        world.spec("s", significant=True, restart=Restart.TEMPORARY),
        world.spec("slow", script="hang"),
    ]
    supervisor = build(world, specs=specs, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    async with trio.open_nursery() as nursery:

        async def end():
            await trio.sleep(1.0)
            world["s"].finish()

        nursery.start_soon(end)
        assert await nursery.start(supervisor.run) is supervisor
    assert not supervisor.running


# Commands


async def test_commands_for_the_unknown_name_the_nearest_known_child(world, clock):
    supervisor = build(world, specs=[world.spec("github"), world.spec("files")])
    async with world.running(supervisor):
        for command in (supervisor.stop_child, supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(UnknownChildError, match="did you mean 'github'"):
                await command("githib")


async def test_a_child_is_started_stopped_and_deleted_at_run_time(world, clock):
    supervisor = build(world, "a")
    async with world.running(supervisor):
        assert await supervisor.start_child(world.spec("x")) == 1
        with pytest.raises(DuplicateChildError):
            await supervisor.start_child(world.spec("x"))
        with pytest.raises(ChildRunningError, match="stop it first"):
            await supervisor.delete_child("a")
        await supervisor.stop_child("a")
        await supervisor.delete_child("a")
        assert [child.id for child in supervisor.which_children()] == ["x"]


async def test_a_child_whose_first_start_fails_is_not_kept(world, clock):
    for policy in (Escalate(), Pause()):
        supervisor = build(world, "a", on_exhaustion=policy)
        async with world.running(supervisor):
            with pytest.raises(StartFailedError):
                await supervisor.start_child(world.spec("x", script="fail"))
            with pytest.raises(StartTimeout):
                await supervisor.start_child(world.spec("y", script="hang", start_timeout=1.0))
            assert supervisor.count_children().specs == 1


async def test_a_failing_restart_by_an_operator_leaves_the_child_stopped_or_paused(world, clock):
    for policy, state in ((Escalate(), ChildState.STOPPED), (Pause(), ChildState.PAUSED)):
        supervisor = build(world, "a", on_exhaustion=policy)
        async with world.running(supervisor):
            world["a"].script = ["fail"]
            with pytest.raises(StartFailedError):
                await supervisor.restart_child("a")
            assert supervisor.snapshot()["a"].state is state


async def test_stopping_one_slow_child_holds_up_no_other_command(world, clock):
    supervisor = build(world, specs=[world.spec("slow", shutdown=100.0), world.spec("b")])
    world["slow"].cleanup = 50.0
    async with world.running(supervisor), trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(supervisor.stop_child, "slow")
        await trio.testing.wait_all_tasks_blocked()
        assert await supervisor.restart_child("b") == 2
        await supervisor.start_child(world.spec("c"))
        assert trio.current_time() == began
    assert world["slow"].alive == 0


async def test_restart_during_a_stop_starts_it_when_it_is_down(world, clock):
    supervisor = build(world, "a")
    world["a"].cleanup = 2.0
    async with world.running(supervisor), trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.stop_child, "a")
        await trio.sleep(1.0)
        assert await supervisor.restart_child("a") == 2
        assert world["a"].peak == 1


async def test_a_stop_overtakes_a_start_and_a_restart(world, clock, settle):
    supervisor = build(world, "a", backoff=STEADY)
    async with world.running(supervisor), trio.open_nursery() as nursery:

        async def overtaken(command, argument):
            with pytest.raises(StartOvertakenError):
                await command(argument)

        nursery.start_soon(overtaken, supervisor.start_child, world.spec("x", script="hang"))
        await settle()
        await supervisor.stop_child("x")
        world["a"].cleanup = 2.0
        nursery.start_soon(overtaken, supervisor.restart_child, "a")
        await settle()
        await supervisor.stop_child("a")
        assert supervisor.snapshot()["a"].state is ChildState.STOPPED


async def test_a_stop_during_backoff_cancels_the_restart(world, clock, settle):
    supervisor = build(world, "a", backoff=STEADY)
    async with world.running(supervisor):
        world["a"].crash()
        await settle()
        await supervisor.stop_child("a")
        await trio.sleep(10.0)
        assert world["a"].incarnations == 1


async def test_restart_while_starting_starts_anew(world, clock, settle):
    supervisor = build(world, "")
    async with world.running(supervisor), trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start_child, world.spec("x", script="hang"))
        await settle()
        assert await supervisor.restart_child("x") == 2


async def test_commands_need_a_running_supervisor(world, clock, settle):
    supervisor = build(world, "a")
    world["a"].cleanup = 1.0
    with pytest.raises(SupervisorNotRunningError):
        await supervisor.stop_child("a")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.start_soon(supervisor.shutdown)
        await settle()
        with pytest.raises(SupervisorNotRunningError):
            await supervisor.restart_child("a")
    with pytest.raises(SupervisorNotRunningError):
        await supervisor.shutdown()


async def test_those_who_wait_for_a_start_hear_of_the_end(world, clock, settle):
    supervisor = build(world, "a")
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)

        async def wait():
            with pytest.raises(StartOvertakenError):
                await supervisor.start_child(world.spec("x", script="hang"))

        nursery.start_soon(wait)
        await settle()
        await supervisor.shutdown()


# Trees and reports


async def test_a_nested_supervisor_has_a_path_and_reports_to_the_top(world, clock, settle):
    own = []
    inner = Supervisor(
        "inner",
        [world.spec("leaf")],
        backoff=AT_ONCE,
        intensity=Intensity(restarts=1, period=5.0),
        on_event=own.append,
    )
    specs = [ChildSpec.for_supervisor(inner), world.spec("b")]
    supervisor = build(world, specs=specs)
    async with world.running(supervisor):
        assert inner.path == "sup/inner"
        assert supervisor.value("inner") is inner
        world["leaf"].crash()
        await settle()
        assert [e.supervisor for e in world.told(What.CRASHED)] == ["sup/inner"]
        assert [e.what for e in own if e.child == "leaf"].count(What.STARTED) == 2
        world["leaf"].crash()
        await settle()
        (crash,) = world.told(What.CRASHED, "inner")
        assert isinstance(crash.reason, RestartIntensityExceeded)
        assert inner.running
        tree = supervisor.snapshot()
        assert tree["inner"].kind is Kind.SUPERVISOR
        assert tree["inner"].subtree is not None
        assert tree["inner"].subtree["leaf"].state is ChildState.RUNNING
        assert tree["inner"].child("leaf") is tree["inner"].subtree["leaf"]
        assert tree["inner"].child("zork") is tree["b"].child("leaf") is None
        with pytest.raises(KeyError):
            tree["zork"]
        drawing = str(tree)
        assert drawing.splitlines()[0].startswith("sup  running  one_for_one")
        assert "│   └── leaf  running  restarts=0" in drawing
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 2, 1, 1)
    assert "sup" in repr(supervisor)
    assert "not running" in repr(supervisor)


async def test_a_faulty_hook_is_logged_and_harms_nobody(world, clock, caplog):
    def hook(event):
        raise RuntimeError("observer")

    async with world.running(Supervisor("sup", [world.spec("a")], on_event=hook)) as supervisor:
        assert supervisor.value("a") == 1
    assert "an event hook of supervisor 'sup' failed" in caplog.text


async def test_events_tell_the_whole_story_of_a_restart(world, clock, settle):
    async with world.running(build(world, "a", backoff=STEADY)):
        world["a"].crash()
        await trio.sleep(2.0)
    story = [(e.what, e.generation) for e in world.events if e.child == "a"]
    assert story == [
        (What.STARTING, 1),
        (What.STARTED, 1),
        (What.CRASHED, 1),
        (What.RESTARTING, 1),
        (What.STARTING, 2),
        (What.STARTED, 2),
        (What.STOPPING, 2),
        (What.STOPPED, 2),
    ]
    (restarting,) = world.told(What.RESTARTING)
    assert restarting.next_attempt == pytest.approx(restarting.at + 1.0)
