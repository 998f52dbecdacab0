"""Subscriptions: what is granted, told, withheld and given back."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.multiplexer import ALL_LISTS, Reply, Subscriber, View
from onemcp.multiplexer.audience import Audience
from onemcp.multiplexer.subscriptions import MAX_PENDING, MAX_URIS, read_filter, unaddressed
from onemcp.protocol.errors import InvalidParams, Overloaded, RemoteError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    Server,
    World,
    decoded,
    failure,
    modern,
    nothing,
    resource,
    send,
    template,
    tool,
)

ID = "io.modelcontextprotocol/subscriptionId"
TOOLS = "notifications/tools/list_changed"
PROMPTS = "notifications/prompts/list_changed"
RESOURCES = "notifications/resources/list_changed"
UPDATED = "notifications/resources/updated"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
URI = "x://1"


async def listen(view: View, request_id: int | str = 7, **notifications: Any) -> Reply:
    params = raw({"notifications": notifications})
    return await view.dispatch(Request(request_id, "subscriptions/listen", params), modern())


async def granted(reply: Reply) -> dict[str, Any]:
    note = await reply.receive()
    assert isinstance(note, Notification)
    assert note.method == "notifications/subscriptions/acknowledged"
    return decoded(note.params)["notifications"]


async def heard(reply: Reply | Subscriber) -> list[str]:
    """Receive whatever has come until everything is quiet; updates by their URI."""
    notes: list[str] = []

    async def receive() -> None:
        while isinstance(note := await reply.receive(), Notification):
            notes.append(decoded(note.params).get("uri", note.method))

    await wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return notes


def update(uri: str) -> Notification:
    return Notification(UPDATED, raw({"uri": uri}))


# --- filters ---------------------------------------------------------------------------------


def test_a_filter_names_lists_and_resources():
    every = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    assert read_filter(every) == (ALL_LISTS, frozenset())
    assert read_filter({"toolsListChanged": False, "unheardOf": 5}) == (frozenset(), frozenset())
    uris = {"resourceSubscriptions": ["a:", "b:", "a:"]}
    assert read_filter(uris) == (frozenset(), frozenset({"a:", "b:"}))


@pytest.mark.parametrize(
    "source",
    [
        None,
        [],
        "all",
        {"toolsListChanged": 1},
        {"toolsListChanged": None},
        {"resourceSubscriptions": "x:"},
        {"resourceSubscriptions": None},
        {"resourceSubscriptions": [1]},
        {"resourceSubscriptions": [f"x:{number}" for number in range(MAX_URIS + 1)]},
    ],
)
async def test_a_malformed_filter_is_refused(world: World, source):
    view = await world.show(Server())
    with pytest.raises(InvalidParams) as caught:
        await send(view, "subscriptions/listen", {"notifications": source})
    assert caught.value.code == -32602


async def test_a_missing_filter_is_refused(world: World):
    view = await world.show(Server())
    with pytest.raises(InvalidParams):
        await send(view, "subscriptions/listen")


# --- acknowledgement, ids and the end --------------------------------------------------------


@pytest.mark.requirement(
    "basic/index#meta-15",
    "basic/patterns/subscriptions#acknowledgment-1",
    "basic/patterns/subscriptions#acknowledgment-2",
)
@pytest.mark.parametrize("request_id", [1, "sub-1"])
async def test_everything_carries_the_id_and_the_acknowledgement_comes_first(
    world: World, request_id: int | str
):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    reply = await listen(view, request_id, toolsListChanged=True)
    server.announce(TOOLS)
    await wait_all_tasks_blocked()
    notes = [await reply.receive(), await reply.receive()]
    assert [type(note) for note in notes] == [Notification, Notification]
    assert [note.method.rsplit("/", 1)[1] for note in notes] == ["acknowledged", "list_changed"]
    for note in notes:
        assert decoded(note.params)["_meta"] == {ID: request_id}
    world.multiplexer.stop()
    end = await reply.receive()
    assert isinstance(end, Response)
    assert end.id == request_id
    about = {ID: request_id, SERVER_INFO: {"name": "onemcp", "version": "1.2.3"}}
    assert decoded(end.result) == {"resultType": "complete", "_meta": about}


async def test_only_what_some_backend_has_is_granted(world: World):
    one = Server("one", capabilities={"tools": {}})
    two = Server("two", capabilities={"resources": {}}, resources=[resource(URI)])
    view = await world.show(one, two)
    every = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    reply = await listen(view, resourceSubscriptions=[URI, "y:"], **every)
    assert await granted(reply) == {"toolsListChanged": True, "resourcesListChanged": True}
    reply.close()


async def test_a_subscription_to_nothing_is_one_too(world: World):
    reply = await listen(await world.show(Server()))
    assert await granted(reply) == {}
    assert await heard(reply) == []
    reply.close()


async def test_nothing_is_asked_on_a_subscription(world: World):
    reply = await listen(await world.show(Server()))
    assert not reply.answer(Response(1, Raw(b"{}")))
    reply.close()


async def test_what_is_pending_is_told_before_the_end(world: World):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    reply = await listen(view, toolsListChanged=True)
    server.announce(TOOLS)
    await wait_all_tasks_blocked()
    world.multiplexer.stop()
    await granted(reply)
    assert await heard(reply) == [TOOLS]


async def test_what_changes_after_the_end_is_not_told():
    subscriber = Subscriber(ALL_LISTS)
    subscriber.end()
    subscriber.offer(Notification(TOOLS))
    with pytest.raises(trio.EndOfChannel):
        await subscriber.receive()
    subscriber.close()


async def test_whoever_receives_learns_that_another_task_has_closed(world: World):
    view = await world.show(Server())
    subscriber = await view.subscribe(ALL_LISTS)
    ended = []

    async def receive() -> None:
        with pytest.raises(trio.EndOfChannel):
            await subscriber.receive()
        ended.append(True)

    world.nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    subscriber.close()
    subscriber.close()
    await wait_all_tasks_blocked()
    assert ended == [True]


# --- what is told ----------------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/patterns/subscriptions#opening-a-stream-1",
    "server/utilities/logging#per-request-log-level-2",
)
async def test_nothing_is_told_that_was_not_asked_for(world: World):
    server = Server(tools=[tool("t")], resources=[resource(URI), resource("x://2")])
    view = await world.show(server)
    reply = await listen(view, promptsListChanged=True, resourceSubscriptions=[URI])
    await granted(reply)
    for method in (TOOLS, RESOURCES, PROMPTS):
        server.announce(method)
    server.announce(UPDATED, uri=URI)
    server.announce(UPDATED, uri="x://2")
    server.announce(UPDATED, uri=5)
    server.announce(UPDATED)
    assert sorted(await heard(reply)) == sorted([PROMPTS, URI])
    reply.close()


async def test_changes_are_coalesced_for_a_slow_subscriber(world: World, autojump_clock: MockClock):
    server = Server(tools=[tool("t")], resources=[resource(URI)])
    view = await world.show(server)
    reply = await listen(view, toolsListChanged=True, resourceSubscriptions=[URI])
    await granted(reply)
    for _ in range(50):
        server.announce(UPDATED, uri=URI)
        server.announce(TOOLS)
        await trio.sleep(60)
    assert sorted(await heard(reply)) == sorted([TOOLS, URI])
    server.announce(TOOLS)
    assert await heard(reply) == [TOOLS]
    reply.close()


async def test_every_subscriber_is_told_under_its_own_id(world: World):
    server = Server(tools=[tool("t")])
    view = await world.show(server)
    replies = [await listen(view, number, toolsListChanged=True) for number in (1, 2)]
    server.announce(TOOLS)
    await wait_all_tasks_blocked()
    for number, reply in enumerate(replies, 1):
        await granted(reply)
        note = await reply.receive()
        assert isinstance(note, Notification)
        assert decoded(note.params) == {"_meta": {ID: number}}
        reply.close()


async def test_an_update_of_a_part_is_one_of_the_whole(world: World):
    server = Server(resources=[resource("file:///dir"), resource("file:///other/")])
    view = await world.show(server)
    reply = await listen(view, resourceSubscriptions=["file:///dir", "file:///other/"])
    await granted(reply)
    told = ["file:///dir/a", "file:///dir#f", "file:///dir?q", "file:///other/b"]
    for uri in (*told, "file:///dirx", "file:///di", "file:///othe"):
        server.announce(UPDATED, uri=uri)
    assert await heard(reply) == told
    reply.close()


async def test_what_waits_for_a_subscriber_is_bounded():
    subscriber = Subscriber(frozenset(), frozenset({"x:/", ""}))
    for number in range(MAX_PENDING + 500):
        subscriber.offer(update(f"x:/{number}"))
    subscriber.offer(update("x:/0"))
    told = await heard(subscriber)
    assert len(told) == MAX_PENDING + 1
    assert told[-1] == "x:/"


async def test_a_backend_speaks_only_of_its_own_resources(world: World):
    one, two = Server("one", resources=[resource(URI)]), Server("two", resources=[resource(URI)])
    view = await world.show(one, two)
    reply = await listen(view, resourceSubscriptions=[URI])
    await granted(reply)
    two.announce(UPDATED, uri=URI)
    assert await heard(reply) == []
    one.announce(UPDATED, uri=URI)
    assert await heard(reply) == [URI]
    reply.close()


def test_the_id_of_onemcps_own_subscription_is_removed_and_nothing_else():
    note = Notification(UPDATED, raw({"uri": "x:", "_meta": {ID: 5, "a": 1}}))
    assert decoded(unaddressed(note).params) == {"uri": "x:", "_meta": {"a": 1}}
    only = Notification(UPDATED, raw({"uri": "x:", "_meta": {ID: 5}}))
    assert decoded(unaddressed(only).params) == {"uri": "x:"}
    without = Notification(UPDATED, raw({"uri": "x:"}))
    assert unaddressed(without) is without
    assert unaddressed(Notification(TOOLS, raw({"_meta": 5}))) == Notification(TOOLS)
    assert unaddressed(Notification(TOOLS, Raw(b"[]"))) == Notification(TOOLS)


def test_an_update_that_is_no_object_is_none_of_anybody():
    subscriber = Subscriber(ALL_LISTS, frozenset({"x:"}))
    subscriber.offer(Notification(UPDATED, Raw(b"[]")))
    subscriber.offer(Notification("notifications/unheard/of"))
    assert not subscriber._pending


# --- resources, upstream ---------------------------------------------------------------------


@pytest.mark.parametrize("revision", [LATEST_LEGACY, "2026-07-28"])
async def test_a_resource_is_subscribed_to_once_for_all_and_until_the_last_has_gone(
    world: World, revision: str
):
    server = Server(revision=revision, resources=[resource(URI)])
    view = await world.show(server)
    upstream = world.multiplexer.backends["alpha"].upstream
    replies = [await listen(view, resourceSubscriptions=[URI]) for _ in range(2)]
    await wait_all_tasks_blocked()
    assert server.subscribed == {URI}
    assert [await granted(reply) for reply in replies] == [{"resourceSubscriptions": [URI]}] * 2
    replies[0].close()
    await wait_all_tasks_blocked()
    assert upstream.wanted == server.subscribed == {URI}
    server.announce(UPDATED, uri=URI)
    assert await heard(replies[1]) == [URI]
    replies[1].close()
    await wait_all_tasks_blocked()
    assert upstream.wanted == server.subscribed == set()


async def test_a_legacy_client_subscribes_and_unsubscribes_by_resource(world: World):
    server = Server(resources=[resource(URI), resource("x://2")])
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)
    for _ in range(2):
        await view.subscribe_resource(subscriber, URI)
    await view.subscribe_resource(subscriber, "x://2")
    view.unsubscribe_resource(subscriber, URI)
    view.unsubscribe_resource(subscriber, URI)
    view.unsubscribe_resource(subscriber, "x://never")
    assert subscriber.uris == {"x://2"}
    assert world.multiplexer.backends["alpha"].upstream.wanted == {"x://2"}
    subscriber.close()
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()


async def test_subscribing_twice_at_once_counts_once(world: World):
    server = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    server.handlers["resources/subscribe"] = nothing
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)
    for _ in range(2):
        world.nursery.start_soon(view.subscribe_resource, subscriber, URI)
    await wait_all_tasks_blocked()
    server.last.finish(Response(server.last.id, Raw(b"{}")))
    await wait_all_tasks_blocked()
    assert subscriber.uris == {URI}
    view.unsubscribe_resource(subscriber, URI)
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()
    subscriber.close()


async def test_a_subscriber_that_closes_while_it_subscribes_leaves_nothing_behind(world: World):
    server = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    server.handlers["resources/subscribe"] = nothing
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)

    async def subscribe() -> None:
        with pytest.raises(RemoteError):
            await view.subscribe_resource(subscriber, URI)

    world.nursery.start_soon(subscribe)
    await wait_all_tasks_blocked()
    subscriber.close()
    server.last.finish(Response(server.last.id, Raw(b"{}")))
    await wait_all_tasks_blocked()
    assert subscriber.uris == set()
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()


async def test_what_nobody_offers_is_not_found_in_the_words_of_the_only_era_that_asks(
    world: World,
):
    server = Server(capabilities={"resources": {}}, resources=[resource(URI)])
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)
    with pytest.raises(RemoteError) as caught:
        await view.subscribe_resource(subscriber, URI)
    assert caught.value.code == -32002
    assert decoded(caught.value.error)["data"] == {"uri": URI}
    subscriber.close()


async def test_the_refusal_of_the_owner_travels_and_nothing_is_granted(world: World):
    server = Server(revision=LATEST_LEGACY, resources=[resource(URI)])
    server.handlers["resources/subscribe"] = failure(-1, "not that one")
    view = await world.show(server)
    subscriber = await view.subscribe(ALL_LISTS)
    with pytest.raises(RemoteError) as caught:
        await view.subscribe_resource(subscriber, URI)
    assert (caught.value.code, caught.value.message) == (-1, "not that one")
    subscriber.close()
    reply = await listen(view, resourceSubscriptions=[URI])
    assert await granted(reply) == {}
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()
    reply.close()


async def test_what_several_may_know_is_subscribed_to_at_all_of_them(world: World):
    templates = [template("x://{id}")]
    refusing = Server("refusing", revision=LATEST_LEGACY, resourceTemplates=templates)
    refusing.handlers["resources/subscribe"] = failure(-32002)
    one, two = (Server(name, resourceTemplates=templates) for name in ("one", "two"))
    view = await world.show(refusing, one, two)
    reply = await listen(view, resourceSubscriptions=[URI])
    assert await granted(reply) == {"resourceSubscriptions": [URI]}
    two.announce(UPDATED, uri=URI)
    assert await heard(reply) == [URI]
    reply.close()
    for backend in world.multiplexer.backends.values():
        assert backend.upstream.wanted == set()


async def test_a_legacy_client_can_not_subscribe_to_more_than_the_limit(world: World):
    view = await world.show(Server(resourceTemplates=[template("x:{id}")]))
    uris = frozenset(f"x:{number}" for number in range(MAX_URIS))
    subscriber = await view.subscribe(frozenset(), uris)
    assert subscriber.uris == uris
    await view.subscribe_resource(subscriber, "x:0")
    with pytest.raises(Overloaded):
        await view.subscribe_resource(subscriber, "x:more")
    subscriber.close()
    assert world.multiplexer.backends["alpha"].upstream.wanted == set()


async def test_a_backend_that_keeps_silent_holds_up_neither_the_others_nor_for_long(
    world: World, autojump_clock: MockClock
):
    silent = Server("silent", revision=LATEST_LEGACY, resources=[resource("a:"), resource("c:")])
    silent.handlers["resources/subscribe"] = nothing
    good = Server("good", resources=[resource("b:"), resource("d:")])
    view = await world.show(silent, good)
    reply = await listen(view, resourceSubscriptions=["a:", "b:", "c:", "d:"])
    assert await granted(reply) == {"resourceSubscriptions": ["b:", "d:"]}
    assert trio.current_time() == pytest.approx(10)
    assert world.multiplexer.backends["silent"].upstream.wanted == set()
    assert silent.calls
    assert all(exchange.finished for exchange in silent.calls)
    reply.close()


async def test_who_gives_up_while_subscribing_gives_back_what_was_granted_already(world: World):
    silent = Server("silent", revision=LATEST_LEGACY, resources=[resource("a:")])
    silent.handlers["resources/subscribe"] = nothing
    view = await world.show(silent, Server("good", resources=[resource("b:")]))
    upstream = world.multiplexer.backends["good"].upstream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(view.subscribe, ALL_LISTS, frozenset({"a:", "b:"}))
        await wait_all_tasks_blocked()
        assert upstream.wanted == {"b:"}
        nursery.cancel_scope.cancel()
    assert upstream.wanted == set()


async def test_a_legacy_client_is_told_when_the_backend_keeps_silent(
    world: World, autojump_clock: MockClock
):
    silent = Server(revision=LATEST_LEGACY, resources=[resource(URI)], call_timeout=3)
    silent.handlers["resources/subscribe"] = nothing
    view = await world.show(silent)
    subscriber = await view.subscribe(ALL_LISTS)
    with pytest.raises(Exception, match="'alpha' did not answer within 3 s"):
        await view.subscribe_resource(subscriber, URI)
    assert trio.current_time() == pytest.approx(3)
    subscriber.close()


async def test_a_subscription_outlives_the_backends_connection(world: World):
    for revision in (LATEST_LEGACY, "2026-07-28"):
        server = Server(revision=revision, resources=[resource(URI)])
        view = await world.show(server)
        reply = await listen(view, resourceSubscriptions=[URI])
        await granted(reply)
        await wait_all_tasks_blocked()
        server.subscribed.clear()
        server.crash(comes_back=True)
        await wait_all_tasks_blocked()
        assert server.subscribed == {URI}
        server.announce(UPDATED, uri=URI)
        assert await heard(reply) == [URI]
        reply.close()


async def test_an_audience_shows_how_many_listen(world: World):
    view = await world.show()
    audience = Audience(lambda _: None, view.contents)
    assert repr(audience) == "<Audience subscribers=0 resources=0>"
