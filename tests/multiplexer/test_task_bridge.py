"""Tasks of one design for clients of the other one, and results for clients that have neither."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.backend import Caller, Exchange
from onemcp.multiplexer import Parking, ParkingLimits, Reply, View
from onemcp.multiplexer.tasks import finished
from onemcp.multiplexer.tasks.asking import Asker
from onemcp.protocol import taskdesigns
from onemcp.protocol.errors import InvalidParams, Overloaded, ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.state import Keyring
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    ask_for_error,
    decoded,
    legacy,
    modern,
    nothing,
    receive_all,
    result,
    send,
    tool,
)

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
CLIENT = "io.modelcontextprotocol/clientCapabilities"
ASKABLE = {"elicitation": {"form": {}}}
ABLE = raw({**ASKABLE, "extensions": {EXTENSION: {}}})
CALL = {"name": "alpha__t", "arguments": {"a": 1}}
DONE = {"content": [{"type": "text", "text": "done"}]}
QUESTION = {"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}
ACCEPT = {"action": "accept", "content": {}}
SINCE = {"createdAt": "2026-11-22T10:00:00Z", "lastUpdatedAt": "2026-11-22T10:00:01Z"}


def able(principal: str = "ada", capabilities: Raw = ABLE) -> Caller:
    return Caller(object(), principal, LATEST_MODERN, capabilities)


def old_client(owner: str = "ada's", revision: str = LATEST_LEGACY) -> Caller:
    return Caller(owner, "ada", revision, raw(ASKABLE))


class OldServer(Server):
    """A server of 2025-11-25 whose tool can only be called as a task."""

    def __init__(self, support: str = "required", **more: Any) -> None:
        tasks = {"cancel": {}, "requests": {"tools": {"call": {}}}}
        super().__init__(
            "alpha",
            revision=LATEST_LEGACY,
            capabilities={"tools": {}, "tasks": tasks},
            tools=[tool("t", execution={"taskSupport": support})],
            **more,
        )
        self.status = "working"
        self.waiting: list[Exchange] = []
        made = {"task": self.task, "_meta": {"x": 1, RELATED: {"taskId": "t-1"}}}
        self.handlers = {
            "tools/call": result(made),
            "tasks/get": self._get,
            "tasks/result": self.waiting.append,
            "tasks/cancel": self._cancel,
        }

    def _get(self, exchange: Exchange) -> None:
        result(self.task)(exchange)

    def _cancel(self, exchange: Exchange) -> None:
        result({**self.task, "status": "cancelled"})(exchange)

    @property
    def task(self) -> dict[str, Any]:
        task = {"taskId": "t-1", "status": self.status, **SINCE, "ttl": 9, "pollInterval": 5}
        return {**task, "more": [1]}

    def finish(self, outcome: dict[str, Any]) -> None:
        related = {RELATED: {"taskId": "t-1"}}
        result({**outcome, "_meta": related})(self.waiting.pop())

    def ask(self, request_id: int = 9) -> None:
        params = {**QUESTION, "_meta": {RELATED: {"taskId": "t-1"}}}
        self.waiting[-1].deliver(Request(request_id, "elicitation/create", raw(params)))

    @property
    def methods(self) -> list[str]:
        return [exchange.call.method for exchange in self.calls]


class NewServer(Server):
    """A server with the extension, which makes tasks of calls whenever it may."""

    def __init__(self, **more: Any) -> None:
        declared = {"tools": {"listChanged": True}, "extensions": {EXTENSION: {}}}
        super().__init__("alpha", capabilities=declared, tools=[tool("t")], **more)
        self.states: list[dict[str, Any]] = [{"status": "completed", "result": DONE}]
        self.handlers = {
            "tools/call": self._make,
            "tasks/get": self._get,
            "tasks/update": result({"resultType": "complete"}),
            "tasks/cancel": result({"resultType": "complete"}),
        }

    def _task(self, **state: Any) -> dict[str, Any]:
        return {"taskId": "n-1", **SINCE, "ttlMs": 60_000, "pollIntervalMs": 2000, **state}

    def _make(self, exchange: Exchange) -> None:
        able = self.sent[-1]["_meta"][CLIENT].get("extensions", {})
        handle = {"resultType": "task", **self._task(status="working")}
        result(handle if EXTENSION in able else {**DONE, "resultType": "complete"})(exchange)

    def _get(self, exchange: Exchange) -> None:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        result({"resultType": "complete", **self._task(**state)})(exchange)

    @property
    def methods(self) -> list[str]:
        return [exchange.call.method for exchange in self.calls]


def asks(**requests: str) -> dict[str, Any]:
    questions = {
        key: {"method": "elicitation/create", "params": {**QUESTION, "message": message}}
        for key, message in requests.items()
    }
    return {"status": "input_required", "inputRequests": questions}


@pytest.fixture
async def parked(nursery: trio.Nursery, world: World) -> AsyncIterator[Parking]:
    """The world's parking, under a supervisor that runs."""
    parking = Parking(
        Keyring([bytes(32)]), ParkingLimits(seconds=600), on_event=world.events.append
    )
    world.multiplexer.parking = parking
    await nursery.start(parking.supervisor.run)
    return parking


async def cancelled_by(reply: Reply, server: Server) -> None:
    """Close a reply, and wait until its server has been told."""
    reply.close()
    await wait_all_tasks_blocked()
    assert server.calls[-1].call.method == "tasks/cancel"


# --- a client that knows nothing of tasks, and a tool that must be called as one ---------------


async def test_a_tool_that_must_be_a_task_just_works(world: World):
    server = OldServer()
    view = await world.show(server)
    params = {**CALL, "task": {"ttl": 1}, "_meta": {"progressToken": "p"}}
    reply = await send(view, "tools/call", params, modern())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_finish_soon, server)
        messages = await receive_all(reply)
    assert decoded(messages[-1].result) == {
        **DONE,
        "resultType": "complete",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "alpha"}},
    }
    assert [decoded(note.params) for note in messages[:-1]] == [{"progress": 1}]
    assert (server.sent[0]["task"], server.sent[1]) == ({}, {"taskId": "t-1"})
    assert server.methods == ["tools/call", "tasks/result"]
    assert world.multiplexer.in_flight == 0


async def _finish_soon(server: OldServer) -> None:
    await wait_all_tasks_blocked()
    related = {RELATED: {"taskId": "t-1"}}
    note = Notification("notifications/progress", raw({"progress": 1, "_meta": related}))
    server.waiting[-1].deliver(note)
    server.finish(DONE)


async def test_what_such_a_tool_asks_is_asked_in_rounds(world: World, parked: Parking):
    server = OldServer()
    view = await world.show(server)
    caller = able(capabilities=raw(ASKABLE))
    reply = await send(view, "tools/call", CALL, caller)
    asked = await _ask_while(server, reply)
    (key,) = asked["inputRequests"]
    assert asked["inputRequests"][key]["params"] == QUESTION, "without the backend's id"
    retry = {**CALL, "requestState": asked["requestState"], "inputResponses": {key: ACCEPT}}
    reply = await send(view, "tools/call", retry, caller)
    answer = server.answers[-1]
    assert decoded(answer.result) == {**ACCEPT, "_meta": {RELATED: {"taskId": "t-1"}}}
    server.finish(DONE)
    (message,) = await receive_all(reply)
    assert decoded(message.result)["content"] == DONE["content"]
    assert RELATED not in decoded(message.result)["_meta"]
    assert len(parked) == 0


async def _ask_while(server: OldServer, reply: Reply) -> dict[str, Any]:
    messages: list[Any] = []

    async def receive() -> None:
        messages.extend(await receive_all(reply))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        server.ask()
    return decoded(messages[-1].result)


@pytest.mark.parametrize("when", ["before the task is made", "while it is waited for", "parked"])
async def test_a_client_that_goes_leaves_no_task_behind(
    world: World, parked: Parking, when: str, autojump_clock: MockClock
):
    server = OldServer()
    view = await world.show(server)
    if when.startswith("before"):
        server.handlers["tools/call"] = nothing
    reply = await send(view, "tools/call", CALL, able(capabilities=raw(ASKABLE)))
    if when == "parked":
        await _ask_while(server, reply)
        await trio.sleep(601)
    else:
        with trio.move_on_after(1):
            await reply.receive()
    reply.close()
    await trio.sleep(1)
    assert ("tasks/cancel" in server.methods) is (not when.startswith("before"))
    assert len(server.cancelled) == 1
    assert (len(parked), world.multiplexer.in_flight) == (0, 0)


async def test_a_task_that_takes_too_long_is_cancelled(world: World, autojump_clock: MockClock):
    server = OldServer(call_timeout=5)
    view = await world.show(server)
    started = trio.current_time()
    error = await ask_for_error(view, "tools/call", CALL, modern())
    assert (error["code"], trio.current_time() - started) == (-33003, 5)
    await trio.sleep(1)
    assert server.methods == ["tools/call", "tasks/result", "tasks/cancel"]


async def test_a_tool_that_need_not_be_a_task_is_none_for_who_has_not_asked(world: World):
    server = OldServer("optional")
    server.handlers["tools/call"] = result(DONE)
    view = await world.show(server)
    await ask(view, "tools/call", CALL, modern())
    assert "task" not in server.sent[-1]


async def test_a_backend_that_makes_no_task_after_all_answers_itself(world: World):
    server = OldServer()
    server.handlers["tools/call"] = result(DONE)
    view = await world.show(server)
    for caller in (modern(), able()):
        assert (await ask(view, "tools/call", CALL, caller))["content"] == DONE["content"]


# --- a client with the extension, and tasks of 2025-11-25 --------------------------------------


async def make(view: View, caller: Caller | None = None) -> str:
    handle = await ask(view, "tools/call", CALL, caller or able())
    assert handle["resultType"] == "task"
    return str(handle["taskId"])


@pytest.mark.parametrize("support", ["required", "optional"])
async def test_a_task_of_2025_is_offered_as_one_of_the_extension(world: World, support: str):
    server = OldServer(support)
    view = await world.show(server)
    assert EXTENSION in view.contents.capabilities["extensions"]
    handle = await ask(view, "tools/call", CALL, able())
    described = {"status": "working", **SINCE, "ttlMs": 9, "pollIntervalMs": 5, "more": [1]}
    meta = {"x": 1, "io.modelcontextprotocol/serverInfo": {"name": "alpha"}}
    task = handle["taskId"]
    assert handle == {"resultType": "task", "taskId": task, **described, "_meta": meta}
    got = await ask(view, "tasks/get", {"taskId": task}, able())
    assert got == {"resultType": "complete", "taskId": task, **described}


@pytest.mark.parametrize(
    ("status", "outcome", "expected"),
    [
        ("completed", DONE, {"status": "completed", "result": DONE}),
        ("failed", {**DONE, "isError": True}, None),
        ("failed", {"code": -32603, "message": "broken"}, None),
        ("cancelled", None, {"status": "cancelled"}),
    ],
)
async def test_how_a_task_of_2025_has_ended_is_said_as_the_extension_says_it(
    world: World, status: str, outcome: dict[str, Any] | None, expected: dict[str, Any] | None
):
    server = OldServer()
    view = await world.show(server)
    task = await make(view)
    server.status = status
    if outcome is not None and "code" in outcome:
        error = Failure(0, raw(outcome))
        server.handlers["tasks/result"] = lambda exchange: exchange.finish(error)
        expected = {"status": "failed", "error": outcome}
    elif outcome is not None:
        related = {"_meta": {RELATED: {"taskId": "t-1"}}}
        server.handlers["tasks/result"] = result({**outcome, **related})
        expected = {"status": "completed", "result": outcome}
    got = await ask(view, "tasks/get", {"taskId": task}, able())
    if "result" in got:
        assert got["result"].pop("resultType") == "complete"
        del got["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]
        assert got["result"].pop("_meta") == {}
    assert expected is not None
    assert {key: got.get(key) for key in expected} == expected
    assert ("error" in got, "result" in got) == ("error" in expected, "result" in expected)


async def test_what_a_task_of_2025_asks_is_answered_by_updating_it(world: World, parked: Parking):
    server = OldServer()
    view = await world.show(server)
    task = await make(view)
    server.status = "input_required"
    got: list[dict[str, Any]] = []

    async def get() -> None:
        got.append(await ask(view, "tasks/get", {"taskId": task}, able()))

    for _ in range(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            nursery.start_soon(get)
            await wait_all_tasks_blocked()
            if not got:
                server.ask(8)
                server.ask(9)
    assert len(server.waiting) - len(server.cancelled) == 1, "one waits for all who ask"
    assert got[1:] == got[:1] * 3, "what is open is said again, under the same keys"
    assert got[0]["status"] == "input_required"
    first, second = got[0]["inputRequests"]
    assert got[0]["inputRequests"][first] == {"method": "elicitation/create", "params": QUESTION}
    unknown = {"taskId": task, "inputResponses": {"never asked": ACCEPT, first: ACCEPT}}
    assert await ask(view, "tasks/update", unknown, able()) == {"resultType": "complete"}
    assert [decoded(each.result) for each in server.answers] == [
        {**ACCEPT, "_meta": {RELATED: {"taskId": "t-1"}}}
    ]
    partly = await ask(view, "tasks/get", {"taskId": task}, able())
    assert list(partly["inputRequests"]) == [second]
    rest = {"taskId": task, "inputResponses": {second: ACCEPT, first: ACCEPT}}
    await ask(view, "tasks/update", rest, able())
    assert len(server.answers) == 2
    server.status = "completed"
    server.handlers["tasks/result"] = result(DONE)
    done = await ask(view, "tasks/get", {"taskId": task}, able())
    assert done["result"]["content"] == DONE["content"]
    assert len(parked) == 0


async def test_what_nobody_answers_does_not_wait_for_ever(
    world: World, parked: Parking, autojump_clock: MockClock
):
    server = OldServer()
    view = await world.show(server)
    task = await make(view)
    server.status = "input_required"
    got = await ask(view, "tasks/get", {"taskId": task}, able())
    assert (got["status"], "inputRequests" in got) == ("working", False), "nothing is asked yet"
    assert len(parked) == 1
    await trio.sleep(601)
    assert (len(parked), len(server.cancelled)) == (0, 1)
    assert "tasks/cancel" not in server.methods, "the task is its client's"
    await ask(view, "tasks/get", {"taskId": task}, able())
    server.waiting[-1].finish(Response(0, raw(DONE)))
    await wait_all_tasks_blocked()
    await ask(view, "tasks/get", {"taskId": task}, able())
    assert server.methods.count("tasks/result") == 3, "what has ended is waited for anew"


async def test_there_is_room_for_so_many_that_wait(world: World, parked: Parking):
    parked.limits = ParkingLimits(calls=0)
    server = OldServer()
    view = await world.show(server)
    task = await make(view)
    server.status = "input_required"
    with pytest.raises(ProtocolError):
        await send(view, "tasks/get", {"taskId": task}, able())
    assert len(server.cancelled) == 1


async def test_a_question_that_the_client_cannot_answer_is_refused(world: World, parked: Parking):
    server = OldServer()
    view = await world.show(server)
    mute = able(capabilities=raw({"extensions": {EXTENSION: {}}}))
    task = await make(view, mute)
    server.status = "input_required"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, view, "tasks/get", {"taskId": task}, mute)
        await wait_all_tasks_blocked()
        server.ask()
    assert [type(each) for each in server.answers] == [Failure]


async def test_cancelling_a_task_of_2025_is_acknowledged(world: World, parked: Parking):
    server = OldServer()
    view = await world.show(server)
    task = await make(view)
    for status, told in (("working", 1), ("completed", 1)):
        server.status = status
        acknowledged = await ask(view, "tasks/cancel", {"taskId": task}, able())
        assert acknowledged == {"resultType": "complete"}
        assert server.methods.count("tasks/cancel") == told
    error = {"code": -32602, "message": "Task has expired"}
    server.handlers["tasks/get"] = lambda each: each.finish(Failure(each.id, raw(error)))
    for method in ("tasks/get", "tasks/cancel", "tasks/update"):
        params = {"taskId": task, "inputResponses": {}}
        assert await ask_for_error(view, method, params, able()) == error
    with pytest.raises(InvalidParams):
        await send(view, "tasks/get", {"taskId": task}, able("eve"))


# --- a client of 2025-11-25 or before, and tasks of the extension ------------------------------


@pytest.mark.parametrize("revision", [LATEST_LEGACY, "2025-06-18", "2024-11-05"])
async def test_an_old_client_gets_the_result_of_a_task(
    world: World, autojump_clock: MockClock, revision: str
):
    server = NewServer()
    server.states.insert(0, {"status": "working", "pollIntervalMs": 500})
    view = await world.show(server)
    started = trio.current_time()
    params = CALL if revision == LATEST_LEGACY else {**CALL, "task": {}}
    assert await ask(view, "tools/call", params, old_client(revision=revision)) == DONE
    assert trio.current_time() - started == 2.5, "as often as the backend says"
    assert server.methods == ["tools/call", "tasks/get", "tasks/get"]
    assert "task" not in server.sent[0]
    await trio.sleep(1)
    assert server.methods[-1] == "tasks/get", "what has ended is not cancelled"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"status": "failed", "error": {"code": -32603, "message": "broken"}}, -32603),
        ({"status": "cancelled"}, -32603),
        ({"status": "completed", "result": 5}, -33005),
        ({"status": "input_required", "inputRequests": 5}, -33005),
        (asks(a="?") | {"inputRequests": {"a": {"method": "roots/list"}}}, -33007),
    ],
)
async def test_an_old_client_gets_the_error_of_a_task(
    world: World, autojump_clock: MockClock, state: dict[str, Any], code: int
):
    server = NewServer()
    server.states = [state]
    view = await world.show(server)
    assert (await ask_for_error(view, "tools/call", CALL, old_client()))["code"] == code


async def test_an_old_client_is_asked_what_a_task_asks(world: World, autojump_clock: MockClock):
    server = NewServer()
    server.states[:0] = [asks(a="A?", b="B?"), asks(a="A?", b="B?", c="C?"), asks(c="C?")]
    view = await world.show(server)
    reply = await send(view, "tools/call", CALL, old_client())
    asked, message = [], await reply.receive()
    while isinstance(message, Request):
        asked.append(decoded(message.params)["message"])
        assert reply.answer(Response(message.id, raw({**ACCEPT, "n": len(asked)})))
        assert not reply.answer(Response(message.id, raw(ACCEPT)))
        message = await reply.receive()
    assert asked == ["A?", "B?", "C?"], "each once"
    assert decoded(message.result) == DONE  # type: ignore[union-attr]
    updates = [sent["inputResponses"] for sent in server.sent if "inputResponses" in sent]
    assert updates == [
        {"a": {**ACCEPT, "n": 1}, "b": {**ACCEPT, "n": 2}},
        {"c": {**ACCEPT, "n": 3}},
    ]
    assert {sent["taskId"] for sent in server.sent[1:]} == {"n-1"}


async def test_a_task_that_asks_for_ever_is_given_up(world: World, autojump_clock: MockClock):
    server = NewServer()
    server.states = [asks(**{f"q{number}": "?"}) for number in range(100)]
    view = await world.show(server)
    reply = await send(view, "tools/call", CALL, old_client())
    while isinstance(message := await reply.receive(), Request):
        reply.answer(Response(message.id, raw(ACCEPT)))
    assert isinstance(message, Failure)
    assert decoded(message.error)["code"] == -33007
    await trio.sleep(1)
    assert server.methods[-1] == "tasks/cancel"


@pytest.mark.parametrize("when", ["at work", "asked", "refused", "deadline"])
async def test_an_old_client_that_goes_leaves_no_task_behind(
    world: World, autojump_clock: MockClock, when: str
):
    server = NewServer(call_timeout=10)
    server.states = [asks(a="?") if when in {"asked", "refused"} else {"status": "working"}]
    view = await world.show(server)
    reply = await send(view, "tools/call", CALL, old_client())
    with trio.move_on_after(100 if when == "deadline" else 3):
        message = await reply.receive()
    if when == "refused":
        reply.answer(Failure(message.id, raw({"code": -1, "message": "no"})))
        message = await reply.receive()
        assert decoded(message.error)["code"] == -33007  # type: ignore[union-attr]
    if when == "deadline":
        assert decoded(message.error)["code"] == -33003  # type: ignore[union-attr]
    reply.close()
    reply.close()
    assert isinstance(await reply.receive(), Failure)
    await trio.sleep(1)
    assert server.methods[-1] == "tasks/cancel"
    assert server.methods.count("tasks/cancel") == 1
    assert server.sent[-1]["taskId"] == "n-1"
    assert world.multiplexer.in_flight == 0


async def test_an_old_client_that_goes_before_there_is_a_task_cancels_the_call(world: World):
    server = NewServer()
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    reply = await send(view, "tools/call", CALL, old_client())
    reply.close()
    await wait_all_tasks_blocked()
    assert server.methods == ["tools/call"]
    assert len(server.cancelled) == 1


@pytest.mark.parametrize("handle", [{"resultType": "task"}, {"resultType": "task", "taskId": 5}])
async def test_a_handle_without_an_id_is_the_backends_error(world: World, handle: dict[str, Any]):
    server, other = NewServer(), OldServer()
    server.handlers["tools/call"] = result(handle)
    view = await world.show(server)
    assert (await ask_for_error(view, "tools/call", CALL, old_client()))["code"] == -33005
    other.handlers["tools/call"] = result({"task": handle})
    view = await world.show(other)
    assert (await ask(view, "tools/call", CALL, modern()))["task"] == handle, "no task, a result"


async def test_clients_of_2025_are_told_which_tools_can_be_tasks(world: World):
    server, other = NewServer(), Server("other", tools=[tool("u")])
    server.lists["tools"].append(tool("v", execution={"taskSupport": "forbidden", "x": 1}))
    view = await world.show(server, other)
    listed = (await ask(view, "tools/list", {}, old_client()))["tools"]
    assert [each.get("execution") for each in listed] == [
        {"taskSupport": "optional"},
        {"taskSupport": "forbidden", "x": 1},
        None,
    ]
    listed = (await ask(view, "tools/list", {}, modern()))["tools"]
    assert "execution" not in listed[0]


async def make_old(view: View, caller: Caller) -> str:
    made = await ask(view, "tools/call", {**CALL, "task": {"ttl": 5}}, caller)
    task = made["task"]["taskId"]
    times = {**SINCE, "ttl": 60_000, "pollInterval": 2000}
    assert made == {"task": {"taskId": task, "status": "working", **times}}
    return str(task)


async def test_a_client_of_2025_gets_a_task_where_it_has_asked_for_one(
    world: World, autojump_clock: MockClock
):
    server = NewServer()
    server.states = [{"status": "working"}, {"status": "working"}, server.states[0]]
    view = await world.show(server)
    offered = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    assert view.contents.declared(LATEST_LEGACY)["tasks"] == offered
    ada = old_client()
    task = await make_old(view, ada)
    times = {**SINCE, "ttl": 60_000, "pollInterval": 2000}
    working = {"taskId": task, "status": "working", **times}
    assert await ask(view, "tasks/get", {"taskId": task}, ada) == working
    assert await ask(view, "tasks/list", {}, ada) == {"tasks": [working]}
    related = {"_meta": {RELATED: {"taskId": task}}}
    assert await ask(view, "tasks/result", {"taskId": task}, ada) == {**DONE, **related}
    completed = {**working, "status": "completed"}
    assert await ask(view, "tasks/get", {"taskId": task}, ada) == completed
    error = await _refusal(view, "tasks/cancel", task, ada)
    assert error["code"] == -32602
    server.states = [{"status": "completed", "result": {**DONE, "isError": True}}]
    got = await ask(view, "tasks/get", {"taskId": task}, ada)
    assert got["status"] == "failed", "as the revision calls it"
    assert "tasks/cancel" not in server.methods


async def _refusal(view: View, method: str, task: str, caller: Caller) -> dict[str, Any]:
    with pytest.raises(ProtocolError) as info:
        await receive_all(await send(view, method, {"taskId": task}, caller))
    return decoded(info.value.error)


async def test_a_question_of_its_task_tells_a_client_of_2025_which_one_it_is(
    world: World, autojump_clock: MockClock
):
    server = NewServer()
    view = await world.show(server)
    ada = old_client()
    task = await make_old(view, ada)
    server.states = [asks(a="A?"), {"status": "working"}]
    reply = await send(view, "tasks/result", {"taskId": task}, ada)
    question = await reply.receive()
    assert isinstance(question, Request)
    assert decoded(question.params)["_meta"] == {RELATED: {"taskId": task}}
    reply.answer(Response(question.id, raw(ACCEPT)))
    with trio.move_on_after(1):
        await reply.receive()
    reply.close()
    await trio.sleep(1)
    assert "tasks/update" in server.methods
    assert "tasks/cancel" not in server.methods, "the task is its client's"


async def test_what_a_client_of_2025_has_cancelled_stays_so(world: World):
    server = NewServer()
    server.states = [{"status": "working"}]
    view = await world.show(server)
    ada = old_client()
    task = await make_old(view, ada)
    for method in ("tasks/cancel", "tasks/get"):
        assert (await ask(view, method, {"taskId": task}, ada))["status"] == "cancelled"
    assert (await ask(view, "tasks/list", {}, ada))["tasks"][0]["status"] == "cancelled"
    error = await _refusal(view, "tasks/cancel", task, ada)
    assert error["code"] == -32602


async def test_a_result_is_a_task_that_has_ended_for_who_has_asked_for_one(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    server = NewServer()
    server.handlers["tools/call"] = result({**DONE, "resultType": "complete"})
    view = await world.show(server)
    ada = old_client()
    made = await ask(view, "tools/call", {**CALL, "task": {}}, ada)
    task = made["task"]["taskId"]
    assert (made["task"]["status"], made["task"]["ttl"]) == ("completed", 600_000)
    assert await ask(view, "tasks/get", {"taskId": task}, ada) == made["task"]
    assert await ask(view, "tasks/list", {}, ada) == {"tasks": [made["task"]]}
    related = {"_meta": {RELATED: {"taskId": task}}}
    assert await ask(view, "tasks/result", {"taskId": task}, ada) == {**DONE, **related}
    assert (await _refusal(view, "tasks/cancel", task, ada))["code"] == -32602
    monkeypatch.setattr(finished, "MAX_OF_ONE", 1)
    server.handlers["tools/call"] = result({**DONE, "isError": True, "resultType": "complete"})
    other = await ask(view, "tools/call", {**CALL, "task": {}}, ada)
    assert other["task"]["status"] == "failed"
    assert (await _refusal(view, "tasks/get", task, ada))["code"] == -32602
    assert await ask(view, "tasks/list", {}, ada) == {"tasks": [other["task"]]}


def test_results_are_kept_for_so_long_and_so_many():
    now = 0.0
    kept = finished.Finished(lambda: now)
    large = Raw(b'{"x":"%b"}' % (b"x" * (finished.MAX_BYTES // 2)))
    first, second = [kept.keep("ada", large) for _ in range(2)]
    assert (kept.find(first), len(kept)) == (None, 1)
    now += finished.KEPT
    assert kept.find(second) is None
    third = kept.keep("eve", Raw(b"not an object"))
    assert len(kept) == 1
    assert json.dumps(kept.find(third) is not None) == "true"


async def test_a_client_of_2025_gets_the_error_of_its_call_at_once(world: World):
    server = NewServer()
    error = Failure(0, raw({"code": -32602, "message": "no"}))
    server.handlers["tools/call"] = lambda exchange: exchange.finish(error)
    view = await world.show(server)
    made = await ask_for_error(view, "tools/call", {**CALL, "task": {}}, old_client())
    assert made["code"] == -32602
    assert await ask(view, "tasks/list", {}, legacy()) == {"tasks": []}


async def test_a_task_that_cannot_be_waited_for_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    async def overloaded(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise Overloaded("too much")

    monkeypatch.setattr(Asker, "open", overloaded)
    server = OldServer()
    view = await world.show(server)
    assert (await ask_for_error(view, "tools/call", CALL, modern()))["code"] == -33004
    await wait_all_tasks_blocked()
    assert server.methods == ["tools/call", "tasks/cancel"]


def test_how_often_a_task_is_asked_about_is_bounded():
    for wanted, expected in ((50, 0.05), (0, 0.02), (10**9, 60), ("x", 1), (True, 1), (None, 1)):
        assert taskdesigns.poll_after({"pollIntervalMs": raw(wanted)}) == expected


def test_what_is_no_tool_is_left_alone():
    for nonsense in (Raw(b"5"), Raw(b'{"name":"t","execution":5}')):
        assert taskdesigns.offering_task(nonsense) is nonsense


def test_a_completed_task_with_nonsense_for_a_result_is_a_completed_one():
    task = {"status": raw("completed"), "result": raw(5)}
    assert taskdesigns.as_legacy(task, "t")["status"] == raw("completed")


async def test_a_list_leaves_out_what_a_backend_describes_with_nonsense(world: World):
    server = NewServer()
    view = await world.show(server)
    ada = old_client()
    task = await make_old(view, ada)
    server.handlers["tasks/get"] = result(Raw(b"5"))
    (listed,) = (await ask(view, "tasks/list", {}, ada))["tasks"]
    assert (listed["taskId"], listed["status"]) == (task, "working"), "as it was made"
    assert (await _refusal(view, "tasks/get", task, ada))["code"] == -33005
