"""Both eras on one pair of streams, in front of scripted backends."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from msgspec import Raw
from trio.testing import MemorySendStream, memory_stream_pair

from onemcp.admission import PlaceLimits
from onemcp.frontend import (
    OVER_PIPES,
    Deadlines,
    RequestFailed,
    SessionEnded,
    Sessions,
    StdioFrontend,
    stdio,
)
from onemcp.frontend.session import session as session_module
from onemcp.multiplexer import View
from onemcp.protocol import meta
from onemcp.protocol.jsonrpc import Request, Response
from onemcp.protocol.revisions import LEGACY_REVISIONS, V2025_03_26
from tests.frontend.site import call, notification, request, until, wait_for, with_meta
from tests.multiplexer.fakes import Server, World, decoded, nothing, tool

LIMIT = 64 * 1024
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}}
ASKS = Request(99, "roots/list", Raw(b"{}"))


@attrs.define
class Line:
    """Both ends of the line, and what is behind it."""

    world: World
    server: Server
    frontend: StdioFrontend
    sessions: Sessions
    events: list[Any]
    stream: trio.StapledStream[Any, Any]
    settled: trio.Event
    sink: MemorySendStream
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    rest: bytes = b""

    async def raw(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def say(self, *messages: Any) -> None:
        await self.raw(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def hear(self) -> Any:
        """Receive the next message; None at the end of the output."""
        with trio.fail_after(30):
            while b"\n" not in self.rest:
                data = await self.stream.receive_some()
                if not data:
                    assert not self.rest
                    return None
                self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)

    async def ask(self, message: Any) -> Any:
        await self.say(message)
        return await self.hear()

    async def begin(self, revision: str = "2025-11-25") -> Any:
        answer = await self.ask(
            request("initialize", {**INITIALIZE, "protocolVersion": revision}, "init")
        )
        await self.say(notification("notifications/initialized"))
        return answer["result"]

    async def hang_up(self) -> None:
        await self.stream.send_eof()


@contextlib.asynccontextmanager
async def open_line(
    server: Server | None = None, *, grace: float = 5.0, is_settled: bool = True
) -> AsyncIterator[Line]:
    server = server or Server(tools=[tool("t")])
    events: list[Any] = []
    async with trio.open_nursery() as nursery:
        world = World(nursery)
        await world.show(server)
        kept = Sessions(
            PlaceLimits(1, 1), Deadlines(math.inf, math.inf), way=OVER_PIPES, on_event=events.append
        )
        await nursery.start(kept.supervisor.run)
        settled = trio.Event()
        if is_settled:
            settled.set()
        here, there = memory_stream_pair()
        view = world.multiplexer.view()
        assert view is not None
        frontend = StdioFrontend(
            world.multiplexer,
            view,
            kept,
            limit=LIMIT,
            grace=grace,
            on_event=events.append,
            ready=settled.wait,
        )
        sink = there.send_stream
        line = Line(world, server, frontend, kept, events, here, settled, sink)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with line.scope:
                await frontend.run(there, there, task_status=task_status)
            with contextlib.suppress(trio.ClosedResourceError):
                await there.send_eof()

        await nursery.start(run)
        yield line
        nursery.cancel_scope.cancel()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with open_line() as opened:
        yield opened


# --- the modern era --------------------------------------------------------------------------


async def test_annotations_for_http_mean_nothing_here():
    schema = {"properties": {"r": {"type": "array", "x-mcp-header": "R"}}}
    async with open_line(Server(tools=[tool("t") | {"inputSchema": schema}])) as line:
        listed = await line.ask(with_meta(request("tools/list")))
        assert [each["name"] for each in listed["result"]["tools"]] == ["alpha__t"]
        assert (await line.ask(with_meta(call("x"))))["result"]["said"] == "alpha"


@pytest.mark.requirement(
    "basic/index#statelessness-1", "basic/transports/stdio#receiving-messages-2"
)
async def test_a_modern_request_is_complete_in_itself(line: Line):
    answer = await line.ask(with_meta(call("x")))
    assert answer["id"] == "x"
    assert answer["result"]["said"] == "alpha"
    assert not len(line.sessions)


@pytest.mark.requirement("basic/index#statelessness-2")
async def test_several_are_in_flight_and_answered_as_they_end(line: Line):
    line.server.handlers["tools/call"] = nothing
    await line.say(with_meta(call(1)), with_meta(call(2)))
    await wait_for(line.server, 2)
    for number, exchange in reversed(list(enumerate(line.server.calls))):
        result = Raw(b'{"n":%d}' % number)
        exchange.finish(Response(exchange.id, result))
        assert (await line.hear())["result"]["n"] == number


@pytest.mark.requirement(
    "basic/patterns/cancellation#behavior-requirements-3",
    "basic/transports/stdio#cancellation-2",
    "basic/transports/stdio#cancellation-3",
)
async def test_a_cancelled_request_is_not_answered(line: Line):
    line.server.handlers["tools/call"] = nothing
    await line.say(with_meta(call(1)))
    await wait_for(line.server)
    await line.say(notification("notifications/cancelled", {"requestId": 1}))
    await until(lambda: bool(line.server.cancelled))
    assert (await line.ask(with_meta(request("tools/list", request_id=2))))["id"] == 2


@pytest.mark.requirement("basic/patterns/cancellation#timing-considerations-1")
@pytest.mark.parametrize("modern", [False, True])
async def test_a_cancellation_right_behind_its_request_finds_it(line: Line, *, modern: bool):
    if not modern:
        await line.begin()
    line.server.handlers["tools/call"] = nothing
    message = with_meta(call(1)) if modern else call(1)
    await line.say(message, notification("notifications/cancelled", {"requestId": 1}))
    await until(lambda: not line.frontend._modern and not line.frontend._conversation.in_flight)
    listing = request("tools/list", request_id=2)
    assert (await line.ask(with_meta(listing)))["id"] == 2
    assert not line.server.calls or line.server.cancelled


async def test_a_subscription_is_acknowledged_told_of_changes_and_cancelled(line: Line):
    listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "sub")
    acknowledged = await line.ask(with_meta(listen))
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
    assert acknowledged["params"]["_meta"][SUBSCRIPTION] == "sub"
    line.server.lists["tools"] = [tool("t"), tool("new")]
    line.server.announce("notifications/tools/list_changed")
    changed = await line.hear()
    assert changed["method"] == "notifications/tools/list_changed"
    assert changed["params"]["_meta"][SUBSCRIPTION] == "sub"
    await line.say(notification("notifications/cancelled", {"requestId": "sub"}))
    await until(lambda: not line.frontend._modern)


@pytest.mark.requirement("basic/index#meta-7", "basic/versioning#protocol-version-negotiation-1")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request("server/discover"), -32602),
        (with_meta(request("tools/list"), "2099-01-01"), -32022),
        (with_meta(request("tools/list"), "2025-11-25"), -32022),
        (with_meta(request("no/such")), -32601),
        (with_meta(request("initialize")), -32601),
        (request("tools/list", {"_meta": {meta.PROTOCOL_VERSION: "2026-07-28"}}), -32602),
        (with_meta(call(), **{meta.LOG_LEVEL: "loud"}), -32602),
    ],
)
async def test_what_is_wrong_with_a_modern_request_is_its_answer(
    line: Line, message: Any, code: int
):
    answer = await line.ask(message)
    assert (answer["id"], answer["error"]["code"]) == (1, code)


@pytest.mark.requirement("basic/index#introduction-1", "server/discover#introduction-1")
async def test_discovery_names_every_revision(line: Line):
    result = (await line.ask(with_meta(request("server/discover"))))["result"]
    assert set(result["supportedVersions"]) == {*LEGACY_REVISIONS, "2026-07-28"}


# --- the legacy era --------------------------------------------------------------------------


@pytest.mark.parametrize("revision", LEGACY_REVISIONS)
async def test_initialize_begins_the_session_of_the_process(line: Line, revision: str):
    assert (await line.begin(revision))["protocolVersion"] == revision
    assert (await line.ask(call(3)))["result"] == {"said": "alpha"}
    assert len(line.sessions) == 1


async def test_both_eras_are_served_side_by_side(line: Line):
    await line.begin()
    line.server.handlers["tools/call"] = nothing
    await line.say(call(1), with_meta(call(2)))
    await wait_for(line.server, 2)
    refused = [await line.ask(call(2)), await line.ask(with_meta(call(1)))]
    for answer in refused:
        assert "id" not in answer
        assert "in use" in answer["error"]["message"]
    refused = [await line.ask(call(1)), await line.ask(with_meta(call(2)))]
    assert all("id" not in answer for answer in refused)


async def test_a_question_is_written_and_its_answer_read():
    server = Server(revision="2025-06-18", tools=[tool("t")])
    server.handlers["tools/call"] = lambda exchange: exchange.deliver(ASKS)
    async with open_line(server) as line:
        await line.begin()
        question = await line.ask(call(1))
        assert question["method"] == "roots/list"
        await line.say({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}})
        await until(lambda: bool(server.answers))
        assert decoded(server.answers[0].result) == {"roots": []}  # type: ignore[union-attr]


async def test_changes_are_told_to_a_session(line: Line):
    await line.begin()
    line.server.lists["tools"] = []
    line.server.announce("notifications/tools/list_changed")
    assert (await line.hear())["method"] == "notifications/tools/list_changed"


async def test_requests_wait_for_backends_that_are_just_starting():
    async with open_line(is_settled=False) as line:
        await line.begin()
        await line.say(request("tools/list"), with_meta(request("tools/list", request_id=2)))
        assert (await line.ask(request("ping", request_id=3)))["id"] == 3
        line.settled.set()
        assert {(await line.hear())["id"], (await line.hear())["id"]} == {1, 2}


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "request_id", "code"),
    [
        (b"garbage", None, -32700),
        (b"\xff\xfe", None, -32700),
        (b"[" * 50_000, None, -32700),
        (b"[]", None, -32600),
        (b"[1]", None, -32600),
        (b"null", None, -32600),
        (b'{"jsonrpc":"1.0","id":4,"method":"ping"}', 4, -32600),
        (b'{"jsonrpc":"2.0","id":4,"method":"ping","params":[]}', 4, -32600),
        (b'{"jsonrpc":"2.0","id":4,"method":"tools/list"}', 4, -32600),
        (b'{"jsonrpc":"2.0","id":4,"method":"x","params":{"_meta":7}}', 4, -32600),
    ],
)
async def test_what_is_no_message_is_answered_and_the_next_one_served(
    line: Line, data: bytes, request_id: Any, code: int
):
    await line.raw(data + b"\n\n\r\n")
    answer = await line.hear()
    assert (answer.get("id"), answer["error"]["code"]) == (request_id, code)
    assert (await line.ask(request("ping")))["result"] == {}


@pytest.mark.parametrize("batch", [b"[1]", b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]'])
async def test_batches_are_of_one_revision(batch: bytes):
    async with open_line() as line:
        await line.begin()
        await line.raw(batch + b"\n")
        assert (await line.hear())["error"]["code"] == -32600
    async with open_line() as line:
        await line.begin(V2025_03_26)
        await line.say([request("ping", request_id="a"), request("ping", request_id="b")])
        assert {(await line.hear())["id"], (await line.hear())["id"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("head", "tail", "request_id"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":"', b'"}}', 5),
        (b'{"method":"x","jsonrpc":"2.0","id":"five","params":{"a":"', b'"}}', "five"),
        (b'{"method":"x","params":{"a":"', b'"},"jsonrpc":"2.0","id":5}', 5),
        (b'{"method":"x","params":{"a":"', b'","id":6}}', None),
        (b'{"method":"x","params":{"id":6,"a":"', b'"}}', None),
        (b'{"id":"\\ud800","params":{"a":"', b'"}}', None),
        (b"", b"", None),
    ],
)
async def test_a_line_that_is_too_long_is_refused_by_its_id(
    line: Line, head: bytes, tail: bytes, request_id: Any
):
    await line.raw(head + b"x" * (LIMIT + 1) + tail + b"\n")
    answer = await line.hear()
    assert (answer.get("id"), answer["error"]["code"]) == (request_id, -33006)
    assert (await line.ask(request("ping")))["result"] == {}


async def test_an_answer_that_is_too_long_fails_its_question():
    server = Server(revision="2025-06-18", tools=[tool("t")])
    server.handlers["tools/call"] = lambda exchange: exchange.deliver(ASKS)
    async with open_line(server) as line:
        await line.begin()
        question = await line.ask(call(1))
        head = b'{"jsonrpc":"2.0","id":"%b","result":"' % question["id"].encode()
        await line.raw(head + b"x" * LIMIT + b'"}\n')
        await until(lambda: bool(server.answers))
        assert decoded(server.answers[0].error)["code"] == -33006  # type: ignore[union-attr]


@pytest.mark.requirement(
    "basic/index#notifications-1",
    "basic/patterns/cancellation#timing-considerations-1",
    "basic/patterns/cancellation#error-handling-1",
)
async def test_answers_to_nothing_and_unknown_notifications_are_passed_over(line: Line):
    await line.say(
        {"jsonrpc": "2.0", "id": 9, "result": {}},
        {"jsonrpc": "2.0", "error": {"code": 1, "message": "m"}},
        notification("no/such"),
        notification("notifications/cancelled", {"requestId": [1]}),
        notification("notifications/cancelled", {"requestId": 77}),
    )
    assert (await line.ask(request("ping")))["result"] == {}


async def test_changed_roots_are_told_to_the_backend_that_serves_the_client():
    async with open_line(Server(revision="2025-11-25", tools=[tool("t")])) as line:
        changed = notification("notifications/roots/list_changed")
        await line.say(changed)
        able = {**INITIALIZE, "capabilities": {"roots": {}}}
        await line.ask(request("initialize", able, "init"))
        await line.ask(call(1))
        assert line.server.told == []
        await line.say(changed)
        await line.ask(request("ping"))
        assert line.server.told == ["notifications/roots/list_changed"]


async def test_what_becomes_of_a_clients_task_is_told(monkeypatch: pytest.MonkeyPatch):
    told: list[str] = []
    monkeypatch.setattr(View, "task_status", lambda *told_of: told.append(told_of[1].method))
    async with open_line(Server()) as line:
        status = notification("notifications/tasks/status", {"taskId": "t"})
        await line.say(status)
        await line.ask(request("initialize", INITIALIZE, "init"))
        await line.say(status)
        await line.ask(request("ping"))
    assert told == ["notifications/tasks/status"]


@pytest.mark.parametrize("modern", [False, True])
async def test_what_is_in_flight_is_bounded(monkeypatch: pytest.MonkeyPatch, *, modern: bool):
    monkeypatch.setattr(stdio if modern else session_module, "MAX_IN_FLIGHT", 1)
    async with open_line() as line:
        await line.begin()
        line.server.handlers["tools/call"] = nothing
        await line.say(*(with_meta(call(n)) if modern else call(n) for n in (1, 2)))
        answer = await line.hear()
        assert (answer["id"], answer["error"]["code"]) == (2, -33004)


@pytest.mark.requirement("server/resources#error-handling-2")
@pytest.mark.parametrize("modern", [False, True])
async def test_a_bug_in_one_request_is_reported_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, *, modern: bool
):
    async def buggy(*_: Any) -> Any:
        raise ZeroDivisionError

    async with open_line() as line:
        await line.begin()
        monkeypatch.setattr(View, "dispatch", buggy)
        assert (await line.ask(with_meta(call()) if modern else call()))["error"]["code"] == -32603
        monkeypatch.undo()
        assert (await line.ask(call(2)))["id"] == 2
        (event,) = line.events
        assert isinstance(event, RequestFailed)


# --- the end ---------------------------------------------------------------------------------


@pytest.mark.requirement("basic/transports/stdio#shutdown-2")
@pytest.mark.parametrize("modern", [False, True])
async def test_at_the_end_of_the_input_what_is_in_flight_is_answered(line: Line, *, modern: bool):
    await line.begin()
    line.server.handlers["tools/call"] = nothing
    await line.say(with_meta(call(1)) if modern else call(1))
    await line.hang_up()
    await wait_for(line.server)
    await trio.sleep(0.03)
    assert not line.frontend.ended.is_set()
    line.server.last.finish(Response(line.server.last.id, Raw(b"{}")))
    assert (await line.hear())["id"] == 1
    assert await line.hear() is None
    assert line.frontend.ended.is_set()


async def test_a_last_line_needs_no_break(line: Line):
    await line.raw(json.dumps(request("ping")).encode())
    await line.hang_up()
    assert (await line.hear())["result"] == {}
    assert await line.hear() is None


@pytest.mark.parametrize("modern", [False, True])
async def test_after_the_grace_what_is_in_flight_is_cancelled_and_answered(*, modern: bool):
    async with open_line(grace=0.05) as line:
        await line.begin()
        line.server.handlers["tools/call"] = nothing
        await line.say(*(with_meta(call(n)) if modern else call(n) for n in (1, 2)))
        await wait_for(line.server, 2)
        await line.hang_up()
        answers = [await line.hear(), await line.hear()]
        assert sorted(answer["id"] for answer in answers) == [1, 2]
        assert {answer["error"]["code"] for answer in answers} == {-33008}
        assert await line.hear() is None
        await until(lambda: len(line.server.cancelled) == 2)
        await until(lambda: not len(line.sessions))


@pytest.mark.parametrize("modern", [False, True])
async def test_that_goes_for_a_stop_as_well(*, modern: bool):
    async with open_line(grace=0.05) as line:
        await line.begin()
        line.server.handlers["tools/call"] = nothing
        await line.say(with_meta(call(1)) if modern else call(1))
        await wait_for(line.server)
        line.scope.cancel()
        assert (await line.hear())["error"]["code"] == -33008
        assert await line.hear() is None


async def test_requests_that_still_wait_for_backends_are_answered_at_the_end_too():
    async with open_line(grace=0.05, is_settled=False) as line:
        await line.say(with_meta(call(1)))
        await line.hang_up()
        assert (await line.hear())["error"]["code"] == -33008
        assert await line.hear() is None


async def test_who_does_not_take_that_answer_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(stdio, "LAST_WORDS", 0.05)
    async with open_line(grace=0.05) as line:
        line.server.handlers["tools/call"] = nothing
        await line.say(with_meta(call(1)))
        await wait_for(line.server)
        line.sink.send_all_hook = trio.sleep_forever
        await line.hang_up()
        with trio.fail_after(30):
            await line.frontend.ended.wait()
        await until(lambda: bool(line.server.cancelled))


@pytest.mark.requirement(
    "basic/patterns/cancellation#introduction-2", "basic/patterns/subscriptions#cancellation-1"
)
async def test_subscriptions_do_not_hold_up_the_end_and_are_ended_in_order():
    async with open_line(grace=60.0) as line:
        listen = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, 5)
        await line.ask(with_meta(listen))
        await line.hang_up()
        torn_down, ended = await line.hear(), await line.hear()
        assert torn_down["method"] == "notifications/cancelled"
        assert torn_down["params"] == {"requestId": 5}
        assert (ended["id"], ended["result"]["resultType"]) == (5, "complete")
        assert await line.hear() is None


async def test_who_reads_no_more_gets_no_grace():
    async with open_line(grace=60.0) as line:
        line.server.handlers["tools/call"] = nothing
        await line.say(with_meta(call(1)), with_meta(call(2)))
        await wait_for(line.server, 2)
        await line.stream.receive_stream.aclose()
        line.server.last.finish(Response(line.server.last.id, Raw(b"{}")))
        with trio.fail_after(30):
            await line.frontend.ended.wait()
        await until(lambda: bool(line.server.cancelled))


@pytest.mark.parametrize("modern", [False, True])
async def test_when_everything_stops_what_is_in_flight_is_answered_first(*, modern: bool):
    async with open_line() as line:
        if not modern:
            await line.begin()
        line.server.handlers["tools/call"] = nothing
        await line.say(with_meta(call(1)) if modern else call(1))
        await wait_for(line.server)
        line.scope.cancel()
        await trio.sleep(0.03)
        line.server.last.finish(Response(line.server.last.id, Raw(b"{}")))
        assert (await line.hear())["id"] == 1
        assert await line.hear() is None


async def test_a_stop_cuts_the_grace_after_the_end_of_the_input_short():
    async with open_line(grace=60.0) as line:
        line.server.handlers["tools/call"] = nothing
        await line.say(with_meta(call(1)))
        await wait_for(line.server)
        await line.hang_up()
        await trio.sleep(0.03)
        line.scope.cancel()
        with trio.fail_after(30):
            await line.frontend.ended.wait()


async def test_a_broken_input_is_its_end(line: Line):
    async def broken(_: int) -> bytes:
        raise trio.BrokenResourceError

    source = line.stream.receive_stream
    await line.hang_up()
    assert await line.hear() is None
    assert source is not None
    again = StdioFrontend(
        line.world.multiplexer,
        line.world.multiplexer.view(),  # type: ignore[arg-type]
        line.sessions,
        limit=LIMIT,
        grace=1.0,
        on_event=line.events.append,
    )
    _, there = memory_stream_pair()
    there.receive_some = broken  # type: ignore[method-assign, assignment]
    await again.run(there, there)
    assert again.ended.is_set()


async def test_a_session_ends_with_what_carries_it():
    async with open_line() as line:
        await line.begin("2025-06-18")
    [ended] = line.events
    assert isinstance(ended, SessionEnded)
    assert (ended.revision, ended.way) == ("2025-06-18", {"network.transport": "pipe"})
