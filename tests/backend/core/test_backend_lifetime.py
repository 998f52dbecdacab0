"""What lasts of a backend while its connections come and go."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from msgspec import Raw

from onemcp import config
from onemcp.backend import (
    Backend,
    BackendDown,
    BackendReady,
    BackendSessionEnded,
    ConnectionLost,
    HandshakeFailed,
    Identity,
    ItemRejected,
    ListFailed,
    Setup,
    ToolWithheld,
)
from onemcp.backend import keeping as module
from onemcp.backend import level as level_module
from onemcp.backend.attribution import INTERNAL
from onemcp.backend.backend import LOGIN_PAUSE
from onemcp.backend.connection import LoginRequired
from onemcp.protocol.errors import (
    BackendUnavailable,
    InvalidParams,
    Overloaded,
    ShuttingDown,
)
from onemcp.protocol.jsonrpc import Failure, Response, notification
from onemcp.protocol.methods import PROMPTS, TOOLS
from tests.backend.core.fakes import (
    EMPTY,
    IDENTITY,
    SILENT,
    FakeConnection,
    acknowledgement,
    call,
    caller,
    error_of,
    failure,
    modern,
    tools,
)

CHANGED = notification("notifications/tools/list_changed", {})
ANNOUNCING = {"tools": {"listChanged": True}}


class World:
    """A backend, those who watch it, and the connections it is going to make."""

    def __init__(self, nursery: trio.Nursery, **settings: Any) -> None:
        transport = settings.pop("transport", None) or config.StdioTransport(command="x")
        self.connections: list[FakeConnection] = []
        self.events: list[Any] = []
        self.changes = 0
        self.announcements: list[str] = []
        self.ends: list[BaseException] = []
        self._nursery = nursery
        self.backend = Backend(
            config.Backend(name="b", transport=transport, **settings),
            connect=self._connect,
            observer=self,
            identity=Identity(IDENTITY),
            on_event=self.events.append,
        )

    def _connect(self, setup: Setup) -> FakeConnection:
        self.setup = setup
        return self.connections[-1]

    def changed(self, backend: Backend) -> None:
        assert backend is self.backend
        self.changes += 1

    def announced(self, backend: Backend, note: Any) -> None:
        assert backend is self.backend
        self.announcements.append(note.method)

    async def start(self, connection: FakeConnection) -> FakeConnection:
        """Begin an incarnation, as a supervisor does."""
        self.connections.append(connection)
        await self._nursery.start(self._serve)
        return connection

    async def _serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await self.backend.serve(task_status=task_status)
        except ConnectionLost as reason:
            self.ends.append(reason)

    async def up(self, connection: FakeConnection | None = None) -> FakeConnection:
        connection = await self.start(connection or old())
        with trio.fail_after(1000):
            await self.backend.wait_ready()
        return connection

    def names(self, kind=TOOLS) -> list[str]:
        return [item.identity for item in self.backend.listings[kind].items]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def old(**capabilities: Any) -> FakeConnection:
    connection = FakeConnection(capabilities or {"tools": {}})
    connection.answers["tools/list"] = tools("t")
    return connection


@pytest.fixture
async def world(nursery) -> World:
    return World(nursery)


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.001)


# --- sessions --------------------------------------------------------------------------------


async def test_a_session_at_a_legacy_backend_is_told_of_when_it_is_over(autojump_clock, world):
    connection = await world.up()
    await trio.sleep(3600)
    connection.lose("it is gone")
    await settle()
    [ended] = world.of(BackendSessionEnded)
    assert (ended.backend, ended.revision, ended.seconds) == ("b", "2025-11-25", 3600.0)
    assert ended.failure == "connection_lost"
    assert ended.way == {"network.transport": "pipe", "onemcp.backend": "b"}


async def test_a_session_at_a_backend_that_is_stopped_has_not_failed(autojump_clock):
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        await world.up()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    [ended] = world.of(BackendSessionEnded)
    assert (ended.seconds, ended.failure) == (10.0, None)


async def test_there_is_no_session_at_a_modern_backend_nor_at_one_that_did_not_start(
    autojump_clock, world
):
    connection = await world.up(modern())
    connection.lose("it is gone")
    await settle()
    connection = old()
    connection.startable = trio.Event()
    await world.start(connection)
    await trio.sleep(31)
    assert len(world.ends) == 2
    assert not world.of(BackendSessionEnded)


# --- starting --------------------------------------------------------------------------------


async def test_it_acknowledges_first_and_connects_afterwards(autojump_clock, world):
    connection = old()
    connection.startable = trio.Event()
    started = trio.current_time()
    await world.start(connection)
    assert trio.current_time() == started
    assert not world.backend.is_up
    assert repr(world.backend) == "<Backend 'b' connecting>"
    connection.startable.set()
    await world.backend.wait_ready()
    assert world.backend.is_up
    assert repr(world.backend) == "<Backend 'b' up>"
    assert world.names() == ["t"]
    assert world.changes == 1
    assert world.backend.failure is None
    [ready] = world.of(BackendReady)
    assert (ready.backend, ready.revision) == ("b", "2025-11-25")
    assert ready.items == {"tools": 1, "resources": 0, "resourceTemplates": 0, "prompts": 0}


@pytest.mark.requirement("server/prompts#implementation-considerations-3")
async def test_only_what_the_backend_has_is_listed(autojump_clock, world):
    connection = old(tools={}, prompts={})
    connection.answers["prompts/list"] = {"prompts": [{"name": "p"}]}
    await world.up(connection)
    assert sorted(connection.methods()) == ["prompts/list", "tools/list"]
    assert world.names(PROMPTS) == ["p"]
    assert connection.opened[0].call.caller.owner == INTERNAL


async def test_a_slow_start_times_out_with_a_reason(autojump_clock, world):
    connection = old()
    connection.startable = trio.Event()
    connection.inbound.last_violation = "it printed something other than MCP: b'hello'"
    await world.start(connection)
    await trio.sleep(31)
    [end] = world.ends
    assert isinstance(end, HandshakeFailed)
    assert end.reason.startswith(
        "it was not ready within 30 s; it printed something other than MCP: b'hello'"
    )
    assert world.backend.failure == end.reason
    assert not connection.running
    assert world.of(BackendDown) == [BackendDown("b", end.reason)]


async def test_a_list_that_never_comes_is_a_slow_start(autojump_clock, world):
    connection = old()
    connection.answers["tools/list"] = SILENT
    await world.start(connection)
    await trio.sleep(31)
    assert world.ends[0].reason.startswith("it was not ready within 30 s")
    assert connection.cancelled == connection.opened


async def test_a_list_that_fails_does_not_keep_the_backend_down(autojump_clock, world):
    connection = old(tools={}, prompts={})
    connection.answers["tools/list"] = failure(message="broken")
    connection.answers["prompts/list"] = {"prompts": [{"name": "p"}, {}]}
    await world.up(connection)
    assert world.names(PROMPTS) == ["p"]
    assert world.of(ListFailed) == [ListFailed("b", "tools/list", "remote error -32603: broken")]
    assert world.of(ItemRejected) == [ItemRejected("b", "?", "an item of prompts/list has no name")]


@pytest.mark.requirement(
    "basic/transports/streamable-http#schema-extension-9",
    "basic/transports/streamable-http#schema-extension-10",
    "basic/transports/streamable-http#schema-extension-11",
)
async def test_over_http_invalid_tools_are_left_out(autojump_clock, nursery):
    transport = config.HttpTransport(url="https://example.com/mcp")
    world = World(nursery, transport=transport)
    connection = modern(tools={})
    bad = {"type": "array", "x-mcp-header": "R"}
    good = {"type": "string", "x-mcp-header": "R"}
    connection.answers["tools/list"] = {
        "tools": [
            {"name": "bad", "inputSchema": {"properties": {"r": bad}}},
            {"name": "good", "inputSchema": {"properties": {"r": good}}},
        ]
    }
    await world.up(connection)
    assert world.names() == ["good"]
    assert [event.item for event in world.of(ItemRejected)] == ["bad"]
    assert [mirrored.name for mirrored in world.setup.tools.mirrored("good")] == ["R"]
    assert world.setup.tools.mirrored("other") == ()


def annotated(name: str, kind: str) -> dict[str, Any]:
    parameter = {"type": kind, "x-mcp-header": "R"}
    return {"name": name, "inputSchema": {"properties": {"r": parameter}}}


@pytest.mark.parametrize("transport", [None, config.HttpTransport(url="https://example.com/mcp")])
async def test_where_nothing_is_repeated_in_headers_invalid_tools_stay_and_are_told_of(
    autojump_clock, nursery, transport
):
    world = World(nursery, transport=transport)
    connection = old(tools={})
    connection.answers["tools/list"] = {"tools": [annotated("bad", "array")]}
    await world.up(connection)
    assert world.names() == ["bad"]
    (withheld,) = world.of(ToolWithheld)
    assert (withheld.backend, withheld.tool) == ("b", "bad")
    assert withheld.reason == "x-mcp-header of r needs type string, integer or boolean"


async def test_what_is_wrong_with_a_list_is_told_once_and_again_when_it_comes_back(
    autojump_clock, world
):
    bad, worse = annotated("bad", "array"), annotated("worse", "object")
    lists = iter([[bad, {}, {}], [bad, worse, {}], [worse], [bad, worse]])
    connection = old(tools={})
    connection.answers["tools/list"] = lambda _: {"tools": next(lists)}
    await world.up(connection)
    told = ["bad", "?"]
    for more in (["worse"], [], ["bad"]):
        assert sorted(fault_of(event) for event in world.events if fault_of(event)) == sorted(told)
        await trio.sleep(330)
        told += more
    assert sorted(fault_of(event) for event in world.events if fault_of(event)) == sorted(told)


def fault_of(event: Any) -> str:
    if isinstance(event, ToolWithheld):
        return event.tool
    return event.item if isinstance(event, ItemRejected) else ""


async def test_a_connection_that_fails_while_listing_is_not_announced_as_ready(
    autojump_clock, world
):
    connection = old()
    connection.answers["tools/list"] = SILENT
    connection.teardown = 5
    await world.start(connection)
    await settle()
    connection.lose("it exited with status 1")
    await trio.sleep(10)
    assert world.of(BackendReady) == world.of(ListFailed) == []
    assert world.ends[0].reason == "it exited with status 1"


async def test_a_connection_that_can_t_be_made_is_a_reason(autojump_clock, world):
    connection = old()
    connection.startable = trio.Event()
    await world.start(connection)
    connection.lose("cannot start 'x'")
    await settle()
    assert world.backend.failure == "cannot start 'x'"
    assert world.ends[0].reason == "cannot start 'x'"


async def test_a_transport_that_can_t_even_be_built_is_one_too(autojump_clock, nursery):
    world = World(nursery)

    def refuse(_: Setup) -> FakeConnection:
        raise ConnectionLost("no such transport")

    world.backend._connect = refuse
    await nursery.start(world._serve)
    await settle()
    assert world.ends[0].reason == "no such transport"


async def test_being_stopped_is_no_failure(autojump_clock, world):
    connection = old()
    world.connections.append(connection)
    async with trio.open_nursery() as nursery:
        await nursery.start(world.backend.serve)
        await world.backend.wait_ready()
        nursery.cancel_scope.cancel()
    assert not world.backend.is_up
    assert world.backend.failure is None
    assert world.of(BackendDown) == []
    assert not connection.running


async def test_a_bug_is_not_taken_for_a_lost_connection(autojump_clock, world):
    connection = old()
    connection.answers["tools/list"] = ZeroDivisionError()
    world.connections.append(connection)
    with pytest.raises(ExceptionGroup) as caught:
        await world.backend.serve()
    assert caught.group_contains(ZeroDivisionError)


# --- calls -----------------------------------------------------------------------------------


async def test_calls_wait_for_a_backend_that_starts_again(autojump_clock, world, nursery):
    first = await world.up()
    first.lose()
    await settle()
    assert not world.backend.is_up
    assert world.names() == ["t"], "names don't vanish while it restarts"
    opened = []

    async def ask() -> None:
        opened.append(await world.backend.open(call()))

    nursery.start_soon(ask)
    await trio.sleep(5)
    assert opened == []
    second = await world.up()
    await settle()
    assert second.opened[-1] is opened[0]


async def test_calls_wait_while_the_last_program_takes_its_time_to_end(
    autojump_clock, world, nursery
):
    first = await world.up()
    first.teardown = 5
    waiting = await world.backend.open(call())
    first.lose()
    assert error_of(await waiting.receive()).code == -33002
    assert not world.backend.is_up
    assert world.backend.in_flight == 0
    opened = []

    async def ask() -> None:
        opened.append(await world.backend.open(call()))

    nursery.start_soon(ask)
    await trio.sleep(6)
    assert opened == []
    second = await world.up()
    await settle()
    assert second.opened[-1] is opened[0]


async def test_a_backend_that_is_given_up_answers_at_once(autojump_clock, world, nursery):
    first = await world.up()
    first.lose("it exited with status 1")
    await settle()
    outcomes = []

    async def ask() -> None:
        with pytest.raises(BackendUnavailable, match="'b' is down: it exited with status 1"):
            await world.backend.open(call())
        outcomes.append("failed")

    nursery.start_soon(ask)
    await settle()
    world.backend.give_up()
    await settle()
    assert outcomes == ["failed"]
    await ask()
    assert world.names() == []
    assert repr(world.backend) == "<Backend 'b' given up>"
    await world.up()
    assert world.names() == ["t"]
    await world.backend.open(call())


async def test_a_backend_that_wants_a_login_is_left_alone_and_says_so(autojump_clock, nursery):
    world = World(nursery)
    attempts = []

    def refuse(_: object) -> FakeConnection:
        attempts.append(trio.current_time())
        raise LoginRequired("it wants a token (HTTP 401)")

    world.backend._connect = refuse
    await nursery.start(world._serve)
    await settle()
    assert world.backend.needs_login
    for wait in (world.backend.open(call()), world.backend.wait_ready()):
        with pytest.raises(BackendUnavailable, match=r"'b' needs a login: it wants a token \("):
            await wait
    await trio.sleep(2.5 * LOGIN_PAUSE)
    assert [later - earlier for earlier, later in pairwise(attempts)] == [LOGIN_PAUSE] * 2
    assert len(world.of(BackendDown)) == 3
    assert world.ends == [], "the supervisor has nothing to restart"

    world.backend._connect = lambda _: old()
    await trio.sleep(LOGIN_PAUSE)
    assert world.names() == ["t"]
    assert not world.backend.needs_login
    await world.backend.open(call())


async def test_calls_in_flight_are_bounded_and_counted(autojump_clock, nursery, monkeypatch):
    monkeypatch.setattr("onemcp.backend.backend.BESIDES", 0)
    world = World(nursery, limits=config.BackendLimits(in_flight=2))
    connection = modern(**ANNOUNCING)
    connection.answers["tools/list"] = tools("t")
    await world.up(connection)
    assert world.backend.in_flight == 0, "a subscription is no call"
    first = await world.backend.open(call())
    await world.backend.open(call())
    assert world.backend.in_flight == 2
    with pytest.raises(Overloaded, match="more than 2 calls in flight"):
        await world.backend.open(call())
    first.close()
    await world.backend.open(call())


async def test_a_malformed_call_is_refused(autojump_clock, world):
    connection = await world.up()
    connection.answers["tools/call"] = InvalidParams("_meta must be a JSON object")
    with pytest.raises(InvalidParams):
        await world.backend.open(call())


async def test_draining_waits_for_calls_and_for_nothing_else(autojump_clock, world, nursery):
    connection = modern(**ANNOUNCING)
    connection.answers["tools/list"] = tools("t")
    await world.up(connection)
    exchange = await world.backend.open(call())
    drained = trio.Event()

    async def drain() -> None:
        await world.backend.drain()
        drained.set()

    nursery.start_soon(drain)
    await trio.sleep(60)
    assert not drained.is_set()
    with pytest.raises(ShuttingDown):
        await world.backend.open(call())
    exchange.finish(Response(1, EMPTY))
    await trio.sleep(1)
    assert drained.is_set()


async def test_draining_turns_away_who_waits_for_a_start(autojump_clock, world, nursery):
    outcomes = []

    async def ask() -> None:
        with pytest.raises(ShuttingDown):
            await world.backend.open(call())
        outcomes.append("turned away")

    nursery.start_soon(ask)
    await settle()
    await world.backend.drain()
    await settle()
    assert outcomes == ["turned away"]


# --- keeping lists current -------------------------------------------------------------------


@pytest.mark.requirement("server/utilities/caching#interaction-with-pagination-2")
async def test_an_announced_change_is_fetched_and_announced(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    connection.answers["tools/list"] = tools("t", "u")
    changes = world.changes
    world.setup.notification_handler(CHANGED)
    await settle()
    assert world.names() == ["t", "u"]
    assert world.changes == changes + 1
    assert world.announcements == [TOOLS.changed]


async def test_a_change_is_announced_even_where_the_list_is_the_same(autojump_clock, world):
    """A filtered view, or something that a list does not show, may have changed."""
    await world.up(old(**ANNOUNCING))
    world.setup.notification_handler(CHANGED)
    await settle()
    assert world.announcements == [TOOLS.changed]


async def test_changes_are_coalesced(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    connection.answers["tools/list"] = SILENT
    for _ in range(50):
        world.setup.notification_handler(CHANGED)
    await settle()
    assert connection.methods() == ["tools/list"] * 2
    for _ in range(50):
        world.setup.notification_handler(CHANGED)
    connection.answers["tools/list"] = tools("u")
    connection.waiting[0].finish(Response(1, Raw(b'{"tools":[]}')))
    await trio.sleep(1)
    assert connection.methods() == ["tools/list"] * 3, "what came during a fetch wants one more"
    assert world.names() == ["u"]
    assert len(world.announcements) == 2


async def test_a_backend_that_announces_whenever_it_is_asked_does_not_spin(autojump_clock, world):
    connection = old(**ANNOUNCING)

    def answer(_: object) -> dict[str, Any]:
        world.setup.notification_handler(CHANGED)
        return tools("t")

    await world.up(connection)
    connection.answers["tools/list"] = answer
    world.setup.notification_handler(CHANGED)
    await trio.sleep(10)
    assert len(connection.opened) <= 10 / module.SETTLE + 5


async def test_tools_that_seem_outdated_are_listed_again(autojump_clock, world, nursery):
    connection = await world.up(old(**ANNOUNCING))
    await world.setup.tools.relist_tools()
    assert connection.methods() == ["tools/list"] * 2
    assert world.announcements == [], "nothing has changed"
    connection.answers["tools/list"] = tools("u")
    async with trio.open_nursery() as everyone:
        for _ in range(50):
            everyone.start_soon(world.setup.tools.relist_tools)
    assert connection.methods() == ["tools/list"] * 3
    assert world.names() == ["u"]
    assert world.announcements == [TOOLS.changed]


async def test_a_backend_that_comes_back_keeps_nobody_waiting_for_its_tools(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    connection.answers["tools/list"] = SILENT
    async with trio.open_nursery() as waiting:
        waiting.start_soon(world.setup.tools.relist_tools)
        await settle()
        waiting.start_soon(world.setup.tools.relist_tools)  # for another turn
        await settle()
        connection.lose()
        await settle()
        await world.up()


async def test_a_change_during_the_first_fetch_is_not_lost(autojump_clock, world):
    connection = old(**ANNOUNCING)
    connection.answers["tools/list"] = SILENT
    await world.start(connection)
    await settle()
    world.setup.notification_handler(CHANGED)
    connection.answers["tools/list"] = tools("u")
    connection.waiting[0].finish(Response(1, Raw(b'{"tools":[]}')))
    await trio.sleep(1)
    assert world.names() == ["u"]


async def test_a_modern_backend_is_listened_to_before_it_lists(autojump_clock, world):
    connection = modern(**ANNOUNCING)
    connection.answers["tools/list"] = tools("t")
    await world.up(connection)
    assert connection.methods() == ["subscriptions/listen", "tools/list"]
    listen = connection.opened[0]
    listen.deliver(acknowledgement(listen))
    listen.deliver(CHANGED)
    await settle()
    assert world.announcements == [TOOLS.changed]


async def test_changes_of_what_is_unknown_or_not_listed_are_ignored(autojump_clock, world):
    connection = await world.up()
    asked = len(connection.opened)
    for method in ("notifications/prompts/list_changed", "notifications/x"):
        world.setup.notification_handler(notification(method, {}))
    await settle()
    assert len(connection.opened) == asked
    assert world.announcements == []


async def test_updated_resources_are_handed_on(autojump_clock, world):
    await world.up()
    world.setup.notification_handler(notification("notifications/resources/updated", {"uri": 1}))
    assert world.announcements == ["notifications/resources/updated"]


async def refetched(world: World, connection: FakeConnection) -> float:
    """Wait for the next fetch and tell how long it took."""
    before, started = len(connection.opened), trio.current_time()
    while len(connection.opened) == before:  # noqa: ASYNC110 - time jumps
        await trio.sleep(1)
    return trio.current_time() - started


@pytest.mark.requirement(
    "server/utilities/caching#time-to-live-ttl-field-1",
    "server/utilities/caching#freshness-calculation-2",
)
async def test_a_backend_that_announces_nothing_is_asked_now_and_then(autojump_clock, world):
    connection = await world.up()
    assert module.REFRESH <= await refetched(world, connection) <= module.REFRESH * 1.1 + 1
    await settle()
    assert world.announcements == [], "nothing has changed"
    connection.answers["tools/list"] = tools("u")
    await refetched(world, connection)
    await settle()
    assert world.names() == ["u"]
    assert world.announcements == [TOOLS.changed]


async def test_it_is_asked_when_it_announces_something_all_the_same(autojump_clock, world):
    connection = await world.up()
    world.setup.notification_handler(CHANGED)
    assert await refetched(world, connection) < 5


@pytest.mark.requirement("server/utilities/caching#time-to-live-ttl-field-2")
@pytest.mark.parametrize(("ttl", "expected"), [(10, 300), (1_000_000, 1000), (0, 300)])
async def test_a_list_is_not_fetched_while_it_is_fresh(autojump_clock, world, ttl, expected):
    connection = old()
    connection.answers["tools/list"] = tools("t", ttlMs=ttl)
    await world.up(connection)
    assert expected <= await refetched(world, connection) <= expected * 1.1 + 1


async def test_absurd_freshness_does_no_harm(autojump_clock, world):
    connection = old()
    connection.answers["tools/list"] = {"tools": [], "ttlMs": Raw(b"1" + b"0" * 400)}
    await world.up(connection)
    await trio.sleep(1000)
    assert world.backend.is_up


@pytest.mark.requirement("server/utilities/caching#freshness-calculation-2")
async def test_a_backend_that_announces_is_not_polled(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    await trio.sleep(70_000)
    assert len(connection.opened) == 1


@pytest.mark.requirement("basic/patterns/subscriptions#acknowledgment-3")
async def test_a_modern_backend_is_polled_unless_it_has_agreed_to_announce(autojump_clock, world):
    connection = modern(**ANNOUNCING)
    connection.answers["tools/list"] = tools("t")
    connection.answers["subscriptions/listen"] = failure(-32601)
    await world.up(connection)
    assert module.REFRESH <= await refetched(world, connection) <= module.REFRESH * 1.1 + 1
    world.connections[0].lose()
    await settle()
    again = modern(**ANNOUNCING)
    again.answers["tools/list"] = tools("t")
    await world.up(again)
    again.opened[0].deliver(acknowledgement(again.opened[0]))
    await trio.sleep(70_000)
    assert again.methods().count("tools/list") <= 2


@pytest.mark.requirement("server/utilities/caching#freshness-calculation-3")
async def test_a_list_that_fails_is_tried_again_later_and_later(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    connection.answers["tools/list"] = failure()
    world.setup.notification_handler(CHANGED)
    await settle()
    assert world.names() == ["t"], "what was known stays"
    assert len(world.of(ListFailed)) == 1
    waits = [await refetched(world, connection) for _ in range(5)]
    for wait, expected in zip(waits, [600, 1200, 2400, 3600, 3600], strict=True):
        assert expected <= wait <= expected * 1.1 + 2
    connection.answers["tools/list"] = tools("u")
    await refetched(world, connection)
    await settle()
    assert world.names() == ["u"]
    asked = len(connection.opened)
    await trio.sleep(20_000)
    assert len(connection.opened) == asked, "now changes are announced again"


@pytest.mark.requirement("server/utilities/caching#interaction-with-pagination-3")
async def test_a_list_whose_cursor_is_refused_is_fetched_from_the_start(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    pages = iter([tools("a", nextCursor="x"), failure(-32602), tools("b")])
    connection.answers["tools/list"] = lambda _: next(pages)
    world.setup.notification_handler(CHANGED)
    await settle()
    assert world.names() == ["t"]
    await refetched(world, connection)
    await settle()
    assert world.names() == ["b"]
    assert connection.asked("tools/list")[-3:] == [{}, {"cursor": "x"}, {}]


@pytest.mark.requirement("server/utilities/caching#freshness-calculation-3")
async def test_polling_is_spread_over_time(autojump_clock, world, monkeypatch):
    monkeypatch.setattr(module.random, "uniform", lambda _, most: most)
    connection = await world.up()
    longest = module.REFRESH * (1 + module.JITTER)
    assert longest <= await refetched(world, connection) <= longest + 1


@pytest.mark.requirement("basic/patterns/cancellation#timeouts-1")
async def test_a_fetch_that_is_never_answered_is_given_up(autojump_clock, world):
    connection = await world.up(old(**ANNOUNCING))
    connection.answers["tools/list"] = SILENT
    world.setup.notification_handler(CHANGED)
    await trio.sleep(31)
    assert [event.reason for event in world.of(ListFailed)] == ["it was not answered within 30 s"]
    assert connection.cancelled == connection.opened[1:]


# --- log levels ------------------------------------------------------------------------------


def wants(level: str | None) -> Any:
    return call(caller=caller(log_level=level))


async def test_a_legacy_backend_logs_at_the_lowest_level_that_is_wanted(autojump_clock, world):
    connection = await world.up(old(tools={}, logging={}))
    for level in (None, "warning", "error", "warning", "debug", "info"):
        await world.backend.open(wants(level))
    assert connection.asked("logging/setLevel") == [{"level": "warning"}, {"level": "debug"}]
    connection.lose()
    await settle()
    again = await world.up(old(tools={}, logging={}))
    await world.backend.open(wants("error"))
    assert again.asked("logging/setLevel") == [{"level": "error"}]


async def test_a_refused_level_does_not_keep_calls_from_going_through(autojump_clock, world):
    connection = old(tools={}, logging={})
    connection.answers["logging/setLevel"] = failure()
    await world.up(connection)
    await world.backend.open(wants("debug"))
    assert connection.methods()[-1] == "tools/call"


async def test_a_level_that_is_never_answered_holds_a_call_up_for_a_moment(autojump_clock, world):
    connection = old(tools={}, logging={})
    connection.answers["logging/setLevel"] = SILENT
    await world.up(connection)
    started = trio.current_time()
    await world.backend.open(wants("debug"))
    assert trio.current_time() - started == pytest.approx(level_module.LEVEL_TIMEOUT)
    await world.backend.open(wants("debug"))
    assert trio.current_time() - started == pytest.approx(level_module.LEVEL_TIMEOUT)


@pytest.mark.parametrize("connection", [old(tools={}), modern(logging={})])
async def test_where_there_is_no_level_to_set_none_is_set(autojump_clock, world, connection):
    await world.up(connection)
    await world.backend.open(wants("debug"))
    assert "logging/setLevel" not in connection.methods()


async def test_a_connection_that_is_lost_while_the_level_is_set_is_waited_for(
    autojump_clock, world, nursery
):
    connection = old(tools={}, logging={})
    connection.answers["logging/setLevel"] = SILENT
    await world.up(connection)
    opened = []

    async def ask() -> None:
        opened.append(await world.backend.open(wants("debug")))

    nursery.start_soon(ask)
    await settle()
    connection.lose()
    await settle()
    assert opened == []
    again = await world.up(old(tools={}, logging={}))
    await settle()
    assert again.opened[-1] is opened[0]


# --- across incarnations ---------------------------------------------------------------------


async def test_subscriptions_are_made_again(autojump_clock, world):
    first = old(resources={"subscribe": True})
    first.answers |= {"resources/list": {"resources": []}, "resources/subscribe": {}}
    first.answers["resources/templates/list"] = {"resourceTemplates": []}
    await world.up(first)
    await world.backend.upstream.add("u")
    first.lose()
    await settle()
    second = FakeConnection(first.description.capabilities)
    second.answers = first.answers
    await world.up(second)
    await settle()
    assert second.asked("resources/subscribe") == [{"uri": "u"}]


async def test_lists_are_those_of_the_last_incarnation_that_was_up(autojump_clock, world):
    await world.up()
    world.connections[0].lose()
    await settle()
    again = old(prompts={})
    again.answers["prompts/list"] = {"prompts": [{"name": "p"}]}
    await world.up(again)
    assert world.names() == []
    assert world.names(PROMPTS) == ["p"]


async def test_a_failure_is_forgotten_when_it_is_up_again(autojump_clock, world):
    (await world.up()).lose("it broke")
    await settle()
    assert world.backend.failure == "it broke"
    await world.up()
    assert world.backend.failure is None
    assert isinstance(await first_of_call(world), Failure)


async def first_of_call(world: World) -> Any:
    exchange = await world.backend.open(call())
    world.connections[-1].lose()
    return await exchange.receive()
