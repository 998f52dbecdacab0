"""Named views: what isn't in one is neither listed nor reachable nor notified."""

from __future__ import annotations

import contextlib
import gc
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from onemcp import config
from onemcp.auth import parse_scopes
from onemcp.backend import Caller
from onemcp.multiplexer import ALL_LISTS, Arrangement, ConflictsChanged, Subscriber, View
from onemcp.multiplexer.multiplexer import KEPT_VIEWS
from onemcp.multiplexer.table import Conflict
from onemcp.protocol.errors import InvalidParams, MethodNotFound, ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    decoded,
    legacy,
    modern,
    resource,
    template,
    tool,
)
from tests.multiplexer.parked import bench, question

TOOLS = "notifications/tools/list_changed"
PROMPTS = "notifications/prompts/list_changed"
RESOURCES = "notifications/resources/list_changed"
UPDATED = "notifications/resources/updated"


def tickets() -> Server:
    return Server(
        "tickets",
        instructions="Mind the queue.",
        tools=[tool("search", title="T", description="D"), tool("close"), tool("delete_all")],
        prompts=[{"name": "answer"}, {"name": "blame"}],
        resources=[resource("t://open/1"), resource("t://secret/1")],
        resourceTemplates=[template("t://open/{id}"), template("t://{+any}")],
    )


def docs() -> Server:
    return Server("docs", tools=[tool("search"), tool("edit")], resources=[resource("d://a")])


def arrange(world: World, *views: config.View, **backends: dict[str, Any]) -> None:
    """Put views in force over the backends there are, with more about some of these."""
    known = [
        attrs.evolve(backend.config, **backends.get(name, {}))
        for name, backend in world.multiplexer.backends.items()
    ]
    configuration = config.Configuration(backends=known, views=views)
    world.multiplexer.arrange(Arrangement.of(configuration))


SUPPORT = config.View(
    name="support",
    backends=["tickets"],
    tools=config.WordedPatterns(
        deny=["delete_*"],
        override={"tickets/search": config.Wording(description="Look here first.")},
    ),
    prompts=config.WordedPatterns(allow=["tickets/answer"]),
    resources=config.Patterns(allow=["t://open/*"]),
)


async def names(view: View, kind: str, key: str = "name", **more: Any) -> list[str]:
    method = {"resourceTemplates": "resources/templates/list"}.get(kind, f"{kind}/list")
    return [item[key] for item in (await ask(view, method, **more))[kind]]


async def heard(subscriber: Subscriber) -> list[str]:
    """Receive what has come once all is quiet and backends would have been asked again."""
    await trio.sleep(10)
    found: list[str] = []
    with trio.move_on_after(1), contextlib.suppress(trio.EndOfChannel):
        while True:
            found.append((await subscriber.receive()).method)
    return found


async def refusal(view: View, method: str, caller: Caller | None = None, **params: Any) -> Any:
    with pytest.raises(ProtocolError) as caught:
        await ask(view, method, params, caller)
    return decoded(caught.value.error)


async def test_a_view_lists_what_it_selects_in_its_own_words(world: World):
    await world.show(tickets(), docs())
    arrange(world, SUPPORT)
    view = world.view("support")
    listed = (await ask(view, "tools/list"))["tools"]
    assert [item["name"] for item in listed] == ["tickets__search", "tickets__close"]
    assert listed[0] == {**tool("tickets__search", title="T"), "description": "Look here first."}
    assert await names(view, "prompts") == ["tickets__answer"]
    assert await names(view, "resources", "uri") == ["t://open/1"]
    assert await names(view, "resourceTemplates", "uriTemplate") == ["t://open/{id}"]
    whole = world.multiplexer.view()
    assert whole is not None
    assert len(await names(whole, "tools")) == 5


async def test_what_is_not_in_a_view_is_as_what_has_never_been(world: World):
    servers = tickets(), docs()
    await world.show(*servers)
    arrange(world, SUPPORT)
    view = world.view("support")
    for method, kind, hidden in (
        ("tools/call", "tools", "tickets__delete_all"),
        ("tools/call", "tools", "docs__search"),
        ("prompts/get", "prompts", "tickets__blame"),
    ):
        told = await refusal(view, method, name=hidden)
        assert told == {"code": -32602, "message": f"Unknown {kind[:-1]}: {hidden}"}
        never = await refusal(view, method, name="never")
        assert never == {"code": -32602, "message": f"Unknown {kind[:-1]}: never"}
    for caller in (modern(), legacy()):
        for uri in ("t://secret/1", "d://a", "t://open/../secret/1", "x://never"):
            told = await refusal(view, "resources/read", caller, uri=uri)
            assert told["data"] == {"uri": uri}
            assert (
                told["message"]
                == (await refusal(view, "resources/read", caller, uri="?"))["message"]
            )
    for reference in (
        {"type": "ref/prompt", "name": "tickets__blame"},
        {"type": "ref/resource", "uri": "t://{+any}"},
        {"type": "ref/resource", "uri": "t://secret/1"},
        {"type": "ref/resource", "uri": "d://a"},
    ):
        assert (await refusal(view, "completion/complete", ref=reference))["code"] == -32602
    subscriber = await view.subscribe(ALL_LISTS)
    for uri in ("t://secret/1", "d://a"):
        with pytest.raises(ProtocolError):
            await view.subscribe_resource(subscriber, uri)
    subscriber.close()
    assert not servers[0].calls
    assert not servers[1].calls


async def test_what_is_in_a_view_is_called_by_its_backends_names(world: World):
    server = tickets()
    await world.show(server, docs())
    arrange(world, SUPPORT)
    view = world.view("support")
    await ask(view, "tools/call", {"name": "tickets__close", "arguments": {"a": 1}})
    await ask(view, "prompts/get", {"name": "tickets__answer"})
    await ask(view, "resources/read", {"uri": "t://open/77"})
    reference = {"type": "ref/resource", "uri": "t://open/{id}"}
    await ask(view, "completion/complete", {"ref": reference})
    assert [sent.get("name") or sent.get("uri") or sent["ref"]["uri"] for sent in server.sent] == [
        "close",
        "answer",
        "t://open/77",
        "t://open/{id}",
    ]


async def test_bare_names_can_be_in_conflict_which_is_reported(world: World):
    await world.show(tickets(), docs())
    bare = config.View(name="bare", tools=config.WordedPatterns(deny=["edit"]), prefix=False)
    arrange(world, bare)
    view = world.view("bare")
    assert await names(view, "tools") == ["search", "close", "delete_all"]
    conflict = Conflict("tools", "search", "tickets", "docs", "bare")
    assert world.multiplexer.conflicts == (conflict,)
    assert world.events[-1] == ConflictsChanged((conflict,))
    arrange(world, attrs.evolve(bare, backends=["docs"]))
    assert await names(view, "tools") == ["search"]
    assert world.multiplexer.conflicts == ()


async def test_views_select_by_tags_and_names_together(world: World):
    await world.show(tickets(), docs(), Server("third", tools=[tool("t")]))
    tagged = config.View(name="v", backends=["third"], tags=["staff"])
    arrange(world, tagged, docs={"tags": ["staff"]})
    assert await names(world.view("v"), "tools") == ["docs__search", "docs__edit", "third__t"]
    arrange(world, config.View(name="v", backends=[]))
    assert [backend.name for backend in world.view("v").contents.backends] == []


# --- what is declared ------------------------------------------------------------------------


async def test_a_view_declares_what_it_can_show(world: World):
    await world.show(tickets(), docs())
    nothing = config.WordedPatterns(allow=[])
    only_tools = config.View(
        name="v",
        backends=["tickets"],
        prompts=nothing,
        resources=config.Patterns(deny=["*"]),
        instructions="Only this.",
    )
    arrange(world, only_tools)
    view = world.view("v")
    described = await ask(view, "server/discover")
    assert described["capabilities"] == {"logging": {}, "tools": {"listChanged": True}}
    assert described["instructions"] == "Only this."
    assert decoded(view.initialize("2025-11-25"))["instructions"] == "Only this."
    with pytest.raises(MethodNotFound):
        await ask(view, "prompts/list")
    with pytest.raises(MethodNotFound):
        await ask(view, "resources/read", {"uri": "t://open/1"})
    subscriber = await view.subscribe(ALL_LISTS, frozenset({"t://open/1"}))
    assert subscriber.lists == {TOOLS}
    assert not subscriber.uris
    subscriber.close()


async def test_without_own_instructions_a_view_tells_those_of_its_backends(world: World):
    await world.show(tickets(), Server("docs", instructions="Read."))
    arrange(world, SUPPORT)
    told = world.view("support").contents.instructions
    assert "Mind the queue." in told
    assert "Read." not in told


# --- a backend's own filter ------------------------------------------------------------------


async def test_what_a_backend_may_not_show_is_seen_nowhere(world: World):
    whole = await world.show(tickets(), docs())
    hidden = {"tools": config.Patterns(deny=["delete_*"]), "prompts": config.Patterns(allow=[])}
    arrange(world, config.View(name="all"), tickets=hidden)
    for view in (whole, world.view("all")):
        assert "tickets__delete_all" not in await names(view, "tools")
        assert await names(view, "prompts") == []
    assert await names(world.view("tickets"), "tools") == ["search", "close"]
    with pytest.raises(InvalidParams):
        await ask(whole, "tools/call", {"name": "tickets__delete_all"})


# --- changes ---------------------------------------------------------------------------------


async def test_a_changed_view_is_told_to_those_who_listen(world: World, autojump_clock: MockClock):
    await world.show(tickets(), docs())
    arrange(world, SUPPORT)
    subscriber = await world.view("support").subscribe(ALL_LISTS)
    arrange(world, SUPPORT)
    assert await heard(subscriber) == []
    arrange(world, attrs.evolve(SUPPORT, tools=config.WordedPatterns(deny=["delete_*"])))
    assert await heard(subscriber) == [TOOLS]
    arrange(world, attrs.evolve(SUPPORT, resources=config.Patterns(allow=["t://*"])))
    assert sorted(await heard(subscriber)) == [RESOURCES, TOOLS]
    subscriber.close()


async def test_changes_of_what_is_not_in_a_view_are_not_told_there(
    world: World, autojump_clock: MockClock
):
    ticketing, documents = tickets(), docs()
    whole_view = await world.show(ticketing, documents)
    arrange(world, SUPPORT)
    whole = await whole_view.subscribe(ALL_LISTS)
    support = await world.view("support").subscribe(ALL_LISTS)
    documents.lists["tools"] = [tool("new")]
    documents.announce(TOOLS)
    assert await heard(whole) == [TOOLS]
    assert await heard(support) == []
    ticketing.lists["tools"] = [*ticketing.lists["tools"], tool("delete_one")]
    ticketing.announce(TOOLS)
    assert await heard(whole) == [TOOLS]
    assert await heard(support) == []
    ticketing.lists["tools"] = [*ticketing.lists["tools"], tool("open")]
    ticketing.announce(TOOLS)
    assert await heard(support) == [TOOLS]
    whole.close()
    support.close()


async def test_a_removed_view_ends_its_subscriptions_and_shows_nothing(world: World):
    await world.show(tickets())
    arrange(world, SUPPORT)
    view = world.view("support")
    subscriber = await view.subscribe(ALL_LISTS)
    arrange(world)
    with pytest.raises(trio.EndOfChannel):
        await subscriber.receive()
    subscriber.close()
    assert world.multiplexer.view("support") is None
    with pytest.raises(MethodNotFound):
        await ask(view, "tools/call", {"name": "tickets__close"})
    arrange(world, SUPPORT)
    assert await names(view, "tools") == ["tickets__search", "tickets__close"]


async def test_a_resource_that_leaves_a_view_is_heard_of_no_more(
    world: World, autojump_clock: MockClock
):
    server = tickets()
    await world.show(server)
    arrange(world, SUPPORT)
    subscriber = await world.view("support").subscribe(
        frozenset(), frozenset({"t://open/1", "t://open/2"})
    )
    await trio.testing.wait_all_tasks_blocked()
    assert subscriber.uris == {"t://open/1", "t://open/2"} == server.subscribed
    server.announce(UPDATED, uri="t://open/1")
    arrange(world, attrs.evolve(SUPPORT, resources=config.Patterns(allow=["t://open/2*"])))
    await trio.testing.wait_all_tasks_blocked()
    assert subscriber.uris == {"t://open/2"} == server.subscribed
    server.announce(UPDATED, uri="t://open/1")
    assert await heard(subscriber) == []
    server.announce(UPDATED, uri="t://open/2")
    server.announce(UPDATED, uri="t://open/2/part")
    server.announce(UPDATED, uri="t://open/2/../1")
    assert await heard(subscriber) == [UPDATED, UPDATED]
    subscriber.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not server.subscribed


async def test_an_answer_that_comes_after_the_view_has_changed_subscribes_to_nothing(world: World):
    server = Server("tickets", revision="2025-11-25", resources=[resource("t://open/1")])
    server.handlers["resources/subscribe"] = lambda _: None
    await world.show(server)
    arrange(world, SUPPORT)
    view = world.view("support")
    subscriber = await view.subscribe(ALL_LISTS)
    async with trio.open_nursery() as nursery:

        async def subscribe() -> None:
            with pytest.raises(ProtocolError):
                await view.subscribe_resource(subscriber, "t://open/1")

        nursery.start_soon(subscribe)
        await trio.testing.wait_all_tasks_blocked()
        arrange(world, attrs.evolve(SUPPORT, resources=config.Patterns(allow=[])))
        server.handlers.clear()
        server.last.finish(Response(server.last.id, raw({})))
    await trio.testing.wait_all_tasks_blocked()
    assert not subscriber.uris
    assert not server.subscribed
    subscriber.close()


async def test_views_nobody_holds_are_forgotten_but_for_the_latest(world: World):
    await world.show(tickets())
    multiplexer = world.multiplexer
    for number in range(2 * KEPT_VIEWS):
        assert multiplexer.view(None, multiplexer.granted(parse_scopes([f"backend:{number}"])))
    gc.collect()
    assert len(multiplexer._in_use) <= KEPT_VIEWS + 2
    assert len(multiplexer._granted) <= KEPT_VIEWS


# --- what belongs to no list -----------------------------------------------------------------


async def test_methods_of_extensions_reach_only_backends_that_are_shown_whole(world: World):
    declared = {"tools": {}, "extensions": {"io.example/x": {}, "io.modelcontextprotocol/ui": {}}}
    server = Server("one", tools=[tool("a"), tool("b")], capabilities=declared)
    whole = await world.show(server)
    arrange(world, config.View(name="v", tools=config.WordedPatterns(deny=["b"])))
    assert (await ask(whole, "x/anything", {"name": "one__b"}))["said"] == "one"
    assert whole.contents.capabilities["extensions"].keys() == declared["extensions"].keys()
    view = world.view("v")
    assert view.contents.capabilities["extensions"] == {"io.modelcontextprotocol/ui": {}}
    for name in ("b", "one__b", "one__a"):
        assert (await refusal(view, "x/anything", name=name))["code"] == -32601
    assert len(server.calls) == 1


async def test_tasks_of_tools_that_are_not_shown_are_as_those_that_never_were(world: World):
    extension = {"io.modelcontextprotocol/tasks": {}}
    server = Server(
        "one", tools=[tool("a"), tool("b")], capabilities={"tools": {}, "extensions": extension}
    )
    await world.show(server)
    arrange(world, config.View(name="v"))
    view, caller = world.view("v"), modern(capabilities=raw({"extensions": extension}))
    created = {"resultType": "task", "taskId": "t", "status": "working"}
    server.handlers["tools/call"] = lambda exchange: exchange.finish(
        Response(exchange.id, raw(created))
    )
    ids = {
        name: (await ask(view, "tools/call", {"name": f"one__{name}"}, caller))["taskId"]
        for name in ("a", "b")
    }
    for task_id in ids.values():
        await ask(view, "tasks/get", {"taskId": task_id}, caller)
    arrange(world, config.View(name="v", tools=config.WordedPatterns(deny=["b"])))
    await ask(view, "tasks/get", {"taskId": ids["a"]}, caller)
    server.calls.clear()
    hidden = await refusal(view, "tasks/get", caller, taskId=ids["b"])
    assert hidden == await refusal(view, "tasks/get", caller, taskId="never")
    subscriber = await view.subscribe(
        frozenset(), tasks={("one", "", "t"): ids["b"]}, caller=caller
    )
    server.announce("notifications/tasks", taskId="t", status="completed")
    await trio.testing.wait_all_tasks_blocked()
    assert not subscriber._pending
    subscriber.close()
    assert not server.calls


async def test_a_call_that_is_not_shown_any_more_stays_parked_until_it_is(
    world: World, autojump_clock: MockClock
):
    async with bench(world) as parked:
        state = await parked.client.call_asked(question())
        hidden = {"tools": config.Patterns(deny=["t"])}
        arrange(world, alpha=hidden)
        with pytest.raises(InvalidParams, match="Unknown tool: alpha__t"):
            await parked.client.retry(state)
        assert len(parked.parking) == 1
        arrange(world)
        parked.finish_soon()
        (answer,) = await parked.client.retry(state)
        assert decoded(answer.result)["resultType"] == "complete"


async def test_a_resource_that_is_not_shown_any_more_is_not_read_again(world: World):
    await world.show(tickets())
    arrange(world, SUPPORT)
    for caller in (modern(), modern()):
        told = await refusal(
            world.view("support"), "resources/read", caller, uri="d://a", requestState="x"
        )
        assert told["message"] == "Resource not found"
