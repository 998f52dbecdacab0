"""Instances of a backend, as processes and connections: who gets one, and that none is left."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.crossfire.shooting import ASKS, LegacyShooter, ModernShooter, Shooter
from tests.crossfire.test_crossfire import TALKER, talker, token
from tests.support.clients import MODERN, Message
from tests.support.npm import CHECKOUT
from tests.support.process_tree import descendants
from tests.support.processes import serving
from tests.support.running import Gateway, running

PROGRESS = "notifications/progress"
LOG = "notifications/message"
HTTP_SSE = [sys.executable, str(CHECKOUT / "tests" / "backend" / "http" / "sdk_server.py")]
"""A server of the official SDK that speaks the transport of 2024-11-05."""
CLIENTS = 4


class Meeting:
    """Where clients wait that have been asked, until all of them have; then it begins anew."""

    def __init__(self) -> None:
        self._there = 0
        self._all = trio.Event()

    async def wait(self) -> None:
        self._there += 1
        if self._there % CLIENTS:
            await self._all.wait()
        else:
            self._all.set()
            self._all = trio.Event()


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
    document = {"mcpServers": backends, "log": {"level": "debug"}}
    meeting = Meeting()
    async with (
        running(folder / "onemcp.json", document, environ=environ) as gateway,
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
    settings = {"interactive": True, "instances": {"idle": 0.2}}
    with serving(HTTP_SSE) as server:
        backends = {"near": talker("legacy", "t", **settings), "far": {"url": server.url}}
        backends["far"].update(settings)
        async with site(tmp_path, **backends) as (gateway, clients):

            async def ask(client: Shooter) -> None:
                text = await client.call("near__ask", "words")
                assert text == f"<{client.name}:1> heard <{client.name}:1>"
                await client.call("far__test_elicitation", "message")

            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(ask, client)
            for client in clients:
                assert client.told == {ASKS: 2}
            for name in backends:
                await gateway.logged("instance_ready", backend=name, instances=CLIENTS)
                await gateway.logged("instance_retired", backend=name, instances=1)
            while processes(gateway) > 1:  # noqa: ASYNC110 - processes end
                await trio.sleep(0.05)
            assert len(gateway.lines("backend_ready")) == 2
            (far,) = gateway.lines("backend_ready", backend="far")
            assert far["revision"] != MODERN
            assert gateway.lines("instance_lost") == gateway.lines("backend_down") == []


async def test_clients_that_were_there_hear_of_a_backend_that_comes_later(tmp_path: Path):
    async with site(tmp_path, old=talker("legacy", "old")) as (gateway, clients):
        backends = {name: talker("legacy", name) for name in ("old", "late")}
        gateway.rewrite({"mcpServers": backends})
        await gateway.ready("late")
        for client in clients:
            await client.call("late__chat", "words")
            assert client.told == {PROGRESS: 3, LOG: 3}
