"""One subscription at a backend for all of its clients, whatever becomes of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from onemcp.backend.attribution import INTERNAL
from onemcp.backend.upstream import ACKNOWLEDGE, ANSWER, RETRY_INITIAL, RETRY_MAXIMUM, Upstream
from onemcp.protocol.errors import DeadlineExceeded, Overloaded, RemoteError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Request, Response, notification
from onemcp.protocol.methods import PROMPTS, TOOLS
from tests.backend.core.fakes import (
    ALL_LISTS,
    EMPTY,
    SILENT,
    FakeConnection,
    acknowledgement,
    caller,
    content,
    failure,
    modern,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LISTEN = "subscriptions/listen"
RESOURCES = {"resources": {"subscribe": True}}
BOTH = ALL_LISTS | {"resources": {"subscribe": True, "listChanged": True}}


class Kept:
    """An upstream that is kept on a connection."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.heard: list = []
        self.upstream = Upstream(caller(INTERNAL), self.heard.append)
        self.scope = trio.CancelScope()
        self._nursery = nursery

    async def on(self, connection: FakeConnection) -> FakeConnection:
        connection.server = connection.description
        self.scope = trio.CancelScope()
        await self._nursery.start(self._keep, connection, self.scope)
        return connection

    async def _keep(self, connection, scope, *, task_status) -> None:
        with scope:
            await self.upstream.keep(connection, connection.description, task_status=task_status)


@pytest.fixture
async def kept(nursery) -> Kept:
    return Kept(nursery)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.001)


def uris(connection, method: str) -> list[str]:
    return [asked["uri"] for asked in connection.asked(method)]


# --- legacy ----------------------------------------------------------------------------------


@pytest.fixture
async def old(kept) -> FakeConnection:
    connection = FakeConnection(RESOURCES)
    connection.answers |= {"resources/subscribe": {}, "resources/unsubscribe": {}}
    return await kept.on(connection)


async def test_a_resource_is_subscribed_to_once_for_all(autojump_clock, kept, old):
    for _ in range(3):
        await kept.upstream.add("a")
    await settle()
    assert uris(old, "resources/subscribe") == ["a"]
    kept.upstream.remove("a")
    kept.upstream.remove("a")
    await settle()
    assert uris(old, "resources/unsubscribe") == []
    kept.upstream.remove("a")
    await settle()
    assert uris(old, "resources/unsubscribe") == ["a"]
    assert kept.upstream.wanted == frozenset()
    await kept.upstream.add("a")
    await settle()
    assert uris(old, "resources/subscribe") == ["a", "a"]


async def test_a_refusal_is_told_to_whoever_asked(autojump_clock, kept, old):
    old.answers["resources/subscribe"] = failure(-32002, "no such resource")
    with pytest.raises(RemoteError, match="no such resource"):
        await kept.upstream.add("a")
    assert kept.upstream.wanted == frozenset()
    await settle()
    assert uris(old, "resources/unsubscribe") == []


async def test_whoever_joins_an_attempt_learns_how_it_ends(autojump_clock, kept, old, nursery):
    old.answers["resources/subscribe"] = SILENT
    outcomes = []

    async def add() -> None:
        try:
            await kept.upstream.add("a")
            outcomes.append("subscribed")
        except RemoteError:
            outcomes.append("refused")

    for _ in range(3):
        nursery.start_soon(add)
    await settle()
    assert len(old.opened) == 1
    old.answers["resources/subscribe"] = {}
    old.opened[0].finish(failure())
    await settle()
    assert sorted(outcomes) == ["refused", "subscribed", "subscribed"]
    assert kept.upstream.wanted == {"a"}
    assert len(old.opened) == 2


async def test_whoever_gives_up_waiting_is_unsubscribed(autojump_clock, kept, old):
    old.answers["resources/subscribe"] = SILENT
    with trio.move_on_after(1):
        await kept.upstream.add("a")
    await settle()
    assert kept.upstream.wanted == frozenset()
    assert old.cancelled == old.opened[:1]
    assert uris(old, "resources/unsubscribe") == ["a"], "it may have been heard"


@pytest.mark.requirement("basic/patterns/cancellation#timeouts-1")
async def test_a_backend_that_doesn_t_answer_is_not_waited_for_for_ever(autojump_clock, kept, old):
    old.answers["resources/subscribe"] = SILENT
    started = trio.current_time()
    with pytest.raises(DeadlineExceeded):
        await kept.upstream.add("a")
    assert trio.current_time() - started == pytest.approx(ANSWER)
    await settle()
    assert uris(old, "resources/unsubscribe") == ["a"]


@pytest.mark.requirement("basic/patterns/subscriptions#graceful-closure-2")
async def test_subscriptions_survive_a_new_connection(autojump_clock, kept, old):
    await kept.upstream.add("b")
    await kept.upstream.add("a")
    kept.scope.cancel()
    await settle()
    await kept.upstream.add("c")
    kept.upstream.remove("b")
    again = FakeConnection(RESOURCES)
    again.answers["resources/subscribe"] = lambda call: (
        failure() if bytes(call.params["uri"]) == b'"a"' else {}
    )
    await kept.on(again)
    await settle()
    assert uris(again, "resources/subscribe") == ["a", "c"], "one refused doesn't stop the others"
    assert uris(again, "resources/unsubscribe") == []


async def test_before_there_is_a_connection_wanting_is_enough(autojump_clock, kept):
    await kept.upstream.add("a")
    assert kept.upstream.wanted == {"a"}
    kept.upstream.remove("a")
    kept.upstream.remove("never")
    assert kept.upstream.wanted == frozenset()


async def test_a_connection_that_is_lost_takes_its_attempts_along(autojump_clock, kept, old):
    old.server = None
    await kept.upstream.add("a")
    await settle()
    assert kept.upstream.wanted == {"a"}


async def test_without_a_connection_nothing_is_sent(kept):
    with pytest.raises(Exception, match="not connected"):
        await kept.upstream._request("resources/subscribe", "a")


async def test_an_attempt_of_an_old_connection_does_not_confuse_the_next(
    autojump_clock, kept, old, nursery
):
    old.answers["resources/subscribe"] = SILENT
    nursery.start_soon(kept.upstream.add, "a")
    await settle()
    kept.scope.cancel()
    await settle()
    again = FakeConnection(RESOURCES)
    again.answers["resources/subscribe"] = {}
    await kept.on(again)
    await settle()
    assert uris(again, "resources/subscribe") == ["a"]
    old.opened[0].finish(Response(1, EMPTY))
    await settle()
    await kept.upstream.add("a")
    assert len(again.opened) == 1


async def test_a_change_of_mind_during_a_request_is_followed(autojump_clock, kept, old, nursery):
    await kept.upstream.add("a")
    await kept.upstream.add("b")
    old.answers["resources/unsubscribe"] = SILENT
    kept.upstream.remove("a")
    kept.upstream.remove("b")
    await settle()
    assert uris(old, "resources/unsubscribe") == ["a"]
    await kept.upstream.add("b")
    old.waiting[0].finish(Response(1, EMPTY))
    await settle()
    assert uris(old, "resources/unsubscribe") == ["a"], "b is wanted again"


async def test_one_backend_takes_over_from_another(kept):
    other = Upstream(caller(INTERNAL), print)
    await other.add("a")
    await other.add("a")
    await kept.upstream.add("b")
    kept.upstream.adopt(other)
    assert kept.upstream.wanted == {"a", "b"}
    kept.upstream.remove("a")
    assert kept.upstream.wanted == {"a", "b"}
    kept.upstream.remove("a")
    assert kept.upstream.wanted == {"b"}


# --- modern ----------------------------------------------------------------------------------


def filters(connection) -> list[dict]:
    return [asked["notifications"] for asked in connection.asked(LISTEN)]


def acknowledge(connection) -> None:
    connection.waiting[-1].deliver(acknowledgement(connection.waiting[-1]))


@pytest.fixture
def listening(kept) -> Callable:
    async def start(**capabilities) -> FakeConnection:
        connection = await kept.on(modern(**(capabilities or BOTH)))
        if connection.opened:
            acknowledge(connection)
            await settle()
        return connection

    return start


async def test_one_listen_asks_for_everything_that_is_announced(autojump_clock, kept, listening):
    connection = await listening(**ALL_LISTS)
    assert filters(connection) == [
        {"toolsListChanged": True, "resourcesListChanged": True, "promptsListChanged": True}
    ]
    assert kept.upstream.hears_of(TOOLS)
    changed = notification("notifications/tools/list_changed", {})
    connection.opened[0].deliver(changed)
    await settle()
    assert kept.heard == [changed]


async def test_nothing_that_is_announced_is_nothing_to_ask_for(autojump_clock, kept):
    connection = await kept.on(modern(tools={}))
    await kept.upstream.add("a")
    await settle()
    assert connection.opened == []
    assert not kept.upstream.hears_of(TOOLS)


@pytest.mark.requirement("basic/patterns/subscriptions#acknowledgment-3")
async def test_what_the_backend_agrees_to_is_what_is_heard(autojump_clock, kept):
    connection = await kept.on(modern(**ALL_LISTS))
    stream = connection.opened[0]
    agreed = {"toolsListChanged": True, "promptsListChanged": False}
    stream.deliver(
        notification("notifications/subscriptions/acknowledged", {"notifications": agreed})
    )
    await settle()
    assert kept.upstream.hears_of(TOOLS)
    assert not kept.upstream.hears_of(PROMPTS)
    stream.deliver(notification("notifications/subscriptions/acknowledged", {"notifications": 5}))
    await settle()
    assert kept.upstream.hears_of(TOOLS)
    kept.scope.cancel()
    await settle()
    assert not kept.upstream.hears_of(TOOLS)


async def test_a_new_resource_is_listened_to_without_a_gap(autojump_clock, kept, listening):
    connection = await listening(**RESOURCES)
    assert connection.opened == []
    await kept.upstream.add("b")
    await settle()
    acknowledge(connection)
    await settle()
    await kept.upstream.add("a")
    await settle()
    old, new = connection.opened
    assert filters(connection) == [
        {"resourceSubscriptions": ["b"]},
        {"resourceSubscriptions": ["a", "b"]},
    ]
    assert not old.finished, "until the new one is acknowledged"
    acknowledge(connection)
    await settle()
    assert connection.cancelled == [old]
    assert not new.finished
    kept.upstream.remove("a")
    kept.upstream.remove("b")
    await settle()
    assert connection.cancelled == [old, new]
    assert len(connection.opened) == 2


async def test_changes_while_waiting_for_an_acknowledgement_are_gathered(
    autojump_clock, kept, listening
):
    connection = await listening(**RESOURCES)
    for number in range(5):
        await kept.upstream.add(f"u{number}")
        await settle()
    assert len(connection.opened) == 1
    acknowledge(connection)
    await settle()
    assert len(connection.opened) == 2
    assert filters(connection)[1] == {"resourceSubscriptions": [f"u{n}" for n in range(5)]}


async def test_wanting_and_unwanting_changes_nothing(autojump_clock, kept, listening):
    connection = await listening()
    await kept.upstream.add("a")
    kept.upstream.remove("a")
    await settle()
    assert len(connection.opened) == 1


async def test_a_backend_that_never_acknowledges_holds_nothing_up(autojump_clock, kept):
    connection = await kept.on(modern(**RESOURCES))
    await kept.upstream.add("a")
    await trio.sleep(ACKNOWLEDGE / 2)
    await kept.upstream.add("b")
    await settle()
    assert len(connection.opened) == 1
    await trio.sleep(ACKNOWLEDGE)
    assert filters(connection)[-1] == {"resourceSubscriptions": ["a", "b"]}
    await trio.sleep(ACKNOWLEDGE)
    assert connection.cancelled == connection.opened[:1]


async def test_a_subscription_that_ends_is_made_again_and_what_was_missed_is_announced(
    autojump_clock, kept, listening
):
    connection = await listening()
    await kept.upstream.add("u")
    await settle()
    acknowledge(connection)
    await settle()
    assert kept.heard == []
    connection.waiting[-1].finish(Response(1, EMPTY))
    await settle()
    assert not kept.upstream.hears_of(TOOLS)
    await trio.sleep(RETRY_INITIAL + 0.1)
    assert len(connection.opened) == 3
    assert kept.heard == []
    acknowledge(connection)
    await settle()
    assert [(note.method, content(note)) for note in kept.heard] == [
        ("notifications/prompts/list_changed", {}),
        ("notifications/resources/list_changed", {}),
        ("notifications/tools/list_changed", {}),
        ("notifications/resources/updated", {"uri": "u"}),
    ]
    assert kept.upstream.hears_of(TOOLS)


async def test_a_subscription_that_is_refused_is_tried_less_and_less(autojump_clock, kept):
    connection = modern(**ALL_LISTS)
    connection.answers[LISTEN] = failure(-32603)
    await kept.on(connection)
    times = []
    for _ in range(10):
        before, started = len(connection.opened), trio.current_time()
        while len(connection.opened) == before:  # noqa: ASYNC110 - time jumps
            await trio.sleep(0.5)
        times.append(trio.current_time() - started)
    assert times == pytest.approx([2, 4, 8, 16, 32, 60, 60, 60, 60, 60], abs=1)
    assert times[-1] == pytest.approx(RETRY_MAXIMUM, abs=1)


async def test_a_connection_that_takes_no_more_is_tried_again(autojump_clock, kept):
    connection = modern(**ALL_LISTS)
    connection.answers[LISTEN] = Overloaded("busy")
    await kept.on(connection)
    await trio.sleep(1)
    del connection.answers[LISTEN]
    await trio.sleep(60)
    assert len(connection.waiting) == 1


async def test_a_backend_without_the_method_is_not_asked_again(autojump_clock, kept):
    connection = modern(**BOTH)
    connection.answers[LISTEN] = failure(-32601)
    await kept.on(connection)
    await trio.sleep(10_000)
    assert len(connection.opened) == 1
    await kept.upstream.add("a")
    await settle()
    assert len(connection.opened) == 2, "unless something else is wanted"


@pytest.mark.requirement("basic/patterns/subscriptions#graceful-closure-2")
async def test_a_new_connection_is_listened_to(autojump_clock, kept, listening):
    first = await listening()
    await kept.upstream.add("u")
    await settle()
    acknowledge(first)
    kept.scope.cancel()
    await settle()
    assert first.waiting == []
    second = await kept.on(modern(**BOTH))
    assert filters(second)[0]["resourceSubscriptions"] == ["u"]


@pytest.mark.requirement("basic/transports/stdio#sending-messages-1")
async def test_requests_on_the_stream_are_passed_over(autojump_clock, kept, listening):
    connection = await listening()
    connection.opened[0].deliver(Request(1, "roots/list", raw({})))
    await settle()
    assert kept.heard == []
