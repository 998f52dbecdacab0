"""``tasks/list`` of 2025-11-25: each principal's own tasks, of all backends, and nobody else's."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from onemcp.auth import parse_scopes
from onemcp.backend import Caller, Exchange
from onemcp.multiplexer import TaskIds, TaskRefused, TasksNotNoted, View
from onemcp.multiplexer.tasks import describing, listing, register
from onemcp.protocol.errors import InvalidParams, MethodNotFound, Overloaded
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from onemcp.state import Keyring, Ledger, StateError, ledger_in_memory, open_ledger
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    ask_for_error,
    decoded,
    legacy,
    nothing,
    result,
    send,
    tool,
)

ADA = Caller("ada's session", "ada", LATEST_LEGACY)
EVE = Caller("eve's session", "eve", LATEST_LEGACY)


class TaskServer(Server):
    """A server of 2025-11-25 that makes tasks."""

    def __init__(self, name: str = "alpha", tools: tuple[str, ...] = ("t",)) -> None:
        declared = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
        execution = {"taskSupport": "optional"}
        super().__init__(
            name,
            revision=LATEST_LEGACY,
            capabilities={"tools": {}, "tasks": declared},
            tools=[tool(each, execution=execution) for each in tools],
        )
        self.statuses: dict[str, str] = {}
        self.more: dict[str, Any] = {"ttl": 60_000}
        self.next_id: str | None = None
        self.handlers["tools/call"] = self._make
        self.handlers["tasks/get"] = self._get

    def _task(self, task_id: str) -> dict[str, Any]:
        return {"taskId": task_id, "status": self.statuses[task_id], **self.more}

    def _make(self, exchange: Exchange) -> None:
        task_id = self.next_id or f"{self.name}-{len(self.statuses)}"
        self.statuses[task_id] = "working"
        result({"task": self._task(task_id)})(exchange)

    def _get(self, exchange: Exchange) -> None:
        task_id = json.loads(bytes(exchange.call.params["taskId"]))
        if task_id in self.statuses:
            result({**self._task(task_id), "_meta": {"x": 1}})(exchange)
        else:
            error = raw({"code": -32602, "message": "Task not found"})
            exchange.finish(Failure(exchange.id, error))


async def make(view: View, caller: Caller = ADA, name: str = "alpha__t") -> str:
    made = await ask(view, "tools/call", {"name": name, "task": {}}, caller)
    return str(made["task"]["taskId"])


async def listed(view: View, caller: Caller = ADA) -> list[str]:
    ids, params = [], dict[str, Any]()
    while True:
        page = await ask(view, "tasks/list", params, caller)
        ids += [each["taskId"] for each in page["tasks"]]
        if "nextCursor" not in page:
            return ids
        params = {"cursor": page["nextCursor"]}


async def test_everybody_lists_their_own_tasks_of_all_backends(world: World):
    view = await world.show(TaskServer("one"), TaskServer("two"))
    mine = [await make(view, ADA, name) for name in ("one__t", "two__t", "one__t")]
    hers = [await make(view, EVE, "one__t")]
    assert view.contents.declared(LATEST_LEGACY)["tasks"]["list"] == {}
    assert await listed(view) == mine
    assert await listed(view, EVE) == hers
    assert await listed(view, Caller("a third one's", "bob", LATEST_LEGACY)) == []
    assert await listed(world.view("one")) == [], "where they were not made"


async def test_a_task_is_listed_as_its_backend_describes_it(world: World):
    server = TaskServer()
    view = await world.show(server)
    task = await make(view)
    server.statuses["alpha-0"] = "completed"
    server.more["unheardOf"] = [1]
    page = await ask(view, "tasks/list", {}, ADA)
    described = {"taskId": task, "status": "completed", "ttl": 60_000, "unheardOf": [1]}
    assert page == {"tasks": [described]}


async def test_a_list_has_pages_and_its_cursors_are_good_for_their_owner_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    view = await world.show(TaskServer())
    tasks = [await make(view) for _ in range(5)]
    await make(view, EVE)
    assert await listed(view) == tasks
    cursor = (await ask(view, "tasks/list", {}, ADA))["nextCursor"]
    for caller, wrong, where in (
        (EVE, cursor, view),
        (ADA, cursor, world.view("alpha")),
        (ADA, cursor[:-1] + "!", view),
        (ADA, tasks[0], view),
        (ADA, "", view),
        (ADA, 5, view),
        (
            ADA,
            TaskIds(Keyring.ephemeral()).seal(world.multiplexer.tasks.open(tasks[0], ADA, None)),
            view,
        ),
    ):
        with pytest.raises(InvalidParams):
            await send(where, "tasks/list", {"cursor": wrong}, caller)


async def test_what_a_backend_does_not_know_any_more_is_listed_no_longer(world: World):
    server = TaskServer()
    view = await world.show(server)
    tasks = [await make(view), await make(view)]
    del server.statuses["alpha-0"]
    assert await listed(view) == tasks[1:]
    assert (await ask_for_error(view, "tasks/get", {"taskId": tasks[0]}, ADA))["code"] == -32602


async def test_a_backend_that_does_not_answer_delays_no_list_for_long(
    world: World, autojump_clock: trio.testing.MockClock
):
    slow, down = TaskServer("slow"), TaskServer("down")
    view = await world.show(slow, down)
    tasks = [await make(view, ADA, name) for name in ("slow__t", "down__t")]
    slow.handlers["tasks/get"] = nothing
    down.crash()
    started = trio.current_time()
    assert await listed(view) == tasks, "as they were described last"
    assert trio.current_time() - started == listing.PATIENCE
    assert slow.last in slow.cancelled


async def test_who_may_not_see_a_backend_any_more_sees_no_tasks_of_it(world: World):
    view = await world.show(TaskServer("one"), TaskServer("two"))
    mine = [await make(view, ADA, name) for name in ("one__t", "two__t")]
    selection = world.multiplexer.granted(parse_scopes(["backend:two"]))
    less = world.multiplexer.view(None, selection)
    assert less is not None
    assert await listed(less) == mine[1:]
    with pytest.raises(InvalidParams):
        await send(less, "tasks/get", {"taskId": mine[0]}, ADA)
    await world.show(TaskServer("two"))
    assert await listed(view) == []


async def test_an_id_that_a_backend_gives_away_again_is_its_last_owners_alone(world: World):
    server = TaskServer()
    server.next_id = "1"
    view = await world.show(server)
    mine = await make(view)
    hers = await make(view, EVE)
    assert (await listed(view), await listed(view, EVE)) == ([], [hers])
    with pytest.raises(InvalidParams):
        await send(view, "tasks/get", {"taskId": mine}, ADA)
    assert world.events[-1] == TaskRefused(
        "ada", "its backend has given the id to another principal since"
    )


async def test_a_backend_that_answers_about_another_task_takes_nobodys_away(world: World):
    server = TaskServer()
    view = await world.show(server)
    mine, hers = await make(view), await make(view, EVE)
    server.handlers["tasks/get"] = result({"taskId": "alpha-1", "status": "working"})
    await ask(view, "tasks/get", {"taskId": mine}, ADA)
    assert len(await listed(view)) == 1
    assert await listed(view, EVE) == [hers]


async def test_a_client_has_so_many_tasks_that_go_on(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(register, "MAX_OF_ONE", 3)
    server = TaskServer()
    view = await world.show(server)
    tasks = [await make(view) for _ in range(3)]
    with pytest.raises(Overloaded):
        await make(view)
    assert len(server.calls) == 3, "the backend was not asked"
    other = await make(view, EVE)
    server.statuses["alpha-1"] = "failed"
    await ask(view, "tasks/get", {"taskId": tasks[1]}, ADA)
    newest = await make(view)
    assert await listed(view) == [tasks[0], tasks[2], newest], "what has ended made room"
    assert await listed(view, EVE) == [other]


async def test_so_many_tasks_are_remembered_altogether(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(register, "MAX_TASKS", 2)
    view = await world.show(TaskServer())
    await make(view, EVE)
    mine = [await make(view), await make(view)]
    assert (await listed(view), await listed(view, EVE)) == (mine, [])


async def test_a_task_is_forgotten_some_time_after_it_has_expired(world: World):
    now = 1000.0
    world.multiplexer.tasks.register = register.Register(wall_clock=lambda: now)
    server = TaskServer()
    view = await world.show(server)
    task = await make(view)
    now += 60 + register.GRACE - 1
    assert await listed(view) == [task]
    now += register.GRACE + 1
    assert await listed(view) == []
    await ask(view, "tasks/get", {"taskId": task}, ADA)
    assert await listed(view) == [task], "what can be had is listed"


async def test_what_is_large_is_described_by_what_the_revision_defines(world: World):
    server = TaskServer()
    view = await world.show(server)
    task = await make(view)
    server.more["padding"] = "x" * describing.MAX_SEEN
    page = await ask(view, "tasks/list", {}, ADA)
    assert page == {"tasks": [{"taskId": task, "status": "working", "ttl": 60_000}]}


async def test_where_nobody_is_told_apart_nothing_is_listed(world: World):
    world.multiplexer.tasks = TaskIds(Keyring.ephemeral(), is_listable=False)
    view = await world.show(TaskServer())
    assert "list" not in view.contents.declared(LATEST_LEGACY)["tasks"]
    with pytest.raises(MethodNotFound):
        await send(view, "tasks/list", {}, ADA)


async def test_older_clients_make_no_tasks(world: World):
    server = TaskServer()
    server.handlers["tools/call"] = result({"content": []})
    view = await world.show(server)
    params = {"name": "alpha__t", "task": {"ttl": 5}}
    assert await ask(view, "tools/call", params, legacy("2025-06-18")) == {"content": []}
    assert "task" not in server.sent[-1]


# --- what outlives the process ---------------------------------------------------------------


async def test_tasks_are_listed_after_a_restart_and_their_sessions_told(
    nursery: trio.Nursery, tmp_path: Path
):
    keyring, tasks = Keyring.ephemeral(), []
    server = TaskServer()
    for _ in range(2):
        with closing(open_ledger(tmp_path)) as ledger:
            world = World(nursery)
            world.multiplexer.tasks = TaskIds(keyring, ledger=ledger)
            view = await world.show(server)
            assert await listed(view) == tasks
            if tasks:
                hears = await view.subscribe(frozenset(), caller=ADA)
                server.announce("notifications/tasks/status", taskId="alpha-0", status="working")
                note = await hears.receive()
                assert decoded(note.params)["taskId"] == tasks[0]
                hears.close()
            tasks.append(await make(view))
            await world.show()
    del server.statuses["alpha-1"]
    with closing(open_ledger(tmp_path)) as ledger:
        for _ in range(2):
            world = World(nursery)
            world.multiplexer.tasks = TaskIds(keyring, ledger=ledger)
            assert await listed(await world.show(server)) == tasks[:1]
            await world.show()
            server.statuses["alpha-1"] = "working"  # it was dropped, in the ledger as well


async def test_several_processes_share_what_is_written_down(nursery: trio.Nursery):
    keyring, ledger, server = Keyring.ephemeral(), ledger_in_memory(), TaskServer()
    views = []
    for _ in range(2):
        world = World(nursery)
        world.multiplexer.tasks = TaskIds(keyring, ledger=ledger)
        views.append(await world.show(server))
    tasks = [await make(view) for view in (*views, *views)]
    assert [await listed(view) for view in views] == [tasks, tasks]


async def test_a_ledger_that_fails_costs_no_task(world: World, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise StateError("Cannot write sessions.db: disk full.")

    monkeypatch.setattr(Ledger, "read", broken)
    monkeypatch.setattr(Ledger, "change", broken)
    world.multiplexer.tasks = TaskIds(
        Keyring.ephemeral(), ledger=ledger_in_memory(), on_event=world.events.append
    )
    view = await world.show(TaskServer())
    assert await listed(view) == [await make(view)][:0]
    task = await make(view)
    assert task in await listed(view)
    assert TasksNotNoted("Cannot write sessions.db: disk full.") in world.events


async def test_what_is_written_down_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch):
    ledger, keyring = ledger_in_memory(), Keyring.ephemeral()
    server = TaskServer()
    world.multiplexer.tasks = TaskIds(keyring, ledger=ledger)
    view = await world.show(server)
    monkeypatch.setattr("onemcp.multiplexer.tasks.memory.MAX_BYTES", 2000)
    for number in range(12):
        server.next_id = f"{number:02}" + "x" * 500
        await make(view)
    world.multiplexer.tasks = TaskIds(keyring, ledger=ledger)
    found = await listed(view)
    assert 1 <= len(found) <= 3
    newest = world.multiplexer.tasks.open(found[-1], ADA, None)
    assert newest.id.startswith("11"), "the newest are kept"


async def test_an_answer_is_not_lost_when_receiving_is_cancelled(world: World):
    server = TaskServer()
    world.multiplexer.tasks = TaskIds(Keyring.ephemeral(), ledger=ledger_in_memory())
    view = await world.show(server)
    reply = await send(view, "tools/call", {"name": "alpha__t", "task": {}}, ADA)
    for _ in range(2):
        with trio.CancelScope() as scope:
            scope.cancel()
            await reply.receive()
    answer = await reply.receive()
    assert isinstance(answer, Response)
    reply.close()
    assert await listed(view) == [decoded(answer.result)["task"]["taskId"]]
