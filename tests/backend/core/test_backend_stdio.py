"""Lines to and from real programs, and how their ends are told."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from onemcp.backend import ConnectionLost
from onemcp.backend import stdio as module
from onemcp.backend.duplex import DuplexConnection, DuplexLimits
from onemcp.backend.handshake import EraMemory, Terms
from onemcp.backend.process import ProcessInstance, ProcessLeftBehindError, ProcessSpec, StopPolicy
from onemcp.backend.stdio import StdioChannel, open_stdio_channel
from onemcp.protocol.framing import Oversized
from tests.backend.core.fakes import IDENTITY, call, error_of
from tests.support.process_tree import marked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PROGRAMS = Path(__file__).parent / "programs"
PATIENT = StopPolicy(eof=20.0, terminate=20.0, kill=20.0)
HASTY = StopPolicy(eof=0.02, terminate=0.05, kill=20.0)
MEBIBYTE = 1024 * 1024


@pytest.fixture
def instance() -> Iterator[ProcessInstance]:
    """Whatever a test does, nothing of its instance is alive afterwards."""
    instance = ProcessInstance()
    yield instance
    assert marked(instance.id) == set()


@pytest.fixture
def channel(instance):
    """Start one of the programs and yield the channel to it."""

    @asynccontextmanager
    async def start(program: str, *args: str, **options) -> AsyncIterator[StdioChannel]:
        spec = ProcessSpec(sys.executable, ("-I", "-S", str(PROGRAMS / program), *args))
        with trio.fail_after(30):
            async with open_stdio_channel(
                spec,
                instance=instance,
                stop=options.pop("stop", PATIENT),
                limit=options.pop("limit", MEBIBYTE),
                on_stderr=options.pop("on_stderr", lambda _: None),
            ) as opened:
                yield opened

    return start


async def lost(receive) -> ConnectionLost:
    with pytest.raises(ConnectionLost) as caught:
        await receive()
    return caught.value


async def test_a_program_that_exits_at_once_leaves_its_status_and_last_words(channel):
    said = []
    async with channel("faults.py", "exits", on_stderr=said.append) as opened:
        reason = await lost(opened.receive)
    assert reason.reason == "it exited with status 3"
    assert reason.detail.splitlines() == [
        "line 16",
        "line 17",
        "line 18",
        "line 19",
        "secret=hunter2",
    ], "for the operator, and never for a caller"
    assert said[0] == "first words"


async def test_a_program_that_is_killed_leaves_its_signal(channel):
    async with channel("faults.py", "is_killed") as opened:
        reason = await lost(opened.receive)
    assert (reason.reason, reason.detail) == ("it was killed by SIGKILL", None)


async def test_a_program_that_has_used_up_its_processor_time_is_told_so(instance):
    program = "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)"
    spec = ProcessSpec(sys.executable, ("-I", "-S", "-c", program), cpu=600)
    with trio.fail_after(30):
        async with open_stdio_channel(
            spec, instance=instance, stop=PATIENT, limit=MEBIBYTE, on_stderr=lambda _: None
        ) as opened:
            reason = await lost(opened.receive)
    assert reason.reason == "it used up the 600 s of processor time that limits.cpu allows"


async def test_a_program_that_closes_its_output_lives_on(channel):
    async with channel("faults.py", "closes_stdout") as opened:
        assert (await lost(opened.receive)).reason == "it closed its output and lives on"


async def test_a_program_that_closes_its_input_lives_on(channel):
    async with channel("faults.py", "closes_stdin", stop=HASTY) as opened:
        assert await opened.receive() == [b"closed"]

        async def write() -> None:
            await opened.send(b"x\n")

        assert (await lost(write)).reason == "it closed its input and lives on"


async def test_the_status_is_known_before_its_deaf_children_are_gone(channel):
    stop = StopPolicy(eof=0.02, terminate=3.0, kill=20.0)
    async with channel("faults.py", "leaves_a_deaf_child", stop=stop) as opened:
        started = trio.current_time()
        reason = await lost(opened.receive)
        assert reason.reason == "it exited with status 5"
        assert trio.current_time() - started < 2.5


async def test_without_waitid_it_is_known_when_all_is_gone(channel, monkeypatch):
    monkeypatch.delattr(os, "waitid")
    async with channel("faults.py", "is_killed") as opened:
        assert (await lost(opened.receive)).reason == "it was killed by SIGKILL"
    async with channel("faults.py", "closes_stdout") as opened:
        assert (await lost(opened.receive)).reason == "it closed its output and lives on"


async def test_a_status_that_somebody_else_has_taken_is_unknown(channel, monkeypatch):
    def taken(*_: object) -> None:
        raise ChildProcessError

    monkeypatch.setattr(os, "waitid", taken)
    async with channel("faults.py", "closes_stdout") as opened:
        assert (await lost(opened.receive)).reason == "it closed its output and lives on"


async def test_what_is_left_behind_is_reported_where_it_is_left():
    class Immortal:
        exit_code = None
        pid = os.getpid()  # no child of ours
        stderr_tail = ()

        async def wait(self) -> int:
            await trio.lowlevel.checkpoint()
            raise ProcessLeftBehindError("program", (1,))

    channel = StdioChannel(Immortal(), MEBIBYTE)
    assert (await channel._ended("it closed its output")).reason.endswith("lives on")


async def test_a_last_line_needs_no_line_break(channel):
    async with channel("faults.py", "unfinished") as opened:
        assert await opened.receive() == [b"no line break"]
        assert (await lost(opened.receive)).reason == "it exited with status 0"


async def test_a_closed_pipe_is_an_end(channel):
    async with channel("faults.py", "mute") as opened:
        await opened._process.stdin.aclose()
        await opened._process.stdout.aclose()
        assert "it " in (await lost(opened.receive)).reason

        async def write() -> None:
            await opened.send(b"x\n")

        await lost(write)


async def test_a_pipe_takes_at_once_what_it_has_room_for(channel):
    async with channel("server.py", stop=HASTY) as opened:
        line = b'{"id":7,"method":"tools/call","params":{"x":"%b"}}\n' % (b"x" * MEBIBYTE)
        rest = opened.send_nowait(line)
        assert 0 < len(rest) < len(line)
        await opened.send(rest)
        assert b'"id": 7' in (await opened.receive())[0]
        await opened._process.stdin.aclose()
        assert opened.send_nowait(b"x\n") == b"x\n"


async def test_a_missing_program_says_so(instance):
    spec = ProcessSpec("onemcp-no-such-program")
    with pytest.raises(ConnectionLost, match="no such program") as caught:
        async with open_stdio_channel(
            spec, instance=instance, stop=HASTY, limit=1024, on_stderr=print
        ):
            raise AssertionError("it must not start")
    assert "onemcp-no-such-program" in caught.value.reason


async def test_a_line_of_100_megabytes_is_told_in_bounded_memory(channel):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with channel("server.py", stop=HASTY) as opened:
        await opened.send(
            b'{"id":7,"method":"tools/call","params":{"name":"huge"}}\n'
            b'{"id":8,"method":"tools/call","params":{}}\n'
        )
        found = []
        while len(found) < 2:
            found += await opened.receive()
    line = found[0]
    assert isinstance(line, Oversized)
    assert line.size == 100_000_000 + len('{"jsonrpc":"2.0","id":7,"result":{"x":""}}')
    assert line.head.startswith(b'{"jsonrpc":"2.0","id":7,')
    assert line.tail.endswith(b'x"}}')
    assert b'"id": 8' in found[1]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20 * 1024, "KiB"


# --- a whole connection ----------------------------------------------------------------------


@asynccontextmanager
async def connected(instance, *args: str, program: str = "server.py", **options):
    spec = ProcessSpec(sys.executable, ("-I", "-S", str(PROGRAMS / program), *args))
    ended, over = [], trio.Event()
    connection = DuplexConnection(
        lambda: open_stdio_channel(
            spec, instance=instance, stop=HASTY, limit=MEBIBYTE, on_stderr=lambda _: None
        ),
        Terms("auto", IDENTITY, options.get("probe", 20.0), EraMemory()),
        lambda _: None,
        DuplexLimits(),
    )

    async def run(*, task_status: trio.TaskStatus[object]) -> None:
        try:
            await connection.run(task_status=task_status)
        except ConnectionLost as reason:
            ended.append(reason)
            over.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            yield connection, ended, over
            nursery.cancel_scope.cancel()


def calling(name: str):
    return call(params={"name": name})


async def test_a_real_server_answers(instance):
    async with connected(instance) as (connection, *_):
        assert connection.server.revision == "2025-11-25"
        answer = await connection.open(calling("ok")).receive()
        assert b"pid" in bytes(answer.result)


async def test_a_banner_does_no_harm(instance):
    async with connected(instance, "--banner") as (connection, *_):
        await connection.open(calling("ok")).receive()
        assert "something other than MCP" in connection.inbound.last_violation


async def test_an_oversized_answer_fails_its_call_alone(instance):
    async with connected(instance) as (connection, *_):
        huge, other = connection.open(calling("huge")), connection.open(calling("ok"))
        assert error_of(await huge.receive()).code == -33006
        await other.receive()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("crash", "it exited with status 3"), ("killed", "it was killed by SIGKILL")],
)
async def test_a_crash_fails_every_call_and_says_how(instance, fault, reason):
    async with connected(instance) as (connection, ended, over):
        waiting = [connection.open(calling("silent")), connection.open(calling(fault))]
        errors = [error_of(await exchange.receive()) for exchange in waiting]
        assert [error.code for error in errors] == [-33002, -33002]
        assert all(reason in error.message for error in errors)
        assert not any("cannot go on" in error.message for error in errors)
        await over.wait()
    assert ended[0].reason == reason
    assert ended[0].detail == ("cannot go on" if fault == "crash" else None)


async def test_a_program_that_never_answers_is_no_backend(instance):
    with trio.move_on_after(0.5) as patience:
        async with connected(instance, "mute", program="faults.py", probe=0.05):
            raise AssertionError("it never answers")
    assert patience.cancelled_caught


def test_the_limits_are_what_the_documentation_says():
    assert (module.LAST_WORDS, module.EXIT_GRACE) == (5, 0.5)
