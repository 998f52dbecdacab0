"""One test for each trap in the design that concerns this library (9 and 12 do not)."""

from __future__ import annotations

import ast
import contextvars
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

import onemcp.supervision
from onemcp.supervision import (
    Backoff,
    ChildSpec,
    ChildState,
    Intensity,
    Pause,
    Restart,
    RestartIntensityExceeded,
    StartFailedError,
    StartTimeout,
    Supervisor,
    SupervisorNotRunningError,
    What,
)
from onemcp.supervision._mailbox import COMMAND_BACKLOG, Mailbox, StopChild

PACKAGE = Path(onemcp.supervision.__file__).parent


def build(world, specs, **options):
    options.setdefault("backoff", Backoff(initial=0.0))
    return Supervisor("sup", specs, on_event=world.events.append, **options)


async def test_trap_01_children_stop_in_reverse_order_even_when_all_is_cancelled_at_once(
    world, clock
):
    for _ in range(5):
        specs = [world.spec(f"c{number}") for number in range(10)]
        async with trio.open_nursery() as nursery:
            await nursery.start(build(world, specs).run)
            world.log.clear()
            nursery.cancel_scope.cancel()
        assert world.take_log().split() == [f"-c{number}" for number in reversed(range(10))]


async def test_trap_02_a_start_into_a_cancelled_nursery_does_not_hang(world, clock):
    with trio.fail_after(60.0):
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await nursery.start(build(world, [world.spec("a")]).run)
    assert world.take_log() == "+a -a"


async def test_trap_02_a_child_that_hangs_in_its_start_is_bounded(world, clock):
    supervisor = build(world, [world.spec("a", script="hang", start_timeout=7.0)])
    with pytest.raises(StartFailedError) as caught:
        await supervisor.run()
    assert isinstance(caught.value.__cause__, StartTimeout)
    assert trio.current_time() == pytest.approx(7.0)


async def test_trap_03_a_child_that_absorbs_its_cancellation_before_started_is_no_runtime_error(
    world, clock
):
    absorbed = []

    async def absorb(*, task_status):
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            absorbed.append(True)

    supervisor = build(world, [ChildSpec(id="a", start=absorb)])
    with trio.move_on_after(1.0):
        await supervisor.run()
    assert absorbed
    assert world.told(What.STOPPED, "a")


async def test_trap_04_a_crash_during_cancellation_is_reported_and_cancellation_goes_on(
    world, clock
):
    async def worker():
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cancelled")

    async def start(*, task_status):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker)
            nursery.start_soon(trio.sleep_forever)
            task_status.started()

    supervisor = build(world, [world.spec("b"), ChildSpec(id="a", start=start)])
    async with world.running(supervisor):
        pass
    (event,) = world.told(What.CLEANUP_FAILED, "a")
    group = event.reason
    assert isinstance(group, BaseExceptionGroup)
    matched, rest = group.split(ValueError)
    assert matched is not None
    assert rest is None
    assert world.take_log() == "+b -b"


async def test_trap_05_a_restart_loop_cannot_spin_inside_an_expired_scope():
    async def fail(*, task_status):
        raise ValueError

    supervisor = Supervisor(
        "sup",
        [ChildSpec(id="a", start=fail)],
        intensity=Intensity(restarts=10**9, period=1.0),
        backoff=Backoff(initial=0.0),
        on_exhaustion=Pause(cooldown=0.0),
    )
    with trio.fail_after(5.0), trio.move_on_after(0.05) as scope:
        await supervisor.run()
    assert scope.cancelled_caught


SIGINT_PROGRAM = """
import signal, trio
from onemcp.supervision import ChildSpec, Supervisor

def child(name):
    async def start(*, task_status):
        task_status.started()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            print("cancelled", name)
            raise
    return ChildSpec(id=name, start=start)

async def main():
    supervisor = Supervisor("sup", [child("a"), child("b")], on_event=lambda e: print(e.what.value))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        print("ready", flush=True)

try:
    trio.run(main)
except BaseException as error:
    print("interrupted" if isinstance(error, KeyboardInterrupt)
          or error.split(KeyboardInterrupt)[1] is None else repr(error))
"""


def test_trap_06_sigint_reaches_children_as_a_cancellation_and_not_as_a_crash():
    with subprocess.Popen(
        [sys.executable, "-c", SIGINT_PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line == "ready\n" for line in lines)
        process.send_signal(signal.SIGINT)
        output = [line.strip() for line in lines]
    assert "crashed" not in output
    assert "restarting" not in output
    assert [line for line in output if line.startswith("cancelled")] == [
        "cancelled b",
        "cancelled a",
    ]
    assert output[-1] == "interrupted"


async def test_trap_06_a_keyboard_interrupt_inside_a_child_stops_the_tree_and_surfaces(
    world, clock
):
    async def start(*, task_status):
        task_status.started()
        raise KeyboardInterrupt

    supervisor = build(world, [world.spec("a"), ChildSpec(id="k", start=start)])
    with pytest.raises(BaseExceptionGroup) as caught:
        await supervisor.run()
    assert caught.value.split(KeyboardInterrupt)[1] is None
    assert world.take_log() == "+a -a"


request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


async def test_trap_07_a_child_does_not_inherit_the_context_of_who_asked_for_it(world, clock):
    seen = []

    async def start(*, task_status):
        seen.append(request.get())
        task_status.started()
        await trio.sleep_forever()

    async with world.running(build(world, [])) as supervisor:
        token = request.set("secret")
        await supervisor.start_child(ChildSpec(id="a", start=start))
        await supervisor.restart_child("a")
        await supervisor.reconfigure([ChildSpec(id="b", start=start)])
        request.reset(token)
    assert seen == ["none"] * 3


async def test_trap_08_cleanup_that_awaits_does_not_replace_the_real_error(world, clock):
    specs = [world.spec("a"), world.spec("b")]
    supervisor = build(world, specs, intensity=Intensity(restarts=0))
    world["a"].cleanup = 3.0
    error = ValueError("the real one")

    async def crash():
        await trio.sleep(1.0)
        world["b"].crash(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash)
        with pytest.raises(RestartIntensityExceeded) as caught:
            await supervisor.run()
    assert caught.value.__cause__ is error
    assert world["a"].alive == 0


async def test_trap_10_commands_wait_in_a_finite_queue(world, clock):
    mailbox = Mailbox()
    async with trio.open_nursery() as nursery:
        for number in range(COMMAND_BACKLOG + 1):
            nursery.start_soon(mailbox.ask, StopChild(id=str(number)))
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await mailbox.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_trap_10_whoever_waits_for_a_supervisor_that_ends_gets_an_error(world, clock):
    mailbox, commands = Mailbox(), [StopChild(id=str(n)) for n in range(COMMAND_BACKLOG + 5)]
    failed = []

    async def ask(command):
        await mailbox.ask(command)
        with pytest.raises(SupervisorNotRunningError):
            await command.reply.wait()
        failed.append(command)

    async with trio.open_nursery() as nursery:
        for command in commands:
            nursery.start_soon(ask, command)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()
    assert len(failed) == len(commands)


async def test_trap_10_commands_in_flight_fail_when_the_supervisor_ends(world, clock):
    supervisor = build(world, [world.spec("a")])
    outcomes = []

    async def ask():
        try:
            await supervisor.stop_child("a")
            outcomes.append("stopped")
        except SupervisorNotRunningError:
            outcomes.append("not running")

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await outer.start(supervisor.run)
        for _ in range(COMMAND_BACKLOG * 3):
            nursery.start_soon(ask)
        nursery.start_soon(supervisor.shutdown)
    assert len(outcomes) == COMMAND_BACKLOG * 3


def test_trap_11_no_async_generators_in_the_package():
    for path in PACKAGE.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.AsyncFunctionDef):
                yields = [n for n in ast.walk(function) if isinstance(n, ast.Yield)]
                assert not yields, f"{path.name}: {function.name}"


async def test_a_stale_report_of_an_earlier_incarnation_is_dropped(world, clock, settle):
    statuses = []

    async def start(*, task_status):
        statuses.append(task_status)
        if len(statuses) == 1:
            raise ValueError
        await trio.sleep_forever()

    supervisor = build(world, [ChildSpec(id="a", start=start)], on_exhaustion=Pause())
    async with world.running(supervisor):
        await settle()
        statuses[0].started("stale")
        await settle()
        assert supervisor.snapshot()["a"].state is ChildState.STARTING
        statuses[1].started("fresh")
        with pytest.raises(RuntimeError, match="twice"):
            statuses[1].started("again")
        await settle()
        assert supervisor.value("a") == "fresh"


async def test_an_acknowledgement_that_comes_after_the_stop_is_dropped(world, clock, settle):
    async def start(*, task_status):
        try:
            await trio.sleep_forever()
        finally:
            task_status.started()

    supervisor = build(world, [])
    async with world.running(supervisor), trio.open_nursery() as nursery:

        async def ask():
            with pytest.raises(StartTimeout):
                await supervisor.start_child(
                    ChildSpec(id="a", start=start, start_timeout=1.0, restart=Restart.TEMPORARY)
                )

        nursery.start_soon(ask)
