"""Named views of a running gateway, seen by official clients, while the configuration changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anyio
import mcp_types as types
import pytest
import trio
from mcp import Client, MCPError

from tests.e2e.test_reload import LIST_CHANGED, labelled
from tests.support.clients import clients
from tests.support.eventually import eventually
from tests.support.processes import serving
from tests.support.running import command, configuration, running, write
from tests.support.sdk import on_asyncio

PATIENCE = 60

BACKENDS = {"one": labelled("a", tags=["shown"]), "two": labelled("b")}
WORDS = {"one/echo": {"title": "Parrot", "description": "Says it again."}}


def viewed(**view: Any) -> dict[str, Any]:
    return configuration(BACKENDS, views={"desk": {"tags": ["shown"], **view}})


async def test_a_view_and_its_changes_reach_clients_of_both_eras(tmp_path):
    first = viewed(tools={"allow": ["one/echo", "label"], "override": WORDS})
    async with running(tmp_path / "onemcp.json", first) as gateway, clients(gateway.url) as session:
        await gateway.ready(*BACKENDS)
        modern, legacy = session.modern("/desk"), await session.legacy("/desk")
        whole = session.modern()
        for client in (modern, legacy):
            answer = await client.request("tools/list")
            listed = {tool["name"]: tool for tool in answer["result"]["tools"]}
            assert list(listed) == ["one__echo", "one__label"]
            assert listed["one__echo"]["title"] == "Parrot"
            assert listed["one__echo"]["description"] == "Says it again."
            assert await client.call("one__echo", message="hi") == "hi"
            for name in ("two__echo", "one__pid", "never"):
                answer = await client.request("tools/call", {"name": name, "arguments": {}})
                assert answer["error"]["message"] == f"Unknown tool: {name}"
        before = [await whole.call("one__pid"), await whole.call("two__pid")]
        async with modern.notifications() as stream, legacy.notifications() as standalone:
            gateway.rewrite(viewed(backends=["two"], tools={"deny": ["echo"]}))
            for notifications in (stream, standalone):
                assert (await notifications.receive())["method"] == LIST_CHANGED
            for client in (modern, legacy):
                assert await client.tools() == [
                    f"{name}__{tool}" for name in BACKENDS for tool in ("label", "pid", "hold")
                ]
            await gateway.logged("reload_applied")
            gateway.rewrite(configuration(BACKENDS))
            ended = [message async for message in stream]
            assert [message["result"]["resultType"] for message in ended] == ["complete"]
            assert [message async for message in standalone] == []

        async def gone() -> bool:
            response = await session.http.post(gateway.url + "/desk", json={})
            return response.status_code == 404

        await eventually(gone, "the view is gone")
        after = [await whole.call("one__pid"), await whole.call("two__pid")]
        assert after == before, "who sees it is no affair of the processes"


async def test_a_server_hides_things_everywhere_without_a_restart(tmp_path):
    async with (
        running(tmp_path / "onemcp.json", viewed()) as gateway,
        clients(gateway.url) as session,
    ):
        await gateway.ready(*BACKENDS)
        whole = session.modern()
        before = await whole.call("one__pid")
        hiding = {**BACKENDS, "one": {**BACKENDS["one"], "tools": {"allow": ["pid"]}}}
        async with whole.notifications() as stream:
            gateway.rewrite(configuration(hiding, views={"desk": {"tags": ["shown"]}}))
            assert (await stream.receive())["method"] == LIST_CHANGED
        assert await whole.call("one__pid") == before
        for path, names in (("/one", ["pid"]), ("/desk", ["one__pid"])):
            assert await session.modern(path).tools() == names


async def test_a_view_is_refused_where_it_means_nothing(tmp_path):
    async with running(tmp_path / "onemcp.json", viewed()) as gateway:
        await gateway.ready(*BACKENDS)
        gateway.rewrite(viewed(backends=["tow"]))
        line = await gateway.logged("configuration_rejected")
        (problem,) = line["problems"]
        assert problem["path"] == "views.desk.backends[0]"
        assert problem["remedy"] == 'Did you mean "two"?'
        async with clients(gateway.url) as session:
            with trio.fail_after(20):
                assert len(await session.modern("/desk").tools()) == 4


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
@on_asyncio
async def test_the_official_client_works_in_a_view(gets: str, mode: str):
    with anyio.fail_after(PATIENCE):
        async with Client(gets, mode=mode, cache=None) as client:
            if mode != "2026-07-28":  # which it takes for granted, and asks nothing first
                assert client.instructions == "Only echo."
            assert [tool.name for tool in (await client.list_tools()).tools] == ["one__echo"]
            answer = await client.call_tool("one__echo", {"message": "hi"})
            assert isinstance(answer, types.CallToolResult)
            (content,) = answer.content
            assert isinstance(content, types.TextContent)
            assert content.text == "hi"
            with pytest.raises(MCPError) as hidden:
                await client.call_tool("two__echo", {"message": "hi"})
            assert str(hidden.value) == "Unknown tool: two__echo"


@pytest.fixture(scope="module")
def gets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("gateway") / "onemcp.json"
    write(config, viewed(tools={"allow": ["one/echo"]}, instructions="Only echo."))
    with serving(command(config)) as server:
        deadline = time.monotonic() + PATIENCE
        while server.said().count("backend_ready") < len(BACKENDS):
            assert time.monotonic() < deadline, server.said()
            time.sleep(0.05)
        yield f"{server.url}/desk"
