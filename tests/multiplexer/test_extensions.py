"""Extensions that onemcp knows nothing of, and MCP Apps: carried, not understood."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from onemcp.protocol.errors import MethodNotFound
from onemcp.protocol.fields import raw
from onemcp.protocol.methods import REQUESTS
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    decoded,
    legacy,
    modern,
    receive_all,
    resource,
    result,
    send,
    tool,
)

TASKS = {"io.modelcontextprotocol/tasks": {}}
APPS = {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
FINDING = {"com.example/finding": {"depth": 3}}
FIND = "com.example/find"


def extended(name: str, extensions: dict[str, Any] | None = None, **more: Any) -> Server:
    declared = {"tools": {}, "prompts": {}, "resources": {}}
    declared["extensions"] = FINDING if extensions is None else extensions
    lists = {"tools": [tool("t")], "resources": [resource(f"x://{name}")]}
    return Server(name, capabilities=declared, **{**lists, **more})


async def test_a_method_goes_where_a_name_or_a_uri_leads(world: World):
    one, two = extended("one"), extended("two", prompts=[{"name": "t"}])
    view = await world.show(one, two)
    for params, expected in (
        ({"name": "two__t", "more": {"x": [1]}}, {"name": "t", "more": {"x": [1]}}),
        ({"uri": "x://two"}, {"uri": "x://two"}),
        ({"uri": "x://two", "name": "two__t"}, {"uri": "x://two", "name": "t"}),
    ):
        found = await ask(view, FIND, params)
        assert found["said"] == "two"
        sent = {key: value for key, value in two.sent[-1].items() if key != "_meta"}
        assert sent == expected
    assert (one.calls, two.last.call.method) == ([], FIND)


async def test_a_method_goes_where_the_id_of_a_task_leads(world: World):
    one, two = extended("one"), extended("two", {**FINDING, **TASKS})
    two.handlers["tools/call"] = result({"resultType": "task", "taskId": "t-1"})
    view = await world.show(one, two)
    able = {"capabilities": raw({"extensions": TASKS})}
    task = (await ask(view, "tools/call", {"name": "two__t"}, modern(**able)))["taskId"]
    assert (await ask(view, FIND, {"taskId": task}, modern(**able)))["said"] == "two"
    assert two.sent[-1]["taskId"] == "t-1"
    with pytest.raises(MethodNotFound):
        await send(view, FIND, {"taskId": "t-1"}, modern(**able))


@pytest.mark.parametrize("client", [modern, legacy])
@pytest.mark.parametrize("declared", [{"extensions": FINDING}, {"experimental": {"finding": {}}}])
async def test_where_one_backend_alone_can_be_meant_nothing_has_to_lead_there(
    world: World, client: Any, declared: dict[str, Any]
):
    one = Server("one", capabilities={"tools": {}, **declared}, tools=[tool("t")])
    two = extended("two", {**TASKS, **APPS})
    view = await world.show(one, two)
    assert (await ask(view, FIND, {"name": "two__t"}, client()))["said"] == "one"
    assert one.sent[-1]["name"] == "two__t", "it leads to who can't be meant"


@pytest.mark.parametrize(
    "params", [{}, {"name": "unknown"}, {"uri": "x://one", "name": "two__t"}, {"name": 5}]
)
async def test_a_method_is_refused_where_nothing_tells_which_backend_is_meant(
    world: World, params: dict[str, Any]
):
    view = await world.show(extended("one"), extended("two"))
    with pytest.raises(MethodNotFound, match="tells which backend"):
        await send(view, FIND, params)
    assert (await ask(world.view("two"), FIND, params))["said"] == "two"


async def test_a_name_that_two_kinds_of_things_have_must_be_the_same_there(world: World):
    one = extended("one", prefix="", tools=[tool("two__t")])
    two = extended("two", prompts=[{"name": "t"}], tools=[])
    view = await world.show(one, two)
    with pytest.raises(MethodNotFound, match="tells which backend"):
        await send(view, FIND, {"name": "two__t"})


@pytest.mark.parametrize("method", sorted({"ping", "tasks/list", "logging/setLevel"} & REQUESTS))
async def test_methods_of_other_revisions_are_no_extensions(world: World, method: str):
    view = await world.show(extended("one"))
    with pytest.raises(MethodNotFound):
        await send(view, method, {})


@pytest.mark.parametrize("client", [modern, legacy])
async def test_tools_for_apps_alone_are_left_to_hosts_whatever_they_declare(
    world: World, client: Any
):
    ui = {"resourceUri": "ui://one/x", "visibility": ["app"]}
    view = await world.show(extended("one", APPS, tools=[tool("t", _meta={"ui": ui})], prefix=""))
    for declared in ({}, {"extensions": APPS}):
        caller = client(capabilities=raw(declared))
        (listed,) = (await ask(view, "tools/list", {}, caller))["tools"]
        assert listed == tool("t", _meta={"ui": ui})
        assert (await ask(view, "tools/call", {"name": "t"}, caller))["said"] == "one"


async def test_without_extensions_there_are_no_other_methods(world: World):
    view = await world.show(extended("one", {**TASKS, **APPS}), Server("two"))
    with pytest.raises(MethodNotFound):
        await send(view, FIND, {"name": "one__t"})


async def test_what_a_client_declares_of_extensions_reaches_modern_backends(world: World):
    server = extended("one")
    view = await world.show(server)
    declared = Raw(b'{"extensions": {"com.example/finding": {"z": 1, "a": [null]}}}')
    await ask(view, "tools/call", {"name": "one__t"}, modern(capabilities=declared))
    sent = bytes(server.last.call.caller.capabilities)
    assert sent == bytes(declared)


async def test_settings_of_extensions_are_advertised_as_they_are(world: World):
    view = await world.show(extended("one"), extended("two", APPS))
    assert view.contents.capabilities["extensions"] == {**FINDING, **APPS}
    assert view.contents.declared(LATEST_LEGACY)["extensions"] == {**FINDING, **APPS}


# --- MCP Apps --------------------------------------------------------------------------------

UI = {"ui": {"resourceUri": "ui://one/view.html", "visibility": ["app"], "unheardOf": {"x": 1}}}
HTML = "text/html;profile=mcp-app"


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
@pytest.mark.parametrize("client", [modern, legacy])
async def test_apps_are_untouched(world: World, revision: str, client: Any):
    page = {"uri": "ui://one/view.html", "name": "view", "mimeType": HTML, "_meta": UI}
    one = extended("one", APPS, revision=revision, tools=[tool("show", _meta=UI)], resources=[page])
    content = {
        "uri": page["uri"],
        "mimeType": HTML,
        "text": "<b>",
        "_meta": {"ui": {"csp": {"connectDomains": ["https://api.example.com"]}}},
    }
    one.handlers["resources/read"] = result({"contents": [content]})
    one.handlers["tools/call"] = result({"content": [], "structuredContent": {}, "_meta": UI})
    view = await world.show(one, extended("two"))
    listed = (await ask(view, "tools/list", {}, client()))["tools"]
    assert listed[0] == {**tool("one__show"), "_meta": UI}
    assert (await ask(view, "resources/list", {}, client()))["resources"][0] == page
    read = await ask(view, "resources/read", {"uri": page["uri"]}, client())
    assert read["contents"] == [content]
    # What an app calls comes as any other call of its host.
    called = await ask(view, "tools/call", {"name": "one__show", "_meta": {"ui": {}}}, client())
    assert called["_meta"]["ui"] == UI["ui"]
    assert one.sent[-1]["_meta"]["ui"] == {}


@pytest.mark.parametrize("client", [modern, legacy])
async def test_members_that_onemcp_has_never_heard_of_arrive_byte_for_byte(
    world: World, client: Any
):
    one = extended("one")
    members = rb'"resultType":"complete","odd": {"a":1.50,"b":"\u00e9"},"_meta":{"x/y":[ 1 ]}'
    one.handlers["tools/call"] = result(Raw(b"{" + members + b"}"))
    view = await world.show(one)
    reply = await send(view, "tools/call", {"name": "one__t"}, client())
    answer = (await receive_all(reply))[-1]
    for member in (rb'{"a":1.50,"b":"\u00e9"}', b'{"x/y":[ 1 ]}'):
        assert member in bytes(answer.result)
    assert decoded(answer.result)["odd"]["a"] == 1.5
