"""However a process is stopped or ends, nothing of it is left."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from onemcp.backend.process import (
    ProcessLeftBehindError,
    ProcessSpec,
    StopPolicy,
    _sweep,
    open_process,
)
from tests.support.process_tree import PYTHON, alive, exists, open_descriptors, wait_gone

HASTY = StopPolicy(eof=0.02, terminate=0.05, kill=20.0)

DEAF = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True: signal.pause()
"""
# Forks; the child starts a session of its own, loses its parent and is deaf to everything.
ESCAPES = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while os.getppid() == int(sys.argv[1]): pass
    print(os.getpid(), os.getsid(0), flush=True)
    while True: signal.pause()
os.wait()
"""


async def line(process) -> str:
    data = b""
    while not data.endswith(b"\n"):
        chunk = await process.stdout.receive_some(1000)
        assert chunk, f"stdout ended early: {process.stderr_tail}"
        data += chunk
    return data.decode().strip()


@pytest.mark.requirement("basic/transports/stdio#shutdown-1")
async def test_a_program_that_ends_at_eof_is_stopped_without_a_signal(python):
    async with python("import sys; sys.stdin.read(); sys.exit(7)") as process:
        assert process.exit_code is None
        assert "running" in repr(process)
    assert process.exit_code == 7
    assert await process.wait() == 7
    assert "exited with status 7" in repr(process)


@pytest.mark.requirement("basic/transports/stdio#shutdown-1")
async def test_a_program_that_ignores_eof_is_terminated(python):
    program = "import signal; print(flush=True); signal.pause()"
    async with python(program, stop=StopPolicy(eof=0.02, terminate=20, kill=20)) as process:
        await line(process)
    assert process.exit_code == -signal.SIGTERM


@pytest.mark.requirement("basic/transports/stdio#shutdown-1")
async def test_a_program_that_ignores_eof_and_sigterm_is_killed(python):
    async with python(DEAF, stop=HASTY) as process:
        await line(process)
    assert process.exit_code == -signal.SIGKILL


async def test_no_time_at_all_for_a_polite_end_still_ends_it(python):
    async with python(DEAF, stop=StopPolicy(eof=0, terminate=0, kill=20)) as process:
        await line(process)
    assert process.exit_code == -signal.SIGKILL


async def test_what_is_unread_on_stdout_does_not_keep_a_program_from_ending_by_itself(python):
    program = "import sys; sys.stdin.read(); sys.stdout.write('x' * 1_000_000); sys.exit(5)"
    async with python(program) as process:
        pass
    assert process.exit_code == 5


async def test_a_process_leads_its_own_session(python):
    program = "import os; print(os.getpid(), os.getpgid(0), os.getsid(0))"
    async with python(program) as process:
        assert await line(process) == " ".join([str(process.pid)] * 3)


async def test_a_forked_grandchild_is_stopped_with_its_wrapper(shell):
    async with shell("sleep 1000 & echo $!; wait", stop=HASTY) as process:
        grandchild = int(await line(process))
        assert alive(grandchild)
    assert not alive(grandchild)


async def test_a_crash_ends_the_grandchildren_while_the_block_still_runs(shell):
    async with shell("sleep 1000 & echo $!; exit 3") as process:
        grandchild = int(await line(process))
        assert await process.wait() == 3
        assert not alive(grandchild)
        assert await process.stdout.receive_some(1) == b""


async def test_a_crash_by_a_signal_is_told_by_the_exit_code(shell):
    async with shell("kill -SEGV $$") as process:
        assert await process.wait() == -signal.SIGSEGV


async def test_a_grandchild_that_started_its_own_session_and_was_reparented_is_killed(python):
    async with python(ESCAPES, "0", stop=HASTY) as process:
        grandchild, session = map(int, (await line(process)).split())
        assert session != process.pid
        assert alive(grandchild)
    assert not alive(grandchild)


async def test_a_crash_kills_grandchildren_of_other_sessions(python):
    program = ESCAPES + "sys.exit(4)"
    async with python(program, "0", stop=HASTY) as process:
        grandchild = int((await line(process)).split()[0])
        assert await process.wait() == 4
        assert not alive(grandchild)


async def test_a_grandchild_without_the_marker_is_found_through_its_parent(shell):
    script = f"env -i setsid {PYTHON[0]} -I -S -c '{DEAF}' & wait"
    async with shell(script, stop=HASTY) as process:
        grandchild = int(await line(process))
    assert not alive(grandchild)


async def test_a_grandchild_without_the_marker_is_found_even_if_its_parent_ends_at_eof(shell):
    script = f"env -i setsid {PYTHON[0]} -I -S -c '{DEAF}' & cat"
    async with shell(script, stop=StopPolicy(eof=20, terminate=0.05, kill=20)) as process:
        grandchild = int(await line(process))
    assert process.exit_code == 0
    assert not alive(grandchild)


async def test_an_npx_like_wrapper_leaves_nothing(shell):
    script = f'setsid sh -c \'sh -c "{PYTHON[0]} -c \\"input()\\" & sleep 1000; :"\'; :'
    async with shell("echo $$; " + script, stop=HASTY) as process:
        await line(process)


async def test_stdout_that_ends_before_the_program_is_seen_by_the_reader(python):
    program = "import os, sys; os.close(1); sys.stdin.read()"
    async with python(program) as process:
        assert await process.stdout.receive_some(1) == b""
        assert process.exit_code is None
    assert process.exit_code == 0


async def test_a_closed_stdin_breaks_writing_and_nothing_else(python):
    async with python("import os, signal; os.close(0); print(flush=True); signal.pause()",
                      stop=HASTY) as process:  # fmt: skip
        await line(process)
        with pytest.raises(trio.BrokenResourceError):
            await process.stdin.send_all(b"hello")
    assert process.exit_code == -signal.SIGTERM


async def test_cancellation_runs_the_whole_stop_sequence(python):
    with trio.fail_after(30), trio.CancelScope() as scope:
        async with python(DEAF, stop=HASTY) as process:
            grandchild = int(await line(process))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert process.exit_code == -signal.SIGKILL
    assert not exists(grandchild)


async def test_cancellation_lets_a_program_end_in_peace(python):
    program = "import sys; print(flush=True); sys.stdin.read(); sys.exit(6)"
    with trio.CancelScope() as scope:
        async with python(program) as process:
            await line(process)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert process.exit_code == 6


async def test_an_exception_leaves_the_block_as_it_is(shell):
    cause = KeyError("cause")
    error = ValueError("original")
    with pytest.raises(ValueError, match="original") as caught:
        async with shell("cat"):
            raise error from cause
    assert caught.value is error
    assert caught.value.__cause__ is cause


async def test_an_exception_group_leaves_the_block_as_it_is(shell):
    group = ExceptionGroup("original", [ValueError(), TypeError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with shell("cat"):
            raise group
    assert caught.value.exceptions == group.exceptions


async def test_an_exception_while_being_cancelled_is_not_hidden(shell):
    def cancel_and_fail() -> None:
        scope.cancel()
        raise ValueError("original")

    with trio.CancelScope() as scope, pytest.raises(ValueError, match="original"):
        async with shell("cat"):
            cancel_and_fail()


@pytest.fixture
def immortal(monkeypatch):
    """A process that is found again and again: init, whose start time is not this one."""
    real = _sweep.find
    monkeypatch.setattr(_sweep, "find", lambda *args: real(*args) or {1: 987654321})


async def test_survivors_are_reported(instance, immortal):
    stop = StopPolicy(eof=20, terminate=0.05, kill=0.05)
    with trio.fail_after(30), pytest.raises(ProcessLeftBehindError, match=r"'cat'.* 1$") as caught:
        async with open_process(ProcessSpec("cat"), instance=instance, stop=stop) as process:
            pass
    assert caught.value.pids == (1,)
    assert process.exit_code == 0


async def test_survivors_do_not_hide_the_original_error(instance, immortal):
    stop = StopPolicy(eof=20, terminate=0.05, kill=0.05)
    with trio.fail_after(30), pytest.raises(ValueError, match="original") as caught:
        async with open_process(ProcessSpec("cat"), instance=instance, stop=stop):
            raise ValueError("original")
    assert caught.value.__notes__ == ["processes of 'cat' survived SIGKILL: 1"]


async def test_waiting_for_a_program_that_cannot_be_killed_ends_too(instance, monkeypatch):
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    monkeypatch.setattr(_sweep, "send", lambda *_: None)
    stop = StopPolicy(eof=0, terminate=0, kill=0.05)
    spec = ProcessSpec(PYTHON[0], (*PYTHON[1:], DEAF))
    with trio.fail_after(30), pytest.raises(ProcessLeftBehindError, match="survived"):
        async with open_process(spec, instance=instance, stop=stop) as process:
            await line(process)
    with pytest.raises(ProcessLeftBehindError):
        await process.wait()
    os.kill(process.pid, signal.SIGKILL)
    await process._process.wait()


async def test_a_scan_that_fails_is_tried_again(instance, monkeypatch):
    real = _sweep.find
    failures = [OSError(24, "Too many open files")] * 3

    def find(*args):
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(_sweep, "find", find)
    with trio.fail_after(30):
        async with open_process(ProcessSpec("cat"), instance=instance) as process:
            pass
    assert process.exit_code == 0
    assert not failures


async def test_a_failure_of_the_supervising_task_still_kills_the_group(shell, monkeypatch):
    bug = RuntimeError("bug")

    def find(*_):
        raise bug

    monkeypatch.setattr(_sweep, "find", find)
    crashed, pids = [], []

    async def crash() -> None:
        async with shell("sleep 1000 & echo $!; cat; exit 2") as process:
            crashed.append(process)
            pids.append(int(await line(process)))
            await process.stdin.aclose()
            await trio.sleep_forever()

    with pytest.raises(RuntimeError, match="bug") as caught:
        await crash()
    assert caught.value is bug
    assert crashed[0].exit_code == 2
    with trio.fail_after(30):
        await wait_gone(pids[0])


async def test_without_pidfds_it_works_all_the_same(python, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    async with python(ESCAPES, "0", stop=HASTY) as process:
        grandchild = int((await line(process)).split()[0])
    assert not alive(grandchild)


async def test_fifty_starts_and_stops_leak_neither_descriptors_nor_zombies(instance):
    async def once() -> int:
        async with open_process(ProcessSpec("cat"), instance=instance) as process:
            await process.stdin.send_all(b"x")
            assert await process.stdout.receive_some(1) == b"x"
        return process.pid

    with trio.fail_after(60):
        await once()
        before = len(open_descriptors())
        pids = [await once() for _ in range(50)]
    assert len(open_descriptors()) == before
    assert not any(map(exists, pids))


async def test_many_processes_stop_at_the_same_time(instance):
    pids = []

    async def one(nursery) -> None:
        script = "sleep 1000 & echo $!; wait"
        spec = ProcessSpec("sh", ("-c", script))
        async with open_process(spec, instance=instance, stop=HASTY) as process:
            pids.append(int(await line(process)))
            if len(pids) == 20:
                nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(one, nursery)
        for pid in pids:
            await wait_gone(pid)
    assert len(pids) == 20
