"""Tasks of the extension and of 2025-11-25: their ids, and whom messages about them reach."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.backend import Caller
from onemcp.multiplexer import TaskIds, TaskRefused, View
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, Request, Response
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
TASKS = {"extensions": {EXTENSION: {}}}
ABLE = raw({**TASKS, "elicitation": {}})
CALL = ("tools/call", {"name": "alpha__t"})
HANDLE = {
    "resultType": "task",
    "taskId": "t-1",
    "status": "working",
    "ttlMs": 60000,
    "pollIntervalMs": 50,
    "unheardOf": [1],
}


def able(principal: str = "ada", **more: Any) -> Caller:
    return Caller(object(), principal, LATEST_MODERN, **{"capabilities": ABLE, **more})


def new(name: str = "alpha", **more: Any) -> Server:
    able_to = {"tools": {"listChanged": True}, **TASKS}
    server = Server(name, capabilities=able_to, tools=[tool("t")], **more)
    server.handlers["tools/call"] = result(HANDLE)
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        server.handlers[method] = result({**HANDLE, "resultType": "complete"})
    return server


def old(name: str = "alpha") -> Server:
    tasks = {"cancel": {}, "requests": {"tools": {"call": {}}}}
    server = Server(
        name,
        revision=LATEST_LEGACY,
        capabilities={"tools": {}, "tasks": tasks},
        tools=[tool("t", execution={"taskSupport": "optional"})],
    )
    server.handlers["tools/call"] = result({"task": {"taskId": "t-1", "ttl": 5}, "more": 1})
    server.handlers["tasks/get"] = result({"taskId": "t-1", "status": "working", "ttl": 5})
    related = {RELATED: {"taskId": "t-1", "x": 1}, "y": 2}
    server.handlers["tasks/result"] = result({"content": [], "_meta": related})
    return server


async def make(view: View, caller: Caller | None = None, name: str = "alpha__t") -> str:
    made = await ask(view, "tools/call", {"name": name}, caller or able())
    return str(made["taskId"])


async def make_old(view: View, caller: Caller) -> str:
    made = await ask(view, "tools/call", {**CALL[1], "task": {"ttl": 5}}, caller)
    assert made == {"task": {"taskId": made["task"]["taskId"], "ttl": 5}, "more": 1}
    return str(made["task"]["taskId"])


# --- the extension ---------------------------------------------------------------------------


async def test_a_task_has_an_id_of_onemcps_own_and_nothing_else_is_changed(world: World):
    view = await world.show(new())
    made = await ask(view, *CALL, able())
    assert made == {**HANDLE, "taskId": made["taskId"]}
    assert made["taskId"].startswith("onemcp1.")
    assert "t-1" not in made["taskId"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_is_reached_by_its_id_at_the_backend_that_has_it(world: World, method: str):
    one, two = new("one"), new("two")
    view = await world.show(one, two)
    task = await make(view, name="two__t")
    params = {"taskId": task, "inputResponses": {"q": {"action": "accept"}}}
    answer = await ask(view, method, params, able())
    assert one.calls == []
    assert {key: two.sent[-1][key] for key in params} == {**params, "taskId": "t-1"}
    if method == "tasks/get":
        assert answer["taskId"] == task, "a task keeps its id"


async def test_an_id_outlives_the_process(nursery: trio.Nursery):
    keyring = Keyring.ephemeral()
    worlds = [World(nursery), World(nursery)]
    for world in worlds:
        world.multiplexer.tasks = TaskIds(keyring)
    task = await make(await worlds[0].show(new()))
    view = await worlds[1].show(new())
    assert (await ask(view, "tasks/get", {"taskId": task}, able()))["taskId"] == task


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_ids_that_were_never_given_out_are_refused(world: World, method: str):
    server = new()
    view = await world.show(server, new("beta"))
    task = await make(view)
    server.calls.clear()
    other = await make(world.view("alpha"), name="t")
    elsewhere = TaskIds(Keyring.ephemeral())
    ref = world.multiplexer.tasks.open(task, able(), None)
    refusals = [
        (able(), "t-1", "it was not issued here"),
        (able(), task[:-1], "it was not issued here"),
        (able(), task[:30] + task[30:].swapcase(), "it was not issued here"),
        (able(), elsewhere.seal(ref), "it was not issued here"),
        (able(), "x" * 100_000, "it was not issued here"),
        (able("eve"), task, "it is another principal's"),
        (able(), other, "it is of another endpoint"),
    ]
    server.calls.clear()
    for caller, task_id, why in refusals:
        error = await refused(view, method, {"taskId": task_id}, caller)
        assert error["code"] == -32602
        assert error["message"] == "Task not found: its id is not valid here"
        assert world.events[-1] == TaskRefused(caller.principal, why)
    assert (await refused(view, method, {"taskId": 5}, able()))["code"] == -32602
    assert server.calls == []


async def refused(
    view: View, method: str, params: dict[str, Any], caller: Caller
) -> dict[str, Any]:
    with pytest.raises(Exception) as info:  # noqa: PT011 - looked at below
        await send(view, method, params, caller)
    return decoded(info.value.error)  # type: ignore[attr-defined]


async def test_a_task_of_a_backend_that_has_gone_is_unknown(world: World):
    one, two = new("one"), new("two")
    task = await make(await world.show(one, two), name="one__t")
    view = await world.show(two)
    error = await refused(view, "tasks/get", {"taskId": task}, able())
    assert error["code"] == -32602
    assert world.events[-1] == TaskRefused("ada", "its backend is not there any more")


async def test_clients_without_the_extension_get_no_tasks_and_reach_none(world: World):
    view = await world.show(new())
    task = await make(view)
    error = await refused(view, "tasks/get", {"taskId": task}, modern())
    assert error["code"] == -32021
    assert error["data"] == {"requiredCapabilities": TASKS}
    error = await ask_for_error(view, *CALL, modern())
    assert error["code"] == -33005
    assert "has not declared" in error["message"]


async def test_a_legacy_client_cannot_declare_the_extension(world: World):
    server = new()
    server.lists["prompts"] = [{"name": "p"}]
    server.description.capabilities["prompts"] = {}
    view = await world.show(server)
    await ask(view, "prompts/get", {"name": "alpha__p"}, legacy(capabilities=ABLE))
    sent = server.sent[-1]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    assert sent == {"extensions": {}, "elicitation": {}}


@pytest.mark.parametrize(
    ("method", "caller"),
    [
        ("tasks/result", able()),
        ("tasks/list", able()),
        ("tasks/update", legacy()),
    ],
)
async def test_methods_of_the_other_design_do_not_exist(world: World, method: str, caller: Caller):
    view = await world.show(new(), old("beta"))
    assert (await refused(view, method, {"taskId": "t"}, caller))["code"] == -32601


@pytest.mark.parametrize("caller", [able(), legacy(), legacy("2025-06-18")])
async def test_where_nothing_offers_tasks_their_methods_do_not_exist(world: World, caller: Caller):
    servers = [Server("plain", tools=[tool("t")])]
    if caller.revision == "2025-06-18":
        servers += [old(), new("beta")]
    view = await world.show(*servers)
    assert (await refused(view, "tasks/get", {"taskId": "t"}, caller))["code"] == -32601


async def test_an_id_that_is_too_long_is_the_backends_error(world: World):
    server = new()
    server.handlers["tools/call"] = result({**HANDLE, "taskId": "x" * 1025})
    view = await world.show(server)
    assert (await ask_for_error(view, *CALL, able()))["code"] == -33005


async def test_a_result_that_only_looks_like_a_task_is_left_alone(world: World):
    server = new()
    body = {"resultType": "complete", "structuredContent": {"resultType": "task", "taskId": "t"}}
    server.handlers["tools/call"] = result(body)
    view = await world.show(server)
    assert await ask(view, *CALL, modern()) == body


# --- subscriptions ---------------------------------------------------------------------------


async def listen(view: View, ids: list[str], caller: Caller) -> tuple[Any, list[str]]:
    reply = await send(view, "subscriptions/listen", {"notifications": {"taskIds": ids}}, caller)
    acknowledged = await reply.receive()
    return reply, decoded(acknowledged.params)["notifications"].get("taskIds", [])


async def test_a_task_that_was_subscribed_to_is_told_of_to_its_owner_alone(world: World):
    server = new()
    view = await world.show(server)
    task = await make(view)
    server.handlers["tools/call"] = result({**HANDLE, "taskId": "t-9"})
    hers = await make(view, able("eve"))
    mine, granted = await listen(view, [task, hers, "t-1"], able())
    other, none = await listen(view, [task], able("eve"))
    assert (granted, none) == ([task], [])
    await wait_all_tasks_blocked()
    assert server.tasks == {"t-1"}
    server.announce("notifications/tasks", taskId="t-1", status="completed", result={"x": 1})
    server.announce("notifications/tasks", taskId="t-2", status="completed")
    server.announce("notifications/tasks", status="completed")
    told = decoded((await mine.receive()).params)
    assert told == {
        "taskId": task,
        "status": "completed",
        "result": {"x": 1},
        "_meta": {"io.modelcontextprotocol/subscriptionId": 7},
    }
    with trio.move_on_after(0) as scope:
        await other.receive()
    assert scope.cancelled_caught
    for reply in (mine, other):
        reply.close()
    await wait_all_tasks_blocked()
    assert server.tasks == set()


async def test_subscribing_to_tasks_takes_the_extension(world: World):
    view = await world.show(new())
    wanted = {"notifications": {"taskIds": ["t"]}}
    error = await refused(view, "subscriptions/listen", wanted, modern())
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": TASKS})


@pytest.mark.parametrize("ids", [5, [5], ["x"] * 1001])
async def test_a_malformed_filter_is_refused(world: World, ids: object):
    view = await world.show(new())
    wanted = {"notifications": {"taskIds": ids}}
    assert (await refused(view, "subscriptions/listen", wanted, able()))["code"] == -32602


async def test_a_replaced_backend_is_asked_for_the_same_tasks(world: World):
    view = await world.show(new())
    reply, _ = await listen(view, [await make(view)], able())
    replaced = new()
    await world.show(replaced)
    await wait_all_tasks_blocked()
    assert replaced.tasks == {"t-1"}
    reply.close()
    await world.show()


# --- 2025-11-25 ------------------------------------------------------------------------------


async def test_a_legacy_task_is_named_wherever_the_revision_names_it(world: World):
    server, ada = old(), legacy()
    view = await world.show(server)
    task = await make_old(view, ada)
    assert server.sent[-1]["task"] == {"ttl": 5}
    got = await ask(view, "tasks/get", {"taskId": task}, ada)
    assert got == {"taskId": task, "status": "working", "ttl": 5}
    whole = await ask(view, "tasks/result", {"taskId": task}, ada)
    assert whole == {"content": [], "_meta": {RELATED: {"taskId": task, "x": 1}, "y": 2}}
    assert server.sent[-1]["taskId"] == "t-1"


async def test_a_question_of_a_task_names_it_as_each_side_knows_it(world: World):
    server, ada = old(), legacy(capabilities=ABLE)
    server.handlers["tasks/result"] = nothing
    view = await world.show(server)
    task = await make_old(view, ada)
    reply = await send(view, "tasks/result", {"taskId": task}, ada)
    meta = {RELATED: {"taskId": "t-1"}}
    server.last.deliver(Request(9, "elicitation/create", raw({"message": "?", "_meta": meta})))
    question = await reply.receive()
    assert isinstance(question, Request)
    assert decoded(question.params)["_meta"] == {RELATED: {"taskId": task}}
    for answer in (task, "never given out"):
        meta = {RELATED: {"taskId": answer}}
        reply.answer(Response(question.id, raw({"action": "accept", "_meta": meta})))
        server.last.deliver(Request(9, "elicitation/create", Raw(b'{"message":"?"}')))
        question = await reply.receive()
    assert [decoded(each.result)["_meta"] for each in server.answers] == [
        {RELATED: {"taskId": "t-1"}},
        {RELATED: {}},
    ]
    server.last.deliver(
        Notification("notifications/x", raw({"_meta": {RELATED: {"taskId": "t-1"}}}))
    )
    note = await reply.receive()
    assert decoded(note.params)["_meta"] == {RELATED: {"taskId": task}}
    reply.close()


async def test_a_tasks_status_reaches_the_session_that_made_it_and_no_other(world: World):
    server = old()
    view = await world.show(server)
    ada, eve = Caller("ada's", "ada", LATEST_LEGACY), Caller("eve's", "eve", LATEST_LEGACY)
    hears, other = [await view.subscribe(frozenset(), caller=caller) for caller in (ada, eve)]
    task = await make_old(view, ada)
    server.announce("notifications/tasks/status", taskId="t-2", status="working")
    for status in ("input_required", "completed"):
        server.announce("notifications/tasks/status", taskId="t-1", status=status)
    note = await hears.receive()
    assert note.method == "notifications/tasks/status"
    assert decoded(note.params) == {"taskId": task, "status": "completed"}, "the last one tells all"
    for hearer in (hears, other):
        with trio.move_on_after(0) as scope:
            await hearer.receive()
        assert scope.cancelled_caught
        hearer.close()


async def test_a_tasks_progress_reaches_the_session_that_made_it_and_no_other(world: World):
    server = old()
    view = await world.show(server)
    ada, eve = Caller("ada's", "ada", LATEST_LEGACY), Caller("eve's", "eve", LATEST_LEGACY)
    hears, other = [await view.subscribe(frozenset(), caller=caller) for caller in (ada, eve)]
    task = await make_old(view, ada)
    for done in (1, 2):
        related = {RELATED: {"taskId": "t-1"}}
        server.announce("notifications/progress", progressToken=5, progress=done, _meta=related)
    server.announce("notifications/progress", progressToken=5, progress=3)
    note = await hears.receive()
    assert note.method == "notifications/progress"
    related = {RELATED: {"taskId": task}}
    assert decoded(note.params) == {"progressToken": 5, "progress": 2, "_meta": related}
    for hearer in (hears, other):
        with trio.move_on_after(0) as scope:
            await hearer.receive()
        assert scope.cancelled_caught
        hearer.close()


async def test_only_so_many_sessions_are_remembered(world: World, monkeypatch):
    monkeypatch.setattr("onemcp.multiplexer.tasks.register.MAX_TASKS", 2)
    monkeypatch.setattr("onemcp.multiplexer.tasks.register.MAX_OF_ONE", 2)
    server, ada = old(), Caller("ada's", "ada", LATEST_LEGACY)
    view = await world.show(server)
    for number in range(3):
        made = {"task": {"taskId": f"t-{number}", "status": "completed"}}
        server.handlers["tools/call"] = result(made)
        await ask(view, "tools/call", {**CALL[1], "task": {}}, ada)
    ids = world.multiplexer.tasks
    assert [ids.follower("alpha", f"t-{number}") is None for number in range(3)] == [
        True,
        False,
        False,
    ]


async def test_a_modern_client_makes_no_legacy_task_by_accident(world: World):
    server = old()
    server.handlers["tools/call"] = result({"content": []})
    view = await world.show(server)
    await ask(view, "tools/call", {**CALL[1], "task": {"ttl": 1}}, modern())
    assert "task" not in server.sent[-1]


async def test_a_result_without_a_task_is_carried_byte_for_byte(world: World):
    server = old()
    body = Raw(rb'{ "content":[],"task" : {"taskId":"mine"}, "s":"\u00e9 related-task" }')
    server.handlers["tools/call"] = result(body)
    view = await world.show(server)
    answer = (await receive_all(await send(view, *CALL, legacy())))[-1]
    assert bytes(answer.result) == bytes(body)


def test_nothing_of_a_task_is_shown_of_the_ids():
    ids = TaskIds(Keyring.ephemeral())
    assert json.dumps(repr(ids)) == '"<TaskIds <Register tasks=0 principals=0>>"'


# --- tasks of clients ------------------------------------------------------------------------


async def test_a_backends_requests_about_a_clients_task_are_put_to_it(world: World):
    kinds = {"elicitation": {"create": {}}}
    able_to = raw({"elicitation": {}, "tasks": {"requests": kinds}})
    server, ada = old(), Caller("ada's", "ada", LATEST_LEGACY, able_to)
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    reply = await send(view, *CALL, ada)
    exchange, inbound = server.last, server.connection.inbound  # type: ignore[union-attr]
    inbound.add(exchange)
    asks = {"message": "?", "task": {}}
    inbound.take(Request(1, "elicitation/create", raw(asks)), exchange)
    question = await reply.receive()
    assert decoded(question.params) == asks
    reply.answer(Response(question.id, raw({"task": {"taskId": "mine", "status": "working"}})))
    made = inbound.claim(exchange, server.answers[-1])
    task = decoded(made.result)["task"]["taskId"]  # type: ignore[union-attr]
    inbound.take(Request(2, "tasks/get", raw({"taskId": task})), exchange)
    question = await reply.receive()
    assert (question.method, decoded(question.params)) == ("tasks/get", {"taskId": "mine"})
    for told in ({"taskId": "mine", "status": "completed"}, {"taskId": "other"}):
        view.task_status(Notification("notifications/tasks/status", raw(told)), ada)
    view.task_status(Notification("notifications/tasks/status", Raw(b"5")), ada)
    view.task_status(Notification("notifications/tasks/status", raw({"taskId": "mine"})), legacy())
    assert server.told == ["notifications/tasks/status"]
    reply.close()


async def test_a_client_without_tasks_is_not_asked_about_them(world: World):
    server = old()
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    reply = await send(view, *CALL, legacy(capabilities=ABLE))
    server.last.deliver(Request(1, "tasks/get", raw({"taskId": "t"})))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reply.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert decoded(server.answers[-1].error)["code"] == -32601  # type: ignore[union-attr]
    reply.close()
