"""Instances of a backend, as processes: who gets one, and that none is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.crossfire.shooting import ASKS, LegacyShooter, ModernShooter, Shooter
from tests.crossfire.test_crossfire import TALKER, talker, token
from tests.support.clients import Message
from tests.support.process_tree import descendants
from tests.support.running import Gateway, running

PROGRESS = "notifications/progress"
LOG = "notifications/message"


class Meeting:
    """Where clients wait that have been asked, until all of them have."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._all = trio.Event()

    async def wait(self) -> None:
        self._expected -= 1
        if not self._expected:
            self._all.set()
        await self._all.wait()


class Modern(ModernShooter):
    meeting: Meeting

    async def _request(self, params: Message, words: str) -> Message:
        if "inputResponses" in params:
            await self.meeting.wait()
        return await super()._request(params, words)


class Legacy(LegacyShooter):
    meeting: Meeting

    async def _post(self, message: Message, *tolerated: str) -> None:
        if tolerated:  # it is an answer
            await self.meeting.wait()
        await super()._post(message, *tolerated)


def processes(gateway: Gateway) -> int:
    """Count the instances of all backends."""
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(gateway.pid)]
    return sum(str(TALKER).encode() in line for line in lines)


@asynccontextmanager
async def site(folder: Path, **backends: Any) -> AsyncIterator[tuple[Gateway, list[Shooter]]]:
    """Run a gateway and two clients of each era, each of another principal."""
    environ = {"XDG_STATE_HOME": str(folder / "state")}
    meeting = Meeting(4)
    async with (
        running(folder / "onemcp.json", {"mcpServers": backends}, environ=environ) as gateway,
        httpx.AsyncClient(timeout=60) as http,
    ):
        await gateway.ready(*backends)
        clients: list[Modern | Legacy] = []
        for number, kind in enumerate((Modern, Legacy, Modern, Legacy)):
            name = f"client-{number}"
            client = kind(http, gateway.url, name, token(name, folder / "state"))
            client.meeting = meeting
            clients.append(client)
            if isinstance(client, Legacy):
                await client.open()
        yield gateway, [*clients]


async def test_clients_that_are_asked_at_the_same_time_get_only_their_own_questions(
    tmp_path: Path,
):
    backend = talker("legacy", "t", interactive=True, instances={"idle": 0.2})
    async with site(tmp_path, t=backend) as (gateway, clients):

        async def ask(client: Shooter) -> None:
            text = await client.call("t__ask", "words")
            assert text == f"<{client.name}:1> heard <{client.name}:1>"

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(ask, client)
        for client in clients:
            assert client.told == {ASKS: 1}
        await gateway.logged("backend_ready", backend="t")
        while processes(gateway) > 1:  # noqa: ASYNC110 - processes end
            await trio.sleep(0.05)
        assert len(gateway.lines("backend_ready")) == 1
        assert gateway.lines("backend_down") == []


async def test_clients_that_were_there_hear_of_a_backend_that_comes_later(tmp_path: Path):
    async with site(tmp_path, old=talker("legacy", "old")) as (gateway, clients):
        backends = {name: talker("legacy", name) for name in ("old", "late")}
        gateway.rewrite({"mcpServers": backends})
        await gateway.ready("late")
        for client in clients:
            await client.call("late__chat", "words")
            assert client.told == {PROGRESS: 3, LOG: 3}
