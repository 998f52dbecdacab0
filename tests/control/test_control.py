"""What operators see and do, over the control socket and over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from onemcp.backend import BackendReady
from onemcp.cli.instance import reached
from onemcp.control import OperatorActed
from tests.control.conftest import BROKEN, DEMO, SERVERS, World
from tests.frontend.site import modern_headers, request, with_meta

CALL = with_meta(request("tools/call", {"name": "demo__add", "arguments": {"a": 1, "b": 2}}))
LIST = with_meta(request("tools/list"))


async def called(world: World) -> str:
    answer = await world.client.post("/mcp", json=CALL, headers=modern_headers(CALL))
    return answer.text


async def test_the_state_of_everything_is_told(world: World):
    told = await world.get("/status")
    assert told["instance"] == {**await world.get(""), "uptime": told["instance"]["uptime"]}
    assert told["instance"]["url"] == world.gateway.url
    assert told["configuration"] == {
        "file": str(world.folder / "onemcp.json"),
        "ok": True,
        "problems": [],
        "reloadSuspended": False,
    }
    demo, broken, off = told["backends"]
    assert (demo["name"], demo["state"], demo["transport"]) == ("demo", "up", "stdio")
    assert demo["tools"] > 0
    assert broken["state"] in {"paused", "starting"}
    assert (off["name"], off["state"]) == ("off", "disabled")
    assert told["backends"] == [
        {**each, **{k: v for k, v in now.items() if k in {"for", "state", "retryIn", "failure"}}}
        for now, each in zip(told["backends"], await world.get("/backends"), strict=True)
    ]
    root = told["tree"]
    assert [child["id"] for child in root["children"]] == [
        "lag",
        "shedding",
        "telemetry",
        "guardian",
        "history",
        "control",
        "gateway",
    ]


async def test_a_stopped_backend_stays_down_over_a_reload_until_it_is_started(world: World):
    assert (await world.post("/backends/demo/stop"))["state"] == "stopped"
    assert "stopped by an operator" in await called(world)
    changed = {**SERVERS, "broken": {**BROKEN, "prefix": "b"}}
    world.write(changed)
    assert (await world.post("/reload"))["outcome"] in {"applied", "unchanged"}
    assert await world.state("demo") == "stopped"
    listed = await world.client.post("/mcp", json=LIST, headers=modern_headers(LIST))
    assert listed.json()["result"]["tools"] == []
    assert (await world.post("/backends/demo/start"))["state"] == "up"
    assert '"3"' in await called(world)
    ready = len(world.of(BackendReady))
    assert (await world.post("/backends/demo/start"))["state"] == "up"
    assert len(world.of(BackendReady)) == ready
    await world.post("/backends/demo/stop")
    world.write({**changed, "demo": {**DEMO, "prefix": "d"}})
    await world.post("/reload")
    assert await world.state("demo") == "up"


async def test_calls_wait_while_a_backend_is_restarted(world: World):
    answers: list[str] = []

    async def call() -> None:
        answers.append(await called(world))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.post, "/backends/demo/restart")
        for _ in range(5):
            nursery.start_soon(call)
    assert len(answers) == 5
    assert all('"3"' in answer for answer in answers)
    assert len(world.of(BackendReady)) == 2


async def test_a_backend_that_does_not_come_up_is_told_with_its_reason(world: World):
    told = await world.post("/backends/broken/restart")
    assert told["state"] in {"paused", "starting"}
    assert told["failure"]
    entries = await world.get("/backends/broken/logs")
    assert {"backend_down"} <= {entry["event"] for entry in entries}
    assert len(await world.get("/backends/broken/logs", lines=1)) == 1
    acted = world.of(OperatorActed)[-1]
    assert (acted.action, acted.backend, acted.by[:4]) == ("restart", "broken", "uid ")


async def test_what_can_not_be_is_refused_and_the_nearest_named(world: World):
    status, error = await world.refused("POST", "/backends/dmeo/restart")
    assert (status, error["code"], error["near"]) == (404, "unknown_backend", "demo")
    status, error = await world.refused("GET", "/backends/zzz/logs")
    assert (status, error["message"]) == (
        404,
        "there is no backend 'zzz'; there is demo, broken, off",
    )
    status, error = await world.refused("POST", "/backends/off/start")
    assert (status, error["code"]) == (409, "disabled")
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("POST", "/backends/demo/explode", 404),
        ("DELETE", "/status", 405),
        ("GET", "/backends/demo/logs?lines=x", 400),
        ("GET", "/events?backend=zzz", 404),
    ):
        assert (await world.refused(method, path))[0] == expected


async def test_a_file_that_can_not_be_used_is_told_with_its_problems(world: World):
    world.write({"demo": {**DEMO, "prefix": 5}})
    told = await world.post("/reload")
    assert told["outcome"] == "rejected"
    assert "prefix" in told["problems"][0]["path"]
    assert (await world.get("/status"))["configuration"]["problems"] == told["problems"]
    assert await world.state("demo") == "up"


async def test_events_are_told_as_they_happen_to_those_who_follow_them(world: World):
    heard: list[dict[str, Any]] = []
    following = trio.Event()

    def follow(path: str, last: str, **query: Any) -> None:
        with reached(world.socket, None) as running:
            for entry in running.follow(path, **query):
                heard.append(entry)
                trio.from_thread.run_sync(following.set)
                if entry["event"] == last:
                    return

    def entries_of(*arguments: Any, **query: Any) -> Callable[[], Awaitable[None]]:
        return lambda: trio.to_thread.run_sync(partial(follow, *arguments, **query))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(entries_of("/events", "operator_acted", backend="demo"))
        # Until somebody hears it: nothing tells the test that the stream has begun.
        while not following.is_set():
            await world.post("/backends/demo/restart")
    assert {"backend_ready", "operator_acted"} <= {each["event"] for each in heard}
    assert {each["backend"] for each in heard} == {"demo"}
    heard.clear()
    await entries_of("/backends/demo/logs", "backend_ready", follow=1, lines=1000)()
    assert heard[-1]["event"] == "backend_ready"


async def test_over_http_the_scope_admin_opens_it_and_nothing_of_mcp(world: World):
    assert (await world.over_http("/control/status", None)).status_code == 401
    refused = await world.over_http("/control/status", "mcp")
    assert refused.status_code == 403
    assert (await world.over_http("/control/backends/demo/stop", "mcp", "POST")).status_code == 403
    assert (await world.over_http("/control/status", "admin")).status_code == 200
    stopped = await world.over_http("/control/backends/demo/stop", "admin", "POST")
    assert stopped.json()["state"] == "stopped"
    assert world.of(OperatorActed)[-1].by == "ada"
    body = {"json": LIST, "headers": modern_headers(LIST)}
    assert (await world.over_http("/mcp", "admin", "POST", **body)).status_code == 403
    assert (await world.over_http("/mcp", "admin mcp", "POST", **body)).status_code == 200
    assert (await world.over_http("/controlled", "admin")).status_code == 403


async def test_where_nobody_is_asked_for_a_token_nobody_administers_over_http(world: World):
    world.write(auth={"mode": "none"})
    await world.post("/reload")
    assert (await world.over_http("/control/status", None)).status_code == 403
    assert await world.state("demo") == "up"
