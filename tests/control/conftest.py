"""A gateway in this process, with a control socket and a client on it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from onemcp import config
from onemcp.app import Access, Gateway
from onemcp.auth import load_or_create_keys, new_token
from onemcp.cli import main
from onemcp.runtime import open_socket

DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}
BROKEN = {
    "url": "http://127.0.0.1:9/mcp",
    "restart": {"intensity": 0, "cooldown": 3600},
}
PATIENT = {
    **DEMO,
    "breaker": {"cooldown": 3600},
}  # an open breaker stays open while it is looked at
SERVERS = {"demo": PATIENT, "broken": BROKEN, "off": {**DEMO, "enabled": False}}


@attrs.define
class World:
    """A gateway and what reaches it.

    Attributes:
        folder: Where its files are.
        gateway: The gateway.
        client: A client on its control socket.
        events: What has happened.
    """

    folder: Path
    gateway: Gateway
    client: httpx.AsyncClient
    events: list[Any]

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "x.sock"

    def write(self, servers: Any = SERVERS, **sections: Any) -> None:
        write(self.folder, servers, **sections)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"/control{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str) -> Any:
        answer = await self.client.post(f"/control{path}", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str) -> tuple[int, Any]:
        answer = await self.client.request(method, f"/control{path}")
        return answer.status_code, answer.json()["error"]

    async def state(self, name: str) -> str:
        return str((await self.get(f"/backends/{name}"))["state"])

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def over_http(
        self, path: str, scope: str | None, method: str = "GET", **more: Any
    ) -> httpx.Response:
        """Send a request to the ordinary listener, with a token for a scope."""
        headers = more.pop("headers", {})
        if scope is not None:
            token = new_token(load_or_create_keys(self.folder / "state"), "ada", 60, scope)
            headers = {**headers, "authorization": f"Bearer {token}"}
        url = self.gateway.url.removesuffix("/mcp") + path
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.request(method, url, headers=headers, **more)


def write(folder: Path, servers: Any = SERVERS, **sections: Any) -> None:
    document = {"mcpServers": servers, "server": {"port": 0, "shutdownGrace": 0.2}, **sections}
    (folder / "onemcp.json").write_text(json.dumps(document))


@contextlib.asynccontextmanager
async def serving(folder: Path, **sections: Any) -> AsyncIterator[World]:
    write(folder, **sections)
    configuration = config.load(folder / "onemcp.json")
    events: list[Any] = []
    keys = partial(load_or_create_keys, folder / "state")
    access = Access(keys, folder / "state", audit=events.append)
    await access.prepare(configuration)
    door = open_socket(folder / "run" / "x.sock")
    gateway = Gateway(
        configuration,
        access=access,
        path=folder / "onemcp.json",
        on_event=events.append,
        socket=door,
    )
    transport = httpx.AsyncHTTPTransport(uds=os.fspath(door.path))
    try:
        with trio.fail_after(60):
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
                trio.open_nursery() as nursery,
            ):
                await nursery.start(gateway.run)
                world = World(folder, gateway, client, events)
                await gateway.multiplexer.backends["demo"].wait_ready()
                yield world
                await gateway.stop()
    finally:
        door.close()


@pytest.fixture
async def world(short_folder: Path) -> AsyncIterator[World]:
    async with serving(short_folder) as running:
        yield running


class Shell:
    """Runs commands beside the gateway of the test."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self._capsys = capsys

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit code, what was printed, and what was complained about."""
        self._capsys.readouterr()
        code = await trio.to_thread.run_sync(main, list(arguments))
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    async def json(self, *arguments: str) -> Any:
        code, out, err = await self.run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def shell(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.setenv("ONEMCP_SOCKET", str(world.socket))
    return Shell(world, capsys)
