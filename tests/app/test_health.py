"""Health of a whole gateway, in one process with a real backend."""

from __future__ import annotations

from typing import Any

import httpx

from onemcp.auth import load_or_create_keys, new_token
from onemcp.supervision import Event, What
from tests.app.test_reload import DEMO, SERVER, World, serving
from tests.monitor.test_metrics import Metrics


async def fetch(world: World, path: str) -> httpx.Response:
    url = httpx.URL(world.gateway.url).copy_with(path=path)
    token = new_token(load_or_create_keys(world.state), "me", 60.0, "admin")
    async with httpx.AsyncClient() as client:
        return await client.get(url, headers={"authorization": f"Bearer {token}"})


async def get(world: World, path: str) -> tuple[int, Any]:
    answer = await fetch(world, path)
    return answer.status_code, answer.json()


async def test_a_gateway_tells_how_it_is_while_backends_and_its_file_fail(tmp_path):
    async with serving(tmp_path) as world:
        await world.gateway.multiplexer.backends["demo"].wait_ready()
        assert await get(world, "/health/ready") == (200, {"status": "ready"})
        assert (await get(world, "/health"))[1]["status"] == "ok"
        metrics = Metrics((await fetch(world, "/metrics")).text)
        assert metrics("onemcp_backend_processes", backend="demo") == 1
        assert metrics("onemcp_backend_resident_memory_bytes", backend="demo") > 1_000_000
        assert metrics("onemcp_backend_cpu_seconds_total", backend="demo") > 0
        assert metrics("onemcp_events_total", event="backend_ready") == 1

        absent = {"command": "/nowhere/absent", "restart": {"intensity": 0, "cooldown": 600}}
        servers = {"demo": DEMO, "absent": {**absent, "required": True}}
        world.write(mcpServers=servers, server=SERVER)
        await world.reload()
        starting = [
            event.child
            for event in world.of(Event)
            if event.what is What.STARTING and event.supervisor.endswith("/backends")
        ]
        assert starting == ["demo", "absent"]  # the demo runs on: it has not changed
        await world.gateway.multiplexer.backends["absent"].wait_tried()
        assert (await get(world, "/health/ready"))[0] == 503

        servers["absent"] = absent
        world.write(mcpServers=servers, server=SERVER)
        await world.reload()  # that it is not required any more restarts nothing
        assert (await get(world, "/health/ready"))[0] == 200
        world.file.write_text("{")
        await world.reload()
        status, detail = await get(world, "/health")
        assert (status, detail["status"], detail["ready"]) == (200, "degraded", True)
        assert detail["configuration"]["state"] == "rejected"
        backend = detail["backends"]["absent"]
        assert backend["state"] in {"paused", "restarting"}
        assert "/nowhere/absent" in backend["failure"]


async def test_required_backends_are_started_first(tmp_path):
    servers = {name: {"command": "/nowhere"} for name in ("one", "two", "three")}
    servers["three"]["required"] = True  # type: ignore[assignment]
    async with serving(tmp_path, mcpServers=servers) as world:
        started = [
            event.child
            for event in world.of(Event)
            if event.what is What.STARTED and event.supervisor.endswith("/backends")
        ]
        assert started == ["three", "one", "two"]
        assert list(world.gateway.multiplexer.backends) == ["one", "two", "three"]
