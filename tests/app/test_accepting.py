"""Where no connection can be accepted: those that are there go on, and it is said once."""

from __future__ import annotations

import errno
import json
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from onemcp.app.accepting import CALM, AcceptPaused, AcceptResumed, accept_all
from tests.support.processes import serving

FILES = 40
LIVE = "/health/live"


class Scarce:
    """A listener that fails when a test says so."""

    def __init__(self, *outcomes: float | None) -> None:
        self.outcomes = list(outcomes)
        self.accepted = 0

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        if not self.outcomes:
            await trio.sleep_forever()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, float):
            await trio.sleep(outcome)
        elif outcome is not None:
            raise OSError(outcome, "no")
        self.accepted += outcome is None
        return trio.testing.memory_stream_pair()[0]

    async def aclose(self) -> None: ...


async def accept(listener: Any, seconds: float) -> list[Any]:
    events: list[Any] = []

    async def handle(_: object) -> None:
        await trio.sleep(CALM)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            await accept_all(listener, handle, nursery, events.append)
    return events


async def test_it_is_said_once_and_accepting_goes_on(autojump_clock: MockClock):
    listener = Scarce(None, *[errno.EMFILE] * 5, None, errno.ENFILE, None, None)
    assert await accept(listener, 3 * CALM) == [AcceptPaused("Too many open files")]
    assert listener.accepted == 4


async def test_when_it_has_been_over_for_a_while_that_is_said_too(autojump_clock: MockClock):
    listener = Scarce(errno.EMFILE, 2 * CALM)
    paused, resumed = await accept(listener, 3 * CALM)
    assert paused == AcceptPaused("Too many open files")
    assert isinstance(resumed, AcceptResumed)
    assert resumed.seconds == pytest.approx(2 * CALM, abs=1)


async def test_a_listener_that_is_broken_is_not_tried_again(autojump_clock: MockClock):
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no")):
        await accept(Scarce(errno.EBADF), 1.0)


def test_a_gateway_without_descriptors_serves_whom_it_has_and_others_later(tmp_path: Path):
    file = tmp_path / "onemcp.json"
    file.write_text(
        json.dumps(
            {"mcpServers": {"off": {"command": "x", "enabled": False}}, "auth": {"mode": "none"}}
        )
    )
    limited = ["/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"]
    run = [sys.executable, "-m", "onemcp", "run", "--config", str(file), "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ONEMCP_NO_COLOR": "1"}
    with serving([*limited, *run], environment=environment) as server:
        base = httpx.URL(server.url).copy_with(path="/")
        address = (base.host, base.port)
        with ExitStack() as held, httpx.Client(base_url=base, timeout=10) as known:
            assert known.get(LIVE).status_code == 200
            for _ in range(2 * FILES):
                held.enter_context(socket.create_connection(address))
            for _ in range(20):
                assert known.get(LIVE).status_code == 200, "who is there is served"
        with httpx.Client(base_url=base, timeout=20) as newcomer:
            assert newcomer.get(LIVE).status_code == 200, "and others once there is room"
        said = server.said()
    assert said.count("accept_paused") == 1
    assert "Too many open files" in said
