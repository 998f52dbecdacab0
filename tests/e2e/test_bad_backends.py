"""A backend that misbehaves is its own problem: one clear error, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.bad_http import bad_http
from tests.support.clients import Clients, ToolError, clients
from tests.support.gates import gate
from tests.support.process_tree import memory
from tests.support.running import Gateway, Line, configuration, program, running

UNAVAILABLE, LOST, DEADLINE, TOO_LARGE = -33001, -33002, -33003, -33006
HUGE = 100_000_000
GROWTH = 150_000_000
"""Bytes of memory that a gateway may use to refuse such a message."""
RESTART = {
    "intensity": 1,
    "period": 3600,
    "cooldown": 3600,
    "backoff": {"initial": 0.01, "maximum": 0.01},
}
HASTY = {"timeouts": {"start": 2, "probe": 0.5, "call": 1, "stop": 0.4}, "restart": RESTART}
"""How backends are run that are not expected to come up."""
BRISK = {"timeouts": {"call": 1, "stop": 0.4}, "restart": RESTART}
"""How those are run of which a call isn't answered."""
PATIENT = {"timeouts": {"stop": 0.4}, "restart": RESTART}
"""How all others are run."""


def paused(gateway: Gateway, *names: str) -> bool:
    return all(gateway.lines("child_paused", backend=name) for name in names)


# --- backends that never come up ---------------------------------------------------------------

NEVER_UP: dict[str, tuple[str, ...]] = {
    "missing": ("cannot start 'no-such-program'", "no such program", "Install it"),
    "exit": ("it exited with status 3",),
    "garbage": ("1000 lines in a row were not MCP", "This is not what you are looking for."),
    "mute": ("it was not ready within 2 s", "timeouts.start"),
    "wrong-ids": ("it was not ready within 2 s", "it answered a request that nobody made"),
    "closed": ("it closed its output and lives on",),
    "refuses": ("it can't be reached",),
    "hangs": ("it was not ready within 2 s",),
    "redirects": ("it redirects to http://127.0.0.1:9/elsewhere", "set it as the URL"),
    "fails": ("it answered with HTTP 500", "Something went wrong"),
    "shows a page": ("it answered with HTTP 200", "text/html"),
}
"""What is told of each, by how it misbehaves."""
OVER_HTTP = ("refuses", "hangs", "redirects", "fails", "shows a page")


@dataclass
class Seen:
    """What became of a gateway with all of these backends, and a good one.

    Attributes:
        errors: What calls of each came to, at its prefixed name and at its own endpoint.
        good: What the good backend said before the bad ones had been given up, and after.
        log: The log of the gateway.
    """

    errors: dict[str, list[ToolError]] = field(default_factory=dict)
    good: list[str] = field(default_factory=list)
    log: list[Line] = field(default_factory=list)


def name_of(manners: str) -> str:
    return f"bad-{manners.replace(' ', '-')}"


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Iterator[Seen]:
    """All of them at once, so that one start of a gateway is enough."""
    config = tmp_path_factory.mktemp("bad") / "onemcp.json"
    return trio.run(_look, config)


async def _look(config) -> Seen:
    seen = Seen()
    backends: dict[str, Any] = {"good": program(), "good2": program("era=modern")}
    async with AsyncExitStack() as stack:
        for manners in NEVER_UP:
            if manners in OVER_HTTP:
                settings = {"url": await stack.enter_async_context(bad_http(manners)), **HASTY}
            elif manners == "missing":
                settings = {"command": "no-such-program", **HASTY}
            else:
                settings = program(f"mode={manners}", **HASTY)
            backends[name_of(manners)] = settings
        gateway = await stack.enter_async_context(running(config, configuration(backends)))
        session = await stack.enter_async_context(clients(gateway.url))
        callers = [session.modern(), await session.legacy()]
        await gateway.ready("good", "good2")
        # They have seconds to become ready in, and are being waited for.
        assert not paused(gateway, name_of("mute"), name_of("hangs"))
        for backend in ("good", "good2"):
            seen.good += [await caller.call(f"{backend}__echo", message="1") for caller in callers]
        await gateway.until(partial(paused, gateway, *map(name_of, NEVER_UP)))
        for manners in NEVER_UP:
            name = name_of(manners)
            own = [session.modern(f"/{name}"), await session.legacy(f"/{name}")]
            seen.errors[manners] = [
                *[await _error(caller, f"{name}__echo") for caller in callers],
                *[await _error(caller, "echo") for caller in own],
            ]
        for backend in ("good", "good2"):
            seen.good += [await caller.call(f"{backend}__echo", message="2") for caller in callers]
    seen.log = gateway.log
    return seen


async def _error(caller, tool: str, **arguments: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await caller.call(tool, message="unheard", **arguments)
    return caught.value


@pytest.mark.parametrize("manners", NEVER_UP)
def test_call_of_a_backend_that_never_comes_up_says_which_and_why(seen, manners):
    for error in seen.errors[manners]:
        assert error.code == UNAVAILABLE
        for words in (repr(name_of(manners)), *NEVER_UP[manners]):
            assert words in error.message


@pytest.mark.parametrize("manners", NEVER_UP)
def test_log_says_which_backend_does_not_come_up_and_why(seen, manners):
    name = name_of(manners)
    down = [line for line in seen.log if line.get("event") == "backend_down"]
    reasons = [line["reason"] for line in down if line["backend"] == name]
    assert len(reasons) == RESTART["intensity"] + 1
    for words in NEVER_UP[manners]:
        assert all(words in reason for reason in reasons)


def test_last_words_of_a_program_are_in_the_log(seen):
    down = [line for line in seen.log if line.get("event") == "backend_down"]
    details = {line.get("detail") for line in down if line["backend"] == name_of("exit")}
    assert details == {"cannot read the credentials of the weather service"}


def test_siblings_of_backends_that_never_come_up_answer_before_and_after(seen):
    assert seen.good == ["1"] * 4 + ["2"] * 4


def test_nothing_but_the_bad_backends_is_complained_of(seen):
    complaints = [line for line in seen.log if line.get("level") in {"warning", "error"}]
    assert {line["backend"] for line in complaints} == set(map(name_of, NEVER_UP))


# --- backends that come up, and misbehave in a call --------------------------------------------


@asynccontextmanager
async def bench(
    folder: Path, *names: str, settings: dict[str, Any] = PATIENT
) -> AsyncIterator[tuple[Gateway, Clients]]:
    """Run a gateway with some backends to misbehave, and a good one."""
    backends = {name: program(**settings) for name in names} | {"good": program()}
    async with (
        running(folder / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*backends)
        yield gateway, session


async def test_call_that_ends_its_backend_may_have_acted(tmp_path):
    died, deaf = "it exited with status 9", "it closed its output and lives on"
    ends = [("modern", "die", died), ("legacy", "die", died), ("modern", "deafen", deaf)]
    async with bench(tmp_path, "bad0", "bad1", "bad2") as (gateway, session):
        for number, (era, tool, reason) in enumerate(ends):
            caller = await session.of(era)
            error = await _error(caller, f"bad{number}__{tool}")
            assert error.code == LOST
            assert f"backend 'bad{number}'" in error.message
            assert reason in error.message
            assert "it may or may not have acted" in error.message
            assert await caller.call("good__echo", message="meanwhile") == "meanwhile"
            assert await caller.call(f"bad{number}__echo", message="again") == "again"
            assert len(gateway.lines("backend_down", backend=f"bad{number}", reason=reason)) == 1


async def test_call_that_is_not_answered_ends_with_its_deadline(tmp_path):
    async with bench(tmp_path, "bad", settings=BRISK) as (_, session):
        modern, legacy = session.modern(), await session.legacy()
        ended: list[str] = []

        async def call(caller, tool: str) -> None:
            error = await _error(caller, f"bad__{tool}")
            assert error.code == DEADLINE
            assert "'bad' did not answer within 1 s" in error.message
            ended.append("bad")

        async with trio.open_nursery() as nursery:
            for caller in (modern, legacy):
                nursery.start_soon(call, caller, "ignore")
                nursery.start_soon(call, caller, "misanswer")
            for caller in (modern, legacy):
                assert await caller.call("good__echo", message="meanwhile") == "meanwhile"
                ended.append("good")
        assert ended == ["good"] * 2 + ["bad"] * 4
        assert await modern.call("bad__echo", message="after") == "after"


async def test_held_up_call_holds_up_nobody_else(tmp_path):
    async with (
        bench(tmp_path, "bad") as (_, session),
        gate() as held_up,
        trio.open_nursery() as nursery,
    ):
        caller, other = session.modern(), await session.legacy()
        done: list[str] = []

        async def hold() -> None:
            done.append(await caller.call("good__hold", gate=held_up.port, message="held"))

        nursery.start_soon(hold)
        held = await held_up.arrived()
        for each in (caller, other):
            assert await each.call("bad__echo", message="free") == "free"
            assert await each.call("good__echo", message="free") == "free"
        assert done == []
        await held.release()
    assert done == ["held"]


async def test_answer_of_a_hundred_megabytes_is_refused_without_being_kept(tmp_path):
    async with bench(tmp_path, "bad") as (gateway, session):
        before = memory(gateway.pid)
        for caller in (session.modern(), await session.legacy()):
            error = await _error(caller, "bad__huge", bytes=HUGE)
            assert error.code == TOO_LARGE
            assert "backend 'bad'" in error.message
            assert str(HUGE)[:3] in error.message
            assert await caller.call("bad__echo", message="after") == "after"
        assert memory(gateway.pid, "VmHWM") - before < GROWTH


# --- backends that misbehave, and work all the same --------------------------------------------

ODD = ("banner", "line", "flood", "stubborn", "family", "runaways")


async def test_odd_backends_work_and_nothing_of_them_is_left(tmp_path):
    backends = {mode: program(f"mode={mode}", **PATIENT) for mode in ODD}
    async with (
        running(tmp_path / "onemcp.json", configuration(backends)) as gateway,
        clients(gateway.url) as session,
    ):
        caller = session.modern()
        await gateway.ready(*ODD)
        for mode in ODD:
            assert await caller.call(f"{mode}__echo", message=mode) == mode
        assert memory(gateway.pid, "VmHWM") < GROWTH
        before = gateway.family()
        for mode in ("family", "runaways"):
            assert (await _error(caller, f"{mode}__die")).code == LOST
            # A call that comes now waits for the next incarnation; it starts when nothing of the
            # last one is left, grandchildren included.
            assert await caller.call(f"{mode}__echo", message="again") == "again"
        after = gateway.family()
        assert len(after) == len(before)
        assert len(before - after) == 4

        await gateway.until(lambda: len(_dropped(gateway)) >= 2)
        first, second = _dropped(gateway)[:2]
        assert second - first <= 200 + 1  # this many lines a second, and how many are missing
    # The end of the block stops the gateway, and looks for what is left.


def _dropped(gateway: Gateway) -> list[int]:
    """Tell which lines of the flood's own log say that others were dropped."""
    flood = gateway.lines("backend_stderr", backend="flood")
    return [number for number, line in enumerate(flood) if "stderr dropped" in line["line"]]
