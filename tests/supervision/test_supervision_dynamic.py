"""Children that come and go."""

from __future__ import annotations

import pytest
import trio

from onemcp.supervision import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    Pause,
    Restart,
    SpecError,
    StartFailedError,
    TooManyChildrenError,
    What,
)


def build(world, **options):
    options.setdefault("max_children", 3)
    return DynamicSupervisor(
        "dyn", backoff=Backoff(initial=0.0), on_event=world.events.append, **options
    )


async def test_children_are_bounded_and_forgotten_when_they_end(world, clock, settle):
    async with world.running(build(world)) as supervisor:
        for child_id in "abc":
            await supervisor.start_child(world.spec(child_id, restart=Restart.TEMPORARY))
        with pytest.raises(TooManyChildrenError, match="3 children"):
            await supervisor.start_child(world.spec("d"))
        world["a"].finish()
        world["b"].crash()
        await supervisor.stop_child("c")
        assert supervisor.count_children().specs == 0
        assert await supervisor.start_child(world.spec("d")) == 1


async def test_all_children_stop_at_the_same_time(world, clock):
    async with world.running(build(world)) as supervisor:
        for child_id in "abc":
            await supervisor.start_child(world.spec(child_id))
            world[child_id].cleanup = 4.0
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(4.0)


async def test_a_permanent_dynamic_child_is_restarted_and_a_transient_one_forgotten(
    world, clock, settle
):
    async with world.running(build(world, on_exhaustion=Pause())) as supervisor:
        await supervisor.start_child(world.spec("p"))
        await supervisor.start_child(world.spec("t", restart=Restart.TRANSIENT))
        world["p"].script = ["fail"]
        world["p"].crash()
        world["t"].finish()
        await settle()
        assert [child.id for child in supervisor.which_children()] == ["p"]
        assert world["p"].incarnations == 3
        assert await supervisor.restart_child("p") == 4
        world["p"].script = ["fail"]
        with pytest.raises(StartFailedError):
            await supervisor.restart_child("p")


async def test_it_starts_empty_each_time(world, clock):
    supervisor = build(world)
    async with world.running(supervisor):
        await supervisor.start_child(world.spec("a"))
    async with world.running(supervisor):
        assert supervisor.count_children().specs == 0
        assert ChildSpec.for_supervisor(supervisor).id == "dyn"


async def test_a_significant_child_needs_a_use(world, clock):
    async with world.running(build(world)) as supervisor:
        with pytest.raises(SpecError, match="significant"):
            await supervisor.start_child(
                world.spec("a", significant=True, restart=Restart.TEMPORARY)
            )


async def test_thousands_of_children_are_no_burden(world):
    async def child(*, task_status):
        task_status.started()
        await trio.sleep_forever()

    with trio.fail_after(20.0):
        supervisor = DynamicSupervisor("dyn", max_children=3000)
        async with world.running(supervisor):
            for number in range(3000):
                await supervisor.start_child(
                    ChildSpec(id=str(number), start=child, restart=Restart.TEMPORARY)
                )
            for number in range(0, 3000, 2):
                await supervisor.stop_child(str(number))
            assert supervisor.count_children().active == 1500
    assert not world.told(What.OVERDUE)
