"""Backends that come, go, change and are replaced, and what clients and operators hear of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from onemcp.admission import Limits
from onemcp.multiplexer import ALL_LISTS, Conflict, ConflictsChanged, Multiplexer, SelfDescription
from onemcp.multiplexer import Subscriber as AnySubscriber
from onemcp.protocol.errors import RemoteError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import Server, World, ask, failure, nothing, resource, tool
from tests.multiplexer.test_subscriptions import PROMPTS, RESOURCES, TOOLS, UPDATED, URI, heard


def renewed(server: Server, **more) -> Server:
    """Return a server of the same name, but of another configuration."""
    return Server(server.name, resources=[resource(URI)], **more)


def conflicts(world: World) -> list[tuple[Conflict, ...]]:
    return [event.conflicts for event in world.events if isinstance(event, ConflictsChanged)]


async def subscribed(world: World, *uris: str) -> AnySubscriber:
    view = world.multiplexer.view()
    assert view is not None
    return await view.subscribe(ALL_LISTS, frozenset(uris))


# --- views -----------------------------------------------------------------------------------


async def test_there_is_a_view_of_each_backend_and_of_all(world: World):
    whole = await world.show(Server("one"), Server("two"))
    assert [backend.name for backend in whole.contents.backends] == ["one", "two"]
    assert [backend.name for backend in world.view("two").contents.backends] == ["two"]
    assert world.view("two") is world.view("two")
    assert world.multiplexer.view("three") is None


async def test_a_view_of_a_removed_backend_shows_nothing_and_ends_its_subscriptions(world: World):
    one = Server("one", tools=[tool("t")])
    await world.show(one, Server("two"))
    view = world.view("one")
    subscriber = await view.subscribe(ALL_LISTS)
    await world.show(Server("two"))
    with pytest.raises(trio.EndOfChannel):
        await subscriber.receive()
    subscriber.close()
    assert view.contents.backends == ()
    assert world.multiplexer.view("one") is None
    await world.show(one)
    assert world.view("one").contents.backends
    with pytest.raises(trio.EndOfChannel):
        await subscriber.receive()


async def test_another_separator_renames_everything_and_is_announced(world: World):
    view = await world.show(Server(tools=[tool("t")]))
    subscriber = await subscribed(world)
    identity = world.multiplexer.identity
    world.multiplexer.reconfigure(identity, separator="-", limits=Limits())
    assert [item["name"] for item in (await ask(view, "tools/list"))["tools"]] == ["alpha-t"]
    await ask(view, "tools/call", {"name": "alpha-t"})
    assert await heard(subscriber) == [TOOLS]
    subscriber.close()


# --- changed lists ---------------------------------------------------------------------------


@pytest.mark.requirement(
    "server/prompts#list-changed-notification-1", "server/resources#list-changed-notification-1"
)
async def test_a_backend_that_comes_and_goes_changes_the_lists_that_it_is_in(world: World):
    one, two = Server("one", tools=[tool("t")]), Server("two", resources=[resource(URI)])
    await world.show(one)
    subscriber = await subscribed(world)
    await world.show(one, two)
    assert await heard(subscriber) == [RESOURCES]
    await world.show(two)
    assert await heard(subscriber) == [TOOLS]
    await world.show(two, Server("empty"))
    assert await heard(subscriber) == []
    subscriber.close()


async def test_the_first_lists_of_a_backend_are_a_change_for_those_who_were_there_before(
    world: World,
):
    coming = Server("coming", tools=[tool("t")], prompts=[{"name": "p"}])
    coming.gate = trio.Event()
    await world.show(coming, wait=False)
    whole, alone = await subscribed(world), await world.view("coming").subscribe(ALL_LISTS)
    coming.gate.set()
    assert sorted(await heard(whole)) == sorted(await heard(alone)) == [PROMPTS, TOOLS]
    whole.close()
    alone.close()


async def test_a_restart_with_equal_lists_is_no_change_and_one_with_others_is(world: World):
    server = Server(tools=[tool("t")])
    await world.show(server)
    subscriber = await subscribed(world)
    server.crash(comes_back=True)
    await world.multiplexer.backends["alpha"].wait_ready()
    assert await heard(subscriber) == []
    server.lists["tools"] = [tool("u")]
    server.crash(comes_back=True)
    assert await heard(subscriber) == [TOOLS]
    subscriber.close()


async def test_a_backend_given_up_takes_its_names_along(world: World):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    subscriber = await subscribed(world)
    server.crash()
    assert await heard(subscriber) == []
    world.multiplexer.backends["alpha"].give_up()
    assert await heard(subscriber) == [TOOLS]
    assert (await ask(view, "tools/list"))["tools"] == []
    subscriber.close()


@pytest.mark.requirement("server/resources#list-changed-notification-1")
async def test_what_a_backend_announces_is_relayed_once_in_the_views_that_show_it(world: World):
    one, two = Server("one", tools=[tool("t")]), Server("two", tools=[tool("t")])
    await world.show(one, two)
    subscribers = [
        await subscribed(world),
        await world.view("one").subscribe(ALL_LISTS),
        await world.view("two").subscribe(ALL_LISTS),
    ]
    one.lists["tools"] = [tool("u")]
    one.announce(TOOLS)
    assert [await heard(each) for each in subscribers] == [[TOOLS], [TOOLS], []]
    for each in subscribers:
        each.close()


async def test_what_backends_of_another_time_say_reaches_nobody(world: World):
    server = Server(tools=[tool("t")], resources=[resource(URI)])
    await world.show(server)
    old = world.multiplexer.backends["alpha"]
    await world.show(renewed(server))
    subscriber = await subscribed(world, URI)
    table = world.view("alpha").contents.table
    world.multiplexer.announced(old, Notification(UPDATED, raw({"uri": URI})))
    world.multiplexer.changed(old)
    assert await heard(subscriber) == []
    assert world.view("alpha").contents.table is table
    subscriber.close()


# --- conflicts -------------------------------------------------------------------------------


async def test_conflicts_are_reported_when_they_change_and_when_they_end(world: World):
    one, two = Server("one", resources=[resource(URI)]), Server("two", resources=[resource(URI)])
    await world.show(one)
    assert conflicts(world) == []
    await world.show(one, two)
    conflict = Conflict("resources", URI, "one", "two")
    assert conflicts(world) == [(conflict,)]
    assert world.multiplexer.conflicts == (conflict,)
    two.crash(comes_back=True)
    await wait_all_tasks_blocked()
    await world.show(two, one)
    assert conflicts(world)[1:] == [(Conflict("resources", URI, "two", "one"),)]
    await world.show(two)
    assert conflicts(world)[2:] == [()]


async def test_without_an_observer_conflicts_are_kept_all_the_same(nursery: trio.Nursery):
    world = World(nursery)
    world.multiplexer = Multiplexer(SelfDescription("x", "1"))
    servers = [Server(name, prefix="", tools=[tool("t")]) for name in ("one", "two")]
    await world.show(*servers)
    assert world.multiplexer.conflicts == (Conflict("tools", "t", "one", "two"),)


# --- subscriptions of backends that are replaced ---------------------------------------------


@pytest.mark.parametrize("revision", [LATEST_LEGACY, "2026-07-28"])
async def test_a_backend_that_replaces_another_takes_over_its_subscriptions(
    world: World, revision: str
):
    old = Server(revision=revision, resources=[resource(URI)])
    await world.show(old)
    subscriber = await subscribed(world, URI)
    new = renewed(old, revision=revision)
    await world.show(new)
    await wait_all_tasks_blocked()
    assert new.subscribed == {URI}
    assert await heard(subscriber) == [RESOURCES]  # listed anew
    new.announce(UPDATED, uri=URI)
    assert await heard(subscriber) == [URI]
    subscriber.close()
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()


async def test_a_backend_that_comes_again_after_it_was_removed_owes_nothing_to_the_past(
    world: World,
):
    server = Server(resources=[resource(URI)])
    await world.show(server)
    early = await subscribed(world, URI)
    await world.show()
    await world.show(server)
    late = await subscribed(world, URI)
    early.close()
    assert world.multiplexer.backends["alpha"].upstream.wanted == {URI}
    server.announce(UPDATED, uri=URI)
    assert await heard(late) == [URI]
    late.close()
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()


@pytest.mark.parametrize("refused", [True, False])
async def test_a_subscription_made_while_its_backend_is_replaced_is_counted_rightly(
    world: World, *, refused: bool
):
    old = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    old.handlers["resources/subscribe"] = nothing
    view = await world.show(old)
    subscriber = await view.subscribe(ALL_LISTS)

    async def subscribe() -> None:
        try:
            await view.subscribe_resource(subscriber, URI)
        except RemoteError:
            assert refused

    world.nursery.start_soon(subscribe)
    await wait_all_tasks_blocked()
    exchange, scope = old.last, world.scopes.pop("alpha")
    await world.show(renewed(old))
    if refused:
        failure(-1)(exchange)
    else:
        exchange.finish(Response(exchange.id, raw({})))
    await wait_all_tasks_blocked()
    upstream = world.multiplexer.backends["alpha"].upstream
    assert upstream.wanted == subscriber.uris
    subscriber.close()
    assert upstream.wanted == set()
    scope.cancel()


async def test_a_subscription_made_while_its_backend_is_removed_is_not_granted(world: World):
    server = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    server.handlers["resources/subscribe"] = nothing
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)

    async def subscribe() -> None:
        with pytest.raises(RemoteError):
            await view.subscribe_resource(subscriber, URI)

    world.nursery.start_soon(subscribe)
    await wait_all_tasks_blocked()
    exchange, scope = server.last, world.scopes.pop("alpha")
    await world.show()
    exchange.finish(Response(exchange.id, raw({})))
    await wait_all_tasks_blocked()
    assert subscriber.uris == set()
    subscriber.close()
    scope.cancel()
