"""Processes: how they are stopped, what becomes of them when something is killed."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.clients import ToolError, clients
from tests.support.eventually import eventually
from tests.support.gates import gate
from tests.support.process_tree import alive, marked, open_descriptors, zombies
from tests.support.running import MARKER, PROGRAM, configuration, program, running

LOST, UNAVAILABLE = -33002, -33001
LASTING = {
    "restart": {"intensity": 1000, "backoff": {"initial": 0.01, "maximum": 0.05}},
    "breaker": {"failures": 0},
}
CRASHES = 30
CALLS = 10
SLACK = 2
"""How many descriptors come and go, as connections of clients do."""


def wrapped(shell: str, **settings: Any) -> dict[str, Any]:
    """Return a backend that is started the way package runners do: by a shell, as its child."""
    run = f'"{sys.executable}" -S -E "{PROGRAM}"'
    return {
        "command": "sh",
        "args": ["-c", shell.format(run=run)],
        "inherit": [MARKER],
        **settings,
    }


# --- stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_calls_end_and_stops_everything(tmp_path, number):
    backends = {"old": program(), "new": program("era=modern")}
    answers: list[str] = []
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
        gate() as held_up,
    ):
        await gateway.ready(*backends)
        legacy = await session.legacy()
        family = gateway.family()

        async def hold(client, tool: str) -> None:
            answers.append(await client.call(tool, gate=held_up.port, message="held"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hold, session.modern(), "old__hold")
            nursery.start_soon(hold, legacy, "new__hold")
            held = [await held_up.arrived(), await held_up.arrived()]
            gateway.signal(number)
            await eventually(lambda: _refuses(gateway.url), "it takes no new connections")
            # What is in flight goes on, and so do the backends.
            assert all(alive(each.pid) for each in held)
            assert answers == []
            for each in held:
                await each.release()
        assert answers == ["held", "held"]
        assert await gateway.stopped() == 0
        assert {pid for pid in family if alive(pid)} == set()


async def test_call_that_never_ends_holds_up_the_stop_for_the_grace_period_only(tmp_path):
    document = configuration({"it": program()}, server={"shutdownGrace": 0.5})
    async with (
        running(tmp_path / "onemcp.json", document) as gateway,
        clients(gateway.url) as session,
        gate() as held_up,
    ):
        await gateway.ready("it")
        errors: list[ToolError] = []

        async def hold(client) -> None:
            with pytest.raises(ToolError) as caught:
                await client.call("it__hold", gate=held_up.port)
            errors.append(caught.value)

        legacy = await session.legacy()
        async with trio.open_nursery() as nursery:
            for client in (session.modern(), legacy):
                nursery.start_soon(hold, client)
                await held_up.arrived()
            gateway.signal(signal.SIGTERM)
            assert await gateway.stopped() == 0
        for error in errors:
            assert error.code == LOST
            assert "backend 'it'" in error.message
            assert "onemcp is being stopped" in error.message
            assert "may or may not have acted" in error.message
        assert len(errors) == 2


async def _refuses(url: str) -> bool:
    host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
    try:
        stream = await trio.open_tcp_stream(host, int(port))
    except OSError:
        return True
    await stream.aclose()
    return False


# --- a killed gateway --------------------------------------------------------------------------


async def test_killed_gateway_leaves_no_process(tmp_path):
    backends = {
        "plain": program("mode=stubborn"),
        "shell": wrapped("{run}; exit 0"),
        "runaways": program("mode=runaways"),
        # Background jobs of a shell read nothing, unless their input is given to them by hand.
        "setsid": wrapped("exec 3<&0; setsid {run} <&3 & wait"),
    }
    async with running(tmp_path / "onemcp.json", configuration(backends)) as gateway:
        await gateway.ready(*backends)
        family = gateway.family()
        # The programs, two shells, a grandchild in a session of its own, the guardian.
        assert len(family) >= len(backends) + 4
        gateway.signal(signal.SIGKILL)
        assert await gateway.stopped() == -signal.SIGKILL
        await eventually(lambda: not any(map(alive, family)), "all of its processes are gone")
        assert marked(gateway.marker) == set()


# --- killed backends ---------------------------------------------------------------------------


@pytest.mark.requirement("basic/transports/stdio#unexpected-termination-1")
async def test_killed_backend_comes_back(tmp_path):
    backends = {"it": program(**LASTING), "good": program()}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
        gate() as held_up,
    ):
        await gateway.ready(*backends)
        callers = [session.modern(), await session.legacy()]
        errors: list[ToolError] = []

        async def hold(client) -> None:
            with pytest.raises(ToolError) as caught:
                await client.call("it__hold", gate=held_up.port)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            for client in callers:
                nursery.start_soon(hold, client)
            held = [await held_up.arrived(), await held_up.arrived()]
            os.kill(held[0].pid, signal.SIGKILL)
        # Both calls of that process, each with one answer; whoever calls now waits and succeeds.
        assert [error.code for error in errors] == [LOST, LOST]
        for error in errors:
            assert "backend 'it'" in error.message
            assert "was killed by SIGKILL" in error.message
            assert "may or may not have acted" in error.message
        for client in callers:
            assert await client.call("it__echo", message="again") == "again"
        assert await callers[0].call("it__pid") != str(held[0].pid)
        down = await gateway.logged("backend_down", backend="it")
        assert down["reason"] == "it was killed by SIGKILL"


async def test_calls_during_a_restart_wait_and_succeed(tmp_path):
    # Its second start is held up for as long as the test likes.
    fifo, once = tmp_path / "go", tmp_path / "once"
    os.mkfifo(fifo)
    held_start = f'if [ -e "{once}" ]; then read go < "{fifo}"; fi; : > "{once}"; exec {{run}}'
    backends = {"it": wrapped(held_start, **LASTING), "good": program()}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*backends)
        callers = [session.modern(), await session.legacy()]
        os.kill(int(await callers[0].call("it__pid")), signal.SIGKILL)
        await gateway.logged("backend_down", backend="it")
        answers: list[str] = []

        async def call(client) -> None:
            answers.append(await client.call("it__echo", message="waited"))

        async with trio.open_nursery() as nursery:
            for client in callers:
                nursery.start_soon(call, client)
            for client in callers:
                # Its names stay, and its siblings have noticed nothing.
                assert "it__echo" in await client.tools()
                assert await client.call("good__echo", message="free") == "free"
            assert answers == []
            await trio.to_thread.run_sync(fifo.write_text, "go\n")
        assert answers == ["waited", "waited"]


async def test_crash_loop_is_paused_after_its_intensity(tmp_path):
    restart = {"intensity": 3, "period": 3600, "cooldown": 3600}
    restart["backoff"] = {"initial": 0.01, "maximum": 0.01}
    backends = {"it": program(restart=restart), "good": program()}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*backends)
        caller = session.modern()
        pid = await caller.call("good__pid")
        for crash in range(restart["intensity"] + 1):
            with pytest.raises(ToolError, match="exited with status 9"):
                await caller.call("it__die")
            await gateway.logged("backend_down", times=crash + 1, backend="it")
        paused = await gateway.logged("child_paused", backend="it")
        events = [line["event"] for line in gateway.log if line.get("backend") == "it"]
        assert events.count("backend_ready") == restart["intensity"] + 1
        assert events.index("child_paused") > max(
            number for number, event in enumerate(events) if event == "backend_down"
        )
        assert paused["level"] == "warning"
        assert "exited with status 9" in paused["reason"]
        assert paused["retry_in"] > 0
        for client in (caller, await session.legacy()):
            with pytest.raises(ToolError, match="exited with status 9") as caught:
                await client.call("it__echo")
            assert caught.value.code == UNAVAILABLE
            assert "backend 'it'" in caught.value.message
            assert not [name for name in await client.tools() if name.startswith("it__")]
        assert await caller.call("good__pid") == pid
        assert len(gateway.lines("backend_ready", backend="good")) == 1


async def test_paused_backend_is_tried_again_after_its_cooldown(tmp_path):
    marker = tmp_path / "mended"
    mended = f'[ -e "{marker}" ] || exit 4; exec {{run}}'
    restart = {"intensity": 0, "cooldown": 0.2, "backoff": {"initial": 0.01, "maximum": 0.01}}
    backends = {"it": wrapped(mended, restart=restart)}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.logged("child_paused", backend="it", times=2)
        marker.touch()
        await gateway.ready("it")
        assert await session.modern().call("it__echo", message="back") == "back"


async def test_crashes_leave_nothing_behind(tmp_path):
    backends = {"it": program("mode=runaways", **LASTING), "good": program()}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*backends)
        caller = session.modern()

        async def crash(times: int) -> None:
            for _ in range(times):
                with pytest.raises(ToolError):
                    await caller.call("it__die")
                assert await caller.call("it__echo", message="again") == "again"

        await crash(3)  # what is made once and kept is there now
        family, descriptors = len(gateway.family()), len(open_descriptors(gateway.pid))
        threads = _threads(gateway.pid)
        await crash(CRASHES)
        assert len(gateway.family()) == family
        assert zombies(gateway.pid) == set()
        assert len(open_descriptors(gateway.pid)) <= descriptors + SLACK
        assert _threads(gateway.pid) <= threads + SLACK


async def test_connections_that_clients_close_are_closed(tmp_path):
    async with running(tmp_path / "onemcp.json", configuration({"it": program()})) as gateway:
        await gateway.ready("it")
        before = len(open_descriptors(gateway.pid))
        async with clients(gateway.url) as session, trio.open_nursery() as nursery:
            modern, legacy = session.modern(), await session.legacy()
            async with modern.notifications(), legacy.notifications():
                for client in (modern, legacy) * CALLS:
                    nursery.start_soon(partial(client.call, "it__echo", message="x"))
        await eventually(
            lambda: len(open_descriptors(gateway.pid)) <= before, "all connections are closed"
        )


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
