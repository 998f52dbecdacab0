"""Whatever happens to the gateway, nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from onemcp.backend.process import (
    Guardian,
    GuardianError,
    ProcessInstance,
    ProcessSpec,
    _guardian,
    _sweep,
    guardian_main,
    open_process,
)
from tests.support.eventually import eventually
from tests.support.process_tree import PYTHON, alive, exists, marked, open_descriptors, wait_gone

GATEWAY = str(Path(__file__).with_name("gateway.py"))


@asynccontextmanager
async def gateway(*args: str):
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, GATEWAY, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        said = {}
        try:
            data = b""
            async for chunk in process.stdout:
                data += chunk
                if data.endswith(b"\n"):
                    break
            said = json.loads(data)
            assert all(map(alive, [*said["backends"], said["guardian"]]))
            yield process, said
            await process.wait()
            for pid in [*said["backends"], said["guardian"]]:
                await wait_gone(pid)
            assert marked(said["id"]) == set()
        finally:
            process.kill()
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_killed_gateway_leaves_nothing_behind(signum):
    async with gateway() as (process, _):
        process.send_signal(signum)


async def test_a_gateway_that_exits_without_cleaning_up_leaves_nothing_behind():
    async with gateway("--abruptly") as (process, _):
        await process.stdin.aclose()


async def test_a_gateway_that_ends_in_order_leaves_nothing_behind():
    async with gateway() as (process, _):
        await process.stdin.aclose()
    assert process.returncode == 0


async def test_a_gateway_whose_guardian_dies_ends_with_an_error():
    async with gateway() as (process, said):
        os.kill(said["guardian"], signal.SIGKILL)
        await wait_gone(said["guardian"])
        await process.stdin.aclose()
    assert process.returncode == 1


async def test_a_dead_guardian_is_reported_and_can_be_started_again(instance):
    guardian = Guardian(instance)
    pids = []

    async def run_and_kill() -> None:
        async with trio.open_nursery() as nursery:
            pids.append(await nursery.start(guardian.run))
            os.kill(pids[-1], signal.SIGKILL)

    for _ in range(2):
        with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
            await run_and_kill()
        (error,) = caught.value.exceptions
        assert isinstance(error, GuardianError)
        assert str(error) == f"the guardian process {pids[-1]} was killed by SIGKILL"
        assert not exists(pids[-1])


def holds_only_pipes(pid: int) -> bool:
    return open_descriptors(pid).keys() == {0, 1, 2}


async def test_the_guardian_ignores_signals_and_holds_nothing_but_its_pipe(instance, tmp_path):
    inheritable = os.open(tmp_path / "file", os.O_CREAT)
    os.set_inheritable(inheritable, True)  # noqa: FBT003 (positional only)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            pid = await nursery.start(Guardian(instance).run)
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, signum)
            assert os.getsid(pid) == pid
            await eventually(lambda: holds_only_pipes(pid), "the guardian has loaded itself")
            assert pid not in marked(instance.id)
            async with open_process(ProcessSpec("cat"), instance=instance) as process:
                await process.stdin.send_all(b"x")
                await process.stdout.receive_some(1)
                assert holds_only_pipes(process.pid)
            assert alive(pid)
            nursery.cancel_scope.cancel()
    os.close(inheritable)
    assert not exists(pid)


async def test_a_dismissed_guardian_ends_what_is_left(instance):
    env = {"PATH": os.environ["PATH"], "ONEMCP_INSTANCE": instance.id}
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(Guardian(instance).run)
            process = await trio.lowlevel.open_process(["sleep", "1000"], env=env)
            nursery.cancel_scope.cancel()
        assert await process.wait() == -signal.SIGTERM


async def test_starting_and_stopping_guardians_leaks_no_descriptors(instance):
    async def once() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(Guardian(instance).run)
            nursery.cancel_scope.cancel()

    with trio.fail_after(30):
        await once()
        before = len(open_descriptors())
        for _ in range(3):
            await once()
    assert len(open_descriptors()) == before


async def test_a_guardian_that_is_cancelled_while_starting_is_gone(instance):
    command = (*PYTHON, "import sys; sys.stdin.read()")
    before = len(open_descriptors())
    with trio.fail_after(30), trio.move_on_after(0.1):
        await Guardian(instance, command).run()
    assert len(open_descriptors()) == before


async def test_a_guardian_that_does_not_end_when_dismissed_is_killed(instance, monkeypatch):
    monkeypatch.setattr(_guardian, "_PARTING", 0.05)
    command = (*PYTHON, "import signal; print('ready', flush=True); signal.pause()")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            pid = await nursery.start(Guardian(instance, command).run)
            nursery.cancel_scope.cancel()
    assert not exists(pid)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit('out of order')", "did not start: out of order"),
        ("pass", "did not start: it said nothing"),
        ("print('x' * 100_000)", "did not start: xxx"),
    ],
)
async def test_a_guardian_that_does_not_start_is_reported_with_its_words(instance, program, words):
    with trio.fail_after(30), pytest.raises(GuardianError, match=words):
        await Guardian(instance, (*PYTHON, program)).run()


async def test_a_guardian_that_hangs_is_reported(instance, monkeypatch):
    monkeypatch.setattr(_guardian, "_GREETING", 0.05)
    with trio.fail_after(30), pytest.raises(GuardianError, match="it said nothing"):
        await Guardian(instance, (*PYTHON, "import sys; sys.stdin.read()")).run()


async def test_a_guardian_without_a_program_is_reported(instance):
    before = len(open_descriptors())
    with pytest.raises(GuardianError, match="cannot start the guardian"):
        await Guardian(instance, ("/nowhere/guardian",)).run()
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("marker", ["", "short", "Z" * 32])
def test_a_marker_that_is_none_is_refused(marker, capsys):
    assert guardian_main([marker]) == 2
    assert guardian_main([]) == 2
    assert "32 hexadecimal digits" in capsys.readouterr().err


@pytest.fixture
def victim(instance):
    """Start a program as if the gateway had started it."""
    processes = []

    def start(program: str, **options) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*PYTHON, program],
            env={"ONEMCP_INSTANCE": f"{'0' * 32},{instance.id}"},
            stdout=subprocess.PIPE,
            **options,
        )
        processes.append(process)
        assert process.stdout.readline()
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


POLITE = "import signal; print('x', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + POLITE


def test_sweeping_asks_before_it_kills(victim, instance):
    polite, deaf = victim(POLITE), victim(DEAF, start_new_session=True)
    assert _sweep.sweep(instance.id, patience=0.1) == {}
    assert polite.wait() == -signal.SIGTERM
    assert deaf.wait() == -signal.SIGKILL


def test_sweeping_gives_up_in_the_end(victim, instance):
    deaf = victim(DEAF)
    assert _sweep.sweep(instance.id, patience=10, limit=0.05).keys() == {deaf.pid}


def test_sweeping_tries_again_when_a_scan_fails(monkeypatch, instance):
    scans = [{}, {}, {}, OSError(24, "Too many open files"), {}]

    def find(*_):
        result = scans.pop()
        if isinstance(result, OSError):
            raise result
        return result

    monkeypatch.setattr(_sweep, "find", find)
    assert _sweep.sweep(instance.id) == {}
    assert scans == []


def test_the_guard_stands_until_the_gateway_is_gone(victim, instance):
    polite = victim(POLITE)
    told, output = os.pipe()
    gate, gateway_end = os.pipe()
    os.write(gateway_end, b"anything")
    os.close(gateway_end)
    assert _sweep.stand_guard(instance.id, gate, (output,)) == 0
    assert os.read(told, 100) == _sweep.READY
    assert polite.wait() == -signal.SIGTERM
    for descriptor in (told, output, gate):
        os.close(descriptor)


def test_a_process_whose_id_was_given_to_another_is_not_signalled(victim, instance):
    process = victim(POLITE)
    ((pid, started),) = _sweep.find(instance.id).items()
    assert pid == process.pid
    _sweep.send(signal.SIGKILL, pid, started + 1)
    assert alive(pid)
    _sweep.send(signal.SIGKILL, pid, started)
    assert process.wait() == -signal.SIGKILL
    _sweep.send(signal.SIGKILL, pid, started)


def test_the_start_time_keeps_a_process_whose_parent_is_gone():
    rows = [
        _sweep.Row(5, 1, (5, 5), started=50, marked=False),
        _sweep.Row(6, 1, (6, 6), started=60, marked=False),
        _sweep.Row(7, 6, (7, 7), started=70, marked=False),
    ]
    assert _sweep.select(rows, 0, {5: 51, 6: 60}) == {6: 60, 7: 70}


def test_the_one_who_looks_is_never_found():
    rows = [
        _sweep.Row(5, 1, (5,), started=50, marked=True),
        _sweep.Row(os.getpid(), 5, (5,), started=60, marked=True),
    ]
    assert _sweep.select(rows, 5, {}) == {5: 50}


def test_the_output_of_ps_is_read_where_there_is_no_proc(instance):
    output = f"""
      1     0     1 Ss   /sbin/launchd
     10     1    10 S    node server.js HOME=/x ONEMCP_INSTANCE={instance.id} A=b
     11    10    11 S    (short)
     12    10    12 Z+   (gone) {instance.id}
     13    10
    """.encode()
    rows = _sweep.ps_rows(instance.id.encode(), output)
    assert _sweep.select(rows, 0, {}) == {10: 0, 11: 0}


def test_a_scan_is_quick():
    begin = time.perf_counter()
    _sweep.find(ProcessInstance().id)
    assert time.perf_counter() - begin < 1
