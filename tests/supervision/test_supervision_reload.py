"""Reconfigure: what differs changes, what does not is left alone."""

from __future__ import annotations

import attrs
import pytest
import trio

from onemcp.supervision import (
    Backoff,
    ChildState,
    NotReadyError,
    Pause,
    Role,
    SpecError,
    StartFailedError,
    Strategy,
    Supervisor,
    SupervisorNotRunningError,
    What,
)

STRATEGIES = pytest.mark.parametrize("strategy", list(Strategy))


def build(world, specs, **options):
    return Supervisor(
        "sup", specs, backoff=Backoff(initial=0.0), on_event=world.events.append, **options
    )


def beside(world, child_id, version, **fields):
    """Describe a coexisting child whose probes are told apart by their version."""
    spec = world.spec(f"{child_id}{version}", version=version, coexists=True, **fields)
    return _renamed(spec, child_id)


def _renamed(spec, child_id):
    return attrs.evolve(spec, id=child_id)


@STRATEGIES
async def test_a_reload_touches_only_what_differs(world, clock, strategy):
    old = [world.spec("keep", version=1), world.spec("change", version=1), world.spec("gone")]
    supervisor = build(world, old, strategy=strategy)
    async with world.running(supervisor):
        world.log.clear()
        keep = world.probes["keep"]
        new = [world.spec("new"), world.spec("change", version=2), old[0]]
        report = await supervisor.reconfigure(new)
        log = world.take_log()
        if strategy is Strategy.ONE_FOR_ONE:  # what is added waits for nothing that changes
            assert sorted(log.split()) == ["+change", "+new", "-change", "-gone"]
        else:
            assert log == "-gone -change +change +new"
        assert keep.incarnations == 1
        assert (report.stopped, report.restarted) == (("gone",), ("change",))
        assert (report.started, report.kept) == (("new",), ("keep",))
        assert report.ok
        assert [c.id for c in supervisor.which_children()] == ["new", "change", "keep"]
        assert world.told(What.RELOADED)
        assert str(await supervisor.reconfigure(new)) == "kept: new, change, keep"
    world.log.clear()
    async with world.running(supervisor):
        assert world.take_log() == "+new +change +keep"


async def test_a_replacement_is_ready_before_the_old_one_is_drained_and_stopped(world, clock):
    async def ready():
        world.log.append("ready?")
        await trio.sleep(3.0)
        world.log.append("ready")

    async def drain():
        world.log.append("drain")

    supervisor = build(world, [beside(world, "a", 1, drain=drain)])
    async with world.running(supervisor), trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.reconfigure, [beside(world, "a", 2, ready=ready)])
        await trio.sleep(1.0)
        roles = [child.role for child in supervisor.which_children()]
        assert roles == [Role.CURRENT, Role.INCOMING]
        assert "(incoming)" in str(supervisor.snapshot())
        assert (world["a1"].alive, world["a2"].alive) == (1, 1)
        await trio.sleep(3.0)
        assert world.take_log() == "+a1 +a2 ready? ready drain -a1"
        assert [e.what for e in world.events if e.what is What.REPLACED] == [What.REPLACED]
        world["a2"].crash()
        await trio.sleep(0.1)
        assert world["a2"].incarnations == 2


async def _never():
    await trio.sleep_forever()


async def _refuse():
    raise OSError("refused")


async def _fail_when_cancelled():
    async def worker():
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("while cancelled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"ready": _fail_when_cancelled, "ready_timeout": 5.0}, NotReadyError),
        ({"ready": _never, "ready_timeout": 5.0}, NotReadyError),
        ({"ready": _refuse}, NotReadyError),
        ({"script": "fail"}, StartFailedError),
    ],
)
async def test_a_replacement_that_is_not_ready_leaves_the_old_one_running(
    world, clock, fields, why
):
    supervisor = build(world, [beside(world, "a", 1)])
    async with world.running(supervisor):
        report = await supervisor.reconfigure([beside(world, "a", 2, **fields)])
        assert not report.ok
        assert isinstance(report.failed["a"], why)
        assert (world["a1"].alive, world["a2"].alive) == (1, 0)
        assert len(supervisor.which_children()) == 1
        assert world.told(What.REPLACEMENT_FAILED, "a")
        again = await supervisor.reconfigure([beside(world, "a", 3)])
        assert again.replaced == ("a",)
        assert world["a3"].alive == 1


async def test_a_replacement_that_crashes_before_it_is_ready_is_given_up(world, clock):
    async def crash():
        await trio.sleep(1.0)
        world["a2"].crash()
        await trio.sleep_forever()

    supervisor = build(world, [beside(world, "a", 1)])
    async with world.running(supervisor):
        report = await supervisor.reconfigure([beside(world, "a", 2, ready=crash)])
        assert "ended before it was ready" in str(report.failed["a"])
        assert world["a1"].alive == 1
        assert world["a2"].incarnations == 1


async def test_a_replacement_can_crash_the_moment_it_started(world, clock):
    supervisor = build(world, [beside(world, "a", 1)])

    async def start(*, task_status):
        task_status.started()
        raise OSError

    async with world.running(supervisor):
        spec = attrs.evolve(beside(world, "a", 2), start=start)
        report = await supervisor.reconfigure([spec])
        assert isinstance(report.failed["a"], NotReadyError)
        assert world["a1"].alive == 1


@pytest.mark.parametrize("seconds", [3600.0, None])
async def test_a_drain_is_bounded_and_its_failure_is_reported(world, clock, seconds):
    """It also holds up neither the report nor the next reload."""

    async def drain():
        if seconds is None:
            raise OSError("stuck")
        await trio.sleep(seconds)

    supervisor = build(world, [beside(world, "a", 1, drain=drain, drain_timeout=10.0)])
    async with world.running(supervisor):
        began = trio.current_time()
        report = await supervisor.reconfigure([beside(world, "a", 2)])
        assert report.replaced == ("a",)
        again = await supervisor.reconfigure([beside(world, "a", 3)])
        assert again.replaced == ("a",)
        assert trio.current_time() == began
        assert world["a3"].alive == 1
        await trio.sleep(9.9)
        assert world["a1"].alive == (0 if seconds is None else 1)
        await trio.sleep(0.2)
        assert (world["a1"].alive, world["a2"].alive, world["a3"].alive) == (0, 0, 1)
        assert bool(world.told(What.CLEANUP_FAILED)) is (seconds is None)


async def test_the_old_one_may_crash_and_restart_while_its_replacement_gets_ready(world, clock):
    async def ready():
        world["a1"].crash()
        await trio.sleep(1.0)

    supervisor = build(world, [beside(world, "a", 1)])
    async with world.running(supervisor):
        report = await supervisor.reconfigure([beside(world, "a", 2, ready=ready)])
        assert report.replaced == ("a",)
        await trio.sleep(0.1)
        assert (world["a1"].incarnations, world["a1"].alive, world["a2"].alive) == (2, 0, 1)


async def test_what_fails_to_start_in_a_reload_is_in_the_report_and_is_kept(world, clock):
    supervisor = build(world, [world.spec("a", version=1)], on_exhaustion=Pause(cooldown=60.0))
    async with world.running(supervisor):
        new = [world.spec("a", version=2, script="fail"), world.spec("b", script="fail")]
        report = await supervisor.reconfigure(new)
        assert set(report.failed) == {"a", "b"}
        assert {c.state for c in supervisor.which_children()} == {ChildState.PAUSED}
        await trio.sleep(61.0)
        assert {c.state for c in supervisor.which_children()} == {ChildState.RUNNING}


async def test_slow_replacements_do_not_wait_for_each_other(world, clock):
    async def ready():
        await trio.sleep(10.0)

    supervisor = build(world, [beside(world, "a", 1), beside(world, "b", 1)])
    async with world.running(supervisor):
        began = trio.current_time()
        new = [beside(world, "a", 2, ready=ready), beside(world, "b", 2, ready=ready)]
        assert (await supervisor.reconfigure(new)).ok
        assert trio.current_time() - began == 10.0


async def test_reloads_follow_each_other(world, clock, settle):
    async def ready():
        await trio.sleep(5.0)

    supervisor = build(world, [beside(world, "a", 1)])
    async with world.running(supervisor), trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.reconfigure, [beside(world, "a", 2, ready=ready)])
        await settle()
        assert (await supervisor.reconfigure([])).stopped == ("a",)
        assert supervisor.which_children() == ()
        assert (world["a1"].alive, world["a2"].alive) == (0, 0)


async def test_a_cancelled_caller_does_not_leave_a_reload_half_done(world, clock):
    supervisor = build(world, [world.spec("a")])
    world["a"].cleanup = 2.0
    async with world.running(supervisor):
        with trio.move_on_after(1.0) as scope:
            await supervisor.reconfigure([world.spec("b")])
        assert scope.cancelled_caught
        await trio.sleep(2.0)
        assert [child.id for child in supervisor.which_children()] == ["b"]


async def test_a_reload_ends_with_its_supervisor(world, clock, settle):
    supervisor = build(world, [beside(world, "a", 1)])
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)

        async def reload():
            with pytest.raises(SupervisorNotRunningError):
                await supervisor.reconfigure([beside(world, "a", 2, ready=_never)])

        nursery.start_soon(reload)
        await settle()
        await supervisor.shutdown()
    assert (world["a1"].alive, world["a2"].alive) == (0, 0)
    assert world.take_log() == "+a1 +a2 -a2 -a1"


async def test_a_reload_that_is_stopping_a_child_ends_with_its_supervisor(world, clock, settle):
    supervisor = build(world, [world.spec("a")])
    world["a"].cleanup = 2.0
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)

        async def reload():
            with pytest.raises(SupervisorNotRunningError):
                await supervisor.reconfigure([])

        nursery.start_soon(reload)
        await settle()
        await supervisor.shutdown()


async def test_specs_that_cannot_be_siblings_change_nothing(world, clock):
    async with world.running(build(world, [world.spec("a")])) as supervisor:
        with pytest.raises(SpecError):
            await supervisor.reconfigure([world.spec("x"), world.spec("x")])
        assert supervisor.value("a") == 1


async def test_what_an_operator_removed_meanwhile_is_no_failure(world, clock, settle):
    supervisor = build(world, [world.spec("a"), world.spec("b")], strategy=Strategy.ONE_FOR_ALL)
    world["b"].cleanup = 2.0
    async with world.running(supervisor), trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.reconfigure, [])
        await settle()
        await supervisor.stop_child("a")
        await supervisor.delete_child("a")
        await trio.sleep(3.0)
        assert supervisor.which_children() == ()


async def test_a_replacement_of_what_an_operator_removed_meanwhile_fails(world, clock, settle):
    async def ready():
        await supervisor.stop_child("a")
        await supervisor.delete_child("a")

    supervisor = build(world, [beside(world, "a", 1)])
    async with world.running(supervisor):
        report = await supervisor.reconfigure([beside(world, "a", 2, ready=ready)])
        assert set(report.failed) == {"a"}
        await settle()
        assert (world["a1"].alive, world["a2"].alive) == (0, 0)
