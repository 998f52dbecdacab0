"""What callers notice when programs are killed with their calls in flight, or stop answering."""

from __future__ import annotations

import os
import re
import signal

import pytest
import trio

from tests.support.clients import ToolError, clients
from tests.support.gates import gate
from tests.support.running import configuration, program, running

LOST, DEADLINE, OPEN = -33002, -33003, -33011
LIVELY = {"restart": {"backoff": {"initial": 0.01, "maximum": 0.1}}}


async def test_calls_of_killed_programs_are_made_again_where_that_does_no_harm(tmp_path):
    backends = {
        "reader": program("reading=hold", **LIVELY),
        "writer": program("era=modern", **LIVELY),
    }
    answers: list[str] = []
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
        gate() as held_up,
    ):
        await gateway.ready(*backends)

        async def call(caller, tool: str) -> None:
            try:
                answers.append(await caller.call(tool, gate=held_up.port, message="held"))
            except ToolError as error:
                answers.append(str(error.code))

        async with trio.open_nursery() as nursery:
            callers = [session.modern(), await session.legacy()]
            for caller in callers:
                nursery.start_soon(call, caller, "reader__hold")
            first = {(await held_up.arrived()).pid for _ in callers}
            (pid,) = first
            os.kill(pid, signal.SIGKILL)
            again = [await held_up.arrived() for _ in callers]
            assert pid not in {held.pid for held in again}
            for held in again:
                await held.release()
        assert answers == ["held", "held"]
        assert len(gateway.lines("call_repeated", backend="reader")) == 2

        answers.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, callers[0], "writer__hold")
            os.kill((await held_up.arrived()).pid, signal.SIGKILL)
        assert answers == [str(LOST)]
        assert await callers[0].call("writer__echo", message="after") == "after"


async def test_a_program_that_stops_answering_is_left_alone_until_it_is_well(tmp_path):
    settings = {
        "timeouts": {"call": 1, "stop": 0.4},
        "breaker": {"failures": 2, "cooldown": 2},
    }
    backends = {"bad": program(**settings), "good": program()}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*backends)
        caller = session.modern()
        for code in (DEADLINE, DEADLINE, OPEN):
            with pytest.raises(ToolError) as caught:
                await caller.call("bad__ignore")
            assert caught.value.code == code
        assert re.search("it is tried again in [12] s", caught.value.message)
        assert await caller.call("good__echo", message="meanwhile") == "meanwhile"
        await gateway.until(lambda: bool(gateway.lines("breaker_opened", backend="bad")))
        answer = None
        while answer is None:
            try:
                answer = await caller.call("bad__echo", message="well")
            except ToolError as error:
                assert error.code == OPEN  # noqa: PT017 - until its time is over
        assert answer == "well"
        await gateway.until(lambda: bool(gateway.lines("breaker_closed", backend="bad")))
