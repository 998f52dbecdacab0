"""What a reload does to the gateway as a whole, in one process."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from onemcp import config
from onemcp.app import Access, AddressChanged, AddressRefused, Gateway, ReloadApplied
from onemcp.auth import load_or_create_keys, new_token
from onemcp.config import ConfigurationRejected, Reloaded
from onemcp.frontend import RequestDenied
from onemcp.state import StateError
from tests.frontend.site import HEADERS, request

HANDSHAKE = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}})
DEMO = {"command": sys.executable, "args": ["-P", "-m", "onemcp.demo"]}

IN_FORCE = {Reloaded.APPLIED, Reloaded.UNCHANGED}
"""What a reload may say where the watcher of the file may have been first."""


class World:
    """A gateway that watches a file, and what it reports."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "onemcp.json"
        self.state = folder / "state"
        self.events: list[Any] = []
        self.gateway: Gateway

    def write(self, **sections: Any) -> None:
        self.file.write_text(json.dumps({"mcpServers": {"demo": DEMO}, **sections}))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def reload(self) -> Reloaded:
        assert self.gateway.reloader is not None
        return await self.gateway.reloader.reload()

    async def status(self, token: str | None = None, url: str | None = None) -> int:
        headers = dict(HEADERS)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(headers=headers) as client:
            answer = await client.post(url or self.gateway.url, json=HANDSHAKE)
        return answer.status_code


@contextlib.asynccontextmanager
async def serving(folder: Path, **sections: Any) -> AsyncIterator[World]:
    world = World(folder)
    server = {"port": 0, "shutdownGrace": 0.5}
    world.write(server=server, **sections)
    configuration = config.load(world.file)
    access = Access(lambda: load_or_create_keys(world.state), world.state)
    await access.prepare(configuration)
    world.gateway = Gateway(
        configuration, access=access, path=world.file, on_event=world.events.append
    )
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            await nursery.start(world.gateway.run)
            yield world
            await world.gateway.stop()


SERVER = {"port": 0, "shutdownGrace": 0.5}


async def test_authentication_can_be_switched_on_and_off(tmp_path):
    async with serving(tmp_path, auth={"mode": "none"}) as world:
        assert await world.status() == 200
        world.write(server=SERVER)
        await world.reload()
        assert await world.status() == 401
        token = new_token(load_or_create_keys(world.state), "me", 60.0)
        assert await world.status(token) == 200
        world.write(server=SERVER, auth={"mode": "none"})
        await world.reload()
        assert await world.status() == 200


async def test_limits_hold_at_once_for_calls_that_wait_as_well(tmp_path):
    auth = {"mode": "none"}
    async with serving(tmp_path, auth=auth, limits={"inFlightPerPrincipal": 1}) as world:
        admission = world.gateway.multiplexer.admission
        assert [admission.enter_nowait("demo", "ada") for _ in range(2)] == [True, False]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admission.enter, "demo", "ada")
            world.write(server=SERVER, auth=auth, limits={"inFlightPerPrincipal": 2})
            await world.reload()
        assert (admission.in_flight, admission.queued) == (2, 0)
        for _ in range(2):
            admission.leave("demo", "ada")


async def test_a_configuration_whose_keys_cannot_be_used_changes_nothing(tmp_path):
    async with serving(tmp_path, auth={"mode": "none"}) as world:
        world.state.mkdir(mode=0o700)
        (world.state / "keys.json").write_text("nonsense")
        (world.state / "keys.json").chmod(0o600)
        with pytest.raises(StateError):
            load_or_create_keys(world.state)
        world.write(server=SERVER)
        assert await world.reload() is Reloaded.REJECTED
        assert await world.status() == 200
        [rejected] = world.of(ConfigurationRejected)
        assert "auth.mode" in str(rejected.problems[0])
        (world.state / "keys.json").unlink()
        assert await world.reload() in IN_FORCE
        assert await world.status() == 401


async def test_proxies_are_believed_from_the_reload_that_names_them(tmp_path):
    async with serving(tmp_path) as world:
        forwarded = {"x-forwarded-for": "203.0.113.7", "authorization": "Bearer x", **HEADERS}

        async def address() -> str:
            async with httpx.AsyncClient(headers=forwarded) as client:
                assert (await client.post(world.gateway.url, json=HANDSHAKE)).status_code == 401
            return world.of(RequestDenied)[-1].address

        assert await address() == "127.0.0.1"
        world.write(server={**SERVER, "trustedProxies": ["127.0.0.0/8"]})
        await world.reload()
        assert await address() == "203.0.113.7"
        world.write(
            server={**SERVER, "trustedProxies": ["127.0.0.0/8"], "forwardedHeader": "Forwarded"}
        )
        await world.reload()
        assert await address() == "127.0.0.1"


async def test_what_could_not_be_replaced_is_tried_again(tmp_path):
    async with serving(tmp_path, auth={"mode": "none"}) as world:
        program = tmp_path / "later.py"
        later = {"command": sys.executable, "args": ["-P", str(program)]}
        changed = {"mcpServers": {"demo": later}, "server": SERVER, "auth": {"mode": "none"}}
        world.file.write_text(json.dumps(changed))
        await world.reload()
        assert not world.of(ReloadApplied)[-1].report.ok
        program.write_text("import runpy\nrunpy.run_module('onemcp.demo', run_name='__main__')\n")
        await world.reload()  # where the watcher has not done so by itself
        assert world.of(ReloadApplied)[-1].report.replaced == ("demo",)
        assert await world.reload() is Reloaded.UNCHANGED


async def test_the_address_moves_and_stays_where_the_new_one_is_taken(tmp_path):
    async with serving(tmp_path, auth={"mode": "none"}) as world:
        before = world.gateway.url
        with contextlib.closing(await _taken()) as taken:
            port = taken.getsockname()[1]
            world.write(server={**SERVER, "port": port}, auth={"mode": "none"})
            await world.reload()
            assert world.of(AddressRefused)[-1].port == port
            assert await world.status(url=before) == 200
        assert await world.reload() in IN_FORCE
        assert world.of(AddressChanged)[-1].url == world.gateway.url
        assert world.gateway.url.endswith(f":{port}/mcp")
        assert await world.status() == 200
        with pytest.raises(httpx.ConnectError):
            await world.status(url=before)


async def _taken() -> trio.socket.SocketType:
    taken = trio.socket.socket()
    await taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken
