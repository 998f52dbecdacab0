"""A whole backend over HTTP: its connection, its lists, and what they need of each other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from onemcp import config
from onemcp.backend import Backend, Call, Identity, ItemRejected
from onemcp.backend.handshake import answer_of
from onemcp.backend.http import connect_http
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TOOLS
from tests.backend.http.servers import IDENTITY, LIMIT, Modern, Visit, caller, serving, terms

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class World:
    """A backend, and what it tells."""

    def __init__(self, url: str) -> None:
        self.events: list[Any] = []
        self.backend = Backend(
            config.Backend(name="b", transport=config.HttpTransport(url=url)),
            connect=lambda setup: connect_http(
                config.HttpTransport(url=url),
                setup.config.timeouts,
                setup.config.limits,
                terms(memory=setup.memory),
                on_notification=setup.notification_handler,
                tools=setup.tools,
            ),
            observer=self,
            identity=Identity(IDENTITY),
            on_event=self.events.append,
        )

    def changed(self, backend: Backend) -> None:
        """Nothing to route here."""

    def announced(self, backend: Backend, note: object) -> None:
        """Nobody has subscribed."""

    @property
    def tools(self) -> dict[str, Any]:
        return {
            item.identity: json.loads(bytes(item.definition))
            for item in self.backend.listings[TOOLS].items
        }

    async def call(self, name: str, **arguments: Any) -> Any:
        params = {"name": raw(name), "arguments": raw(arguments)}
        answer = await answer_of(await self.backend.open(Call("tools/call", params, caller())))
        assert isinstance(answer, Response), answer
        return json.loads(bytes(answer.result))


@asynccontextmanager
async def up(server: Modern) -> AsyncIterator[World]:
    with trio.fail_after(LIMIT):
        async with serving(server) as url, trio.open_nursery() as nursery:
            world = World(url)
            await nursery.start(world.backend.serve)
            await world.backend.wait_ready()
            yield world
            nursery.cancel_scope.cancel()


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties}}


def mirrored(header: str) -> dict[str, Any]:
    return {"type": "string", "x-mcp-header": header}


@pytest.mark.requirement("basic/transports/streamable-http#client-behavior-2")
async def test_a_tool_that_has_changed_unannounced_is_found_out_by_a_refused_call() -> None:
    header = "Region"

    async def listed(visit: Visit) -> None:
        await visit.result({"tools": [tool("sql", region=mirrored(header))]})

    async def called(visit: Visit) -> None:
        if f"mcp-param-{header.lower()}" in visit.headers:
            await visit.result({"content": []})
        else:
            await visit.error(-32020, 400)

    server = Modern(**{"tools/list": listed, "tools/call": called})
    async with up(server) as world:
        await world.call("sql", region="eu")
        header = "Zone"
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(lambda: world.call("sql", region="eu"))
        assert world.tools == {"sql": tool("sql", region=mirrored("Zone"))}
        refused = len(server.of("tools/call")) - 21
        assert 1 <= refused <= 20
        assert len(server.of("tools/list")) <= 3, "one at the start, and at most two for them all"


async def test_schemas_come_as_they_are_and_nothing_is_fetched_for_them() -> None:
    server = Modern()
    schema = {
        "$schema": DIALECT,
        "$id": "https://127.0.0.1:9/never",
        "type": "object",
        "$defs": {"id": {"$anchor": "id", "type": "string"}},
        "properties": {"id": {"$ref": "#/$defs/id"}, "x-unknown": {"vendor": [1.50, None]}},
        "allOf": [{"anyOf": [{"required": ["id"]}, {"required": ["x-unknown"]}]}],
        "if": {"required": ["id"]},
        "then": {"$dynamicRef": "#id"},
        "else": False,
        "additionalProperties": False,
    }

    async def listed(visit: Visit) -> None:
        canary = f"http://{visit.headers['host']}/canary.json"
        properties = {**schema["properties"], "profile": {"$ref": canary}}  # type: ignore[dict-item]
        whole = {**schema, "properties": properties, "x-mcp-headers": "not the keyword"}
        tools = [{"name": "t", "inputSchema": whole, "outputSchema": {"$ref": canary}}]
        await visit.result({"tools": tools})

    server.on("tools/list", listed)
    async with up(server) as world:
        (listed_as,) = world.tools.values()
        assert listed_as["inputSchema"]["properties"]["profile"]["$ref"].endswith("/canary.json")
        del listed_as["inputSchema"]["properties"]["profile"]
        assert listed_as["inputSchema"] == {**schema, "x-mcp-headers": "not the keyword"}
        await world.call("t", id="x", profile={})
    assert {visit.path for visit in server.visits} == {"/mcp"}
    assert server.of("GET") == []


async def test_invalid_annotations_cost_a_tool_alone_and_are_told() -> None:
    async def listed(visit: Visit) -> None:
        good, bad = tool("good", r=mirrored("Region")), tool("bad", r=mirrored("Re gion"))
        await visit.result({"tools": [bad, good]})

    async with up(Modern(**{"tools/list": listed})) as world:
        assert [*world.tools] == ["good"]
        (rejected,) = [each for each in world.events if isinstance(each, ItemRejected)]
        assert (rejected.backend, rejected.item) == ("b", "bad")
        assert "x-mcp-header of r is not an HTTP field name token" in rejected.reason
