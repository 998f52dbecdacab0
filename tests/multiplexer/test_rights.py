"""Callers who may see less: the same endpoint, a part of it, and what changes with their rights."""

from __future__ import annotations

import contextlib

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from onemcp import config
from onemcp.auth import parse_scopes
from onemcp.backend import Caller
from onemcp.multiplexer import ALL_LISTS, EVERYTHING, NOTHING, Selection, Subscriber, View
from onemcp.multiplexer.selection import Candidate, Filter, Pattern, Rule, intersection, union
from onemcp.protocol.errors import MethodNotFound, ProtocolError
from onemcp.protocol.methods import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from tests.multiplexer.fakes import Server, World, ask, modern, resource, template, tool
from tests.multiplexer.test_views import SUPPORT, arrange, docs, heard, names, tickets

LIST_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
READ_ONLY = {"annotations": {"readOnlyHint": True}}


def seen(world: World, *scopes: str, name: str | None = None) -> View:
    view = world.multiplexer.view(name, world.multiplexer.granted(parse_scopes(scopes)))
    assert view is not None
    return view


async def test_a_caller_sees_its_part_of_each_endpoint(world: World):
    await world.show(tickets(), docs())
    arrange(world, SUPPORT)
    some = ("tool:tickets/c*", "tool:docs/*")
    assert await names(seen(world, *some), "tools") == [
        "tickets__close",
        "docs__search",
        "docs__edit",
    ]
    assert await names(seen(world, *some, name="docs"), "tools") == ["search", "edit"]
    assert await names(seen(world, *some, name="support"), "tools") == ["tickets__close"]
    assert await names(seen(world, "view:support"), "prompts") == ["tickets__answer"]
    assert world.multiplexer.view("support", NOTHING) is None
    assert world.multiplexer.view("docs", Rule(frozenset({"tickets"}))) is None
    assert world.multiplexer.view("nowhere", Rule(frozenset({"tickets"}))) is None


async def test_with_fewer_rights_a_name_means_the_same(world: World):
    await world.show(
        Server("one", prefix="", tools=[tool("t", title="first")]),
        Server("two", prefix="", tools=[tool("t"), tool("u")]),
    )
    assert await names(seen(world, "backend:two"), "tools") == ["u"]
    assert await names(seen(world, "backend:one"), "tools") == ["t"]


async def test_what_depends_on_the_caller_is_private(world: World):
    server = Server("one", tools=[tool("t"), tool("r", **READ_ONLY)])
    server.hints = {"ttlMs": 5000, "cacheScope": "public"}
    whole = await world.show(server)
    assert (await ask(whole, "tools/list"))["cacheScope"] == "public"
    listed = await ask(seen(world, "mcp:read"), "tools/list")
    assert [item["name"] for item in listed["tools"]] == ["one__r"]
    assert listed["cacheScope"] == "private"
    assert listed["ttlMs"] == 5000


async def test_the_list_of_a_visibility_is_written_once(world: World):
    await world.show(tickets(), docs())
    one, other = seen(world, "backend:docs"), seen(world, "backend:docs", "nonsense")
    assert one is other
    first, second = (one.contents.page(TOOLS, {}, modern()) for _ in range(2))
    assert first is second


async def test_a_part_follows_the_whole(world: World, autojump_clock: MockClock):
    documents = docs()
    await world.show(tickets(), documents)
    view = seen(world, "backend:docs")
    subscriber = await view.subscribe(ALL_LISTS)
    documents.lists["tools"] = [tool("new")]
    documents.announce(LIST_CHANGED)
    assert await heard(subscriber) == [LIST_CHANGED]
    assert await names(view, "tools") == ["docs__new"]
    await world.show(tickets())
    assert LIST_CHANGED in await heard(subscriber)
    with pytest.raises(MethodNotFound):
        await names(view, "tools")
    subscriber.close()


# --- rights that change ----------------------------------------------------------------------


async def listening(view: View, caller: Caller, *uris: str) -> Subscriber:
    return await view.subscribe(ALL_LISTS, frozenset(uris), caller=caller)


async def test_changed_rights_are_those_of_live_subscribers_at_once(
    world: World, autojump_clock: MockClock
):
    ticketing, documents = tickets(), docs()
    await world.show(ticketing, documents)
    ada, bob = modern(), attrs.evolve(modern(), principal="bob")
    whole = seen(world, "mcp")
    hers = await listening(whole, ada, "d://a", "t://open/1")
    his = await listening(whole, bob, "d://a")
    nobodys = await whole.subscribe(ALL_LISTS)
    documents.announce(UPDATED, uri="d://a")
    only_tickets = world.multiplexer.granted(parse_scopes(["backend:tickets"]))

    def granted(caller: Caller) -> Selection | None:
        return only_tickets if caller.principal == "ada" else None

    world.multiplexer.regrant(granted)
    await trio.testing.wait_all_tasks_blocked()
    assert hers.uris == {"t://open/1"}
    assert hers.view is seen(world, "backend:tickets")
    assert his.view is nobodys.view is whole
    assert UPDATED not in await heard(hers)
    assert await heard(his) == [UPDATED]
    documents.announce(UPDATED, uri="d://a")
    documents.lists["tools"] = [tool("new")]
    documents.announce(LIST_CHANGED)
    assert await heard(hers) == []
    assert sorted(await heard(his)) == sorted([UPDATED, LIST_CHANGED])
    ticketing.announce(UPDATED, uri="t://open/1")
    assert await heard(hers) == [UPDATED]
    world.multiplexer.regrant(lambda _: EVERYTHING)
    assert hers.view is whole
    assert LIST_CHANGED in await heard(hers)
    for subscriber in (hers, his, nobodys):
        subscriber.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not ticketing.subscribed
    assert not documents.subscribed


async def test_who_may_see_nothing_any_more_hears_nothing_any_more(
    world: World, autojump_clock: MockClock
):
    await world.show(tickets(), docs())
    ended = [
        await listening(seen(world, "mcp"), modern()),
        await listening(seen(world, "mcp", name="docs"), modern()),
    ]
    kept = await listening(seen(world, "mcp", name="tickets"), modern())
    world.multiplexer.regrant(lambda _: Rule(frozenset({"tickets"})))
    assert ended[0].view is seen(world, "backend:tickets")
    with pytest.raises(trio.EndOfChannel):
        await ended[1].receive()
    world.multiplexer.regrant(lambda _: NOTHING)
    for subscriber in (ended[0], kept):
        await heard(subscriber)
        with pytest.raises(trio.EndOfChannel):
            await subscriber.receive()
    for subscriber in (*ended, kept):
        subscriber.close()


async def test_a_subscriber_is_not_taken_over_twice(world: World):
    await world.show(docs())
    subscriber = Subscriber(ALL_LISTS)
    view = seen(world, "mcp")
    view.adopt(subscriber)
    assert not view.subscribers


# --- whatever isn't selected -----------------------------------------------------------------

OWN = ("a", "b_read", "b_write", "c/d")
URIS = ("x://a", "x://b/c", "x://b/{d}")
GLOBS = st.sampled_from(["*", "a", "b*", "*_read", "c/*", "x://*", "x://b/*", "?"])
PATTERNS = st.builds(Pattern, GLOBS, st.sampled_from(["*", "one", "t*"]))
FILTERS = st.builds(
    Filter,
    st.none() | st.lists(PATTERNS, max_size=2).map(tuple),
    st.lists(PATTERNS, max_size=1).map(tuple),
)
RULES = st.builds(
    Rule,
    st.none() | st.frozensets(st.sampled_from(["one", "two"])),
    FILTERS,
    FILTERS,
    FILTERS,
    st.booleans(),
)
SELECTIONS = st.lists(RULES, min_size=1, max_size=2).map(intersection) | st.lists(
    RULES, max_size=2
).map(union)


def catalogue(draw: st.DataObject, name: str) -> Server:
    own = draw.draw(st.lists(st.sampled_from(OWN), unique=True))
    return Server(
        name,
        tools=[tool(each, **(READ_ONLY if "read" in each else {})) for each in own],
        prompts=[{"name": each} for each in own],
        resources=[resource(f"{uri}#{name}") for uri in URIS[:2]],
        resourceTemplates=[template(f"{uri}#{name}") for uri in URIS[2:]],
    )


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_is_not_selected_is_out_of_reach(data: st.DataObject):
    trio.run(_check_reach, data, clock=trio.testing.MockClock(autojump_threshold=0))


async def _check_reach(data: st.DataObject) -> None:
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        servers = [catalogue(data, "one"), catalogue(data, "two")]
        await world.show(*servers)
        arrange(
            world,
            config.View(name="v", tools=config.WordedPatterns(deny=["one/b*"])),
            two={"prompts": config.Patterns(deny=["a"])},
        )
        rights = data.draw(SELECTIONS)
        name = data.draw(st.sampled_from([None, "v", "one"]))
        view = world.multiplexer.view(name, rights)
        if view is not None:
            await _check_view(view, name, rights, servers)
        nursery.cancel_scope.cancel()


def is_selected(item: Candidate, endpoint: str | None, rights: Selection) -> bool:
    if endpoint == "one" and item.backend != "one":
        return False
    if endpoint == "v" and item.kind is TOOLS and item.backend == "one" and item.name[0] == "b":
        return False
    if item.backend == "two" and item.kind is PROMPTS and item.name == "a":
        return False
    return rights.covers(item)


async def _check_view(
    view: View, endpoint: str | None, rights: Selection, servers: list[Server]
) -> None:
    declared = view.contents.capabilities
    for kind in (TOOLS, PROMPTS, RESOURCES, TEMPLATES):
        listed = set()
        if kind.capability in declared:
            page = await ask(view, kind.method)
            listed = {item[kind.identity] for item in page[kind.key]}
        for server in servers:
            for item in server.lists[kind.key]:
                own = item[kind.identity]
                definition = next(
                    each.definition
                    for each in view.multiplexer.backends[server.name].listings[kind].items
                    if each.identity == own
                )
                candidate = Candidate(server.name, kind, own, definition)
                selected = is_selected(candidate, endpoint, rights)
                named = kind in {TOOLS, PROMPTS} and endpoint != "one"
                shown = f"{server.name}__{own}" if named else own
                if kind in {TOOLS, PROMPTS} and endpoint == "one" and server.name == "two":
                    continue  # its bare names are those of the other one
                assert (shown in listed) == selected
                await _check_item(view, kind.key, shown, server, selected=selected)


async def _check_item(view: View, kind: str, shown: str, server: Server, *, selected: bool) -> None:
    """Ask for an item in every way there is; its server is asked if it may be."""
    asked = [("completion/complete", {"ref": {"type": "ref/resource", "uri": shown}})]
    match kind:
        case "tools":
            asked = [("tools/call", {"name": shown})]
        case "prompts":
            reference = {"type": "ref/prompt", "name": shown}
            asked = [("prompts/get", {"name": shown}), ("completion/complete", {"ref": reference})]
        case "resources":
            asked = [("resources/read", {"uri": shown})]
            subscriber = await view.subscribe(ALL_LISTS, frozenset({shown}))
            await trio.testing.wait_all_tasks_blocked()
            assert (shown in server.subscribed) == selected
            subscriber.close()
            await trio.testing.wait_all_tasks_blocked()
    for method, params in asked:
        server.calls.clear()
        with contextlib.suppress(ProtocolError):
            await ask(view, method, params)
        assert bool(server.calls) == selected, method
