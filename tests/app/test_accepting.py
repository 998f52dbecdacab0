"""Where no connection can be accepted: those that are there go on, and it is said once."""

from __future__ import annotations

import errno
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from onemcp.app import accepting
from onemcp.app.accepting import (
    CALM,
    AcceptPaused,
    AcceptResumed,
    SocketListener,
    accept_all,
)
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
        return [trio.testing.memory_stream_pair()[0]]


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


class Listening(socket.socket):
    """A socket that listens, and fails to accept when it is told to; None is no failure."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[int | None] = []

    def accept(self) -> Any:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise OSError(failure, "no")
        return super().accept()


@contextmanager
def crowd(size: int) -> Iterator[Listening]:
    """Return a socket to which a number of clients have connected."""
    with Listening() as listening, ExitStack() as clients:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for _ in range(size):
            clients.enter_context(socket.create_connection(listening.getsockname()))
        yield listening


async def sizes(listening: socket.socket, count: int) -> list[int]:
    """Return how many connections are accepted each of some times."""
    listener, found = SocketListener(listening), []
    for _ in range(count):
        accepted = await listener.accept()
        found.append(len(accepted))
        for stream in accepted:
            await stream.aclose()
    return found


async def test_who_comes_together_is_accepted_together_up_to_a_number(monkeypatch):
    monkeypatch.setattr(accepting, "MOST_AT_ONCE", 3)
    with crowd(5) as listening:
        assert await sizes(listening, 2) == [3, 2]


async def test_a_connection_that_is_gone_already_keeps_nobody_out():
    with crowd(2) as listening:
        listening.failures = [errno.ECONNABORTED, errno.EPROTO]
        assert await sizes(listening, 1) == [2]


async def test_those_who_can_be_accepted_are_served_before_it_is_said_that_no_more_can():
    with crowd(3) as listening:
        listening.failures = [None, errno.EMFILE, errno.EMFILE]
        assert await sizes(listening, 1) == [1]
        with pytest.raises(OSError, match="no"):
            await sizes(listening, 1)
        assert await sizes(listening, 1) == [2]


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
