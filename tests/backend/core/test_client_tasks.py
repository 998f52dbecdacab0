"""Tasks that a legacy backend makes of what it asks: the client's own, or onemcp's in its place."""

from __future__ import annotations

from typing import Any

import pytest

from onemcp.backend import Caller, Exchange, clienttasks
from onemcp.backend.call import Call
from onemcp.backend.inbound import Inbound
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from tests.multiplexer.fakes import decoded

RELATED = "io.modelcontextprotocol/related-task"
KINDS = {"elicitation": {"create": {}}, "sampling": {"createMessage": {}}}
TASKS = {"list": {}, "cancel": {}, "requests": KINDS}
ANSWER = {"action": "accept"}


class Asking:
    """A backend that has calls of clients in flight, and asks them.

    Attributes:
        sent: What it got back.
        calls: The calls of the clients.
    """

    def __init__(self, *capabilities: dict[str, Any], revision: str = LATEST_LEGACY) -> None:
        self.sent: list[Any] = []
        self.inbound = Inbound(self.sent.append, lambda _: None)
        self.calls = []
        for number, declared in enumerate(capabilities):
            caller = Caller(f"client {number}", "ada", revision, raw(declared))
            exchange = Exchange(100 + number, Call("tools/call", {}, caller), self)  # type: ignore[arg-type]
            self.calls.append(exchange)
            self.inbound.add(exchange)

    def abandon(self, exchange: Exchange) -> None:
        self.inbound.drop(exchange)

    def reply(self, exchange: Exchange, answer: Response | Failure) -> None:
        claimed = self.inbound.claim(exchange, answer)
        if claimed is not None:
            self.sent.append(claimed)

    def ask(self, method: str, request_id: int = 1, call: int = 0, **params: Any) -> dict[str, Any]:
        """Ask, and return what is answered at once."""
        self.sent.clear()
        self.inbound.take(Request(request_id, method, raw(params)), self.calls[call])
        return self.last if self.sent else {}

    def make(self, request_id: int = 1, call: int = 0, **params: Any) -> dict[str, Any]:
        task = {"task": {"ttl": 5}, "message": "?", **params}
        return self.ask("elicitation/create", request_id, call, **task)

    @property
    def last(self) -> dict[str, Any]:
        (answer,) = self.sent
        kind = "result" if isinstance(answer, Response) else "error"
        value = answer.result if isinstance(answer, Response) else answer.error
        return {"id": answer.id, kind: decoded(value)}

    async def asked(self, call: int = 0) -> Any:
        """Return what the client was asked."""
        return await self.calls[call].receive()

    def answer(self, result: Any, request_id: int = 1, call: int = 0) -> dict[str, Any]:
        """Answer as the client, and return what the backend gets."""
        self.sent.clear()
        self.calls[call].reply(Response(request_id, raw(result)))
        return self.last if self.sent else {}


async def made(asking: Asking, task: str = "mine", call: int = 0, request_id: int = 1) -> str:
    """Let a client make a task of its own; return its id for the backend."""
    assert asking.make(request_id, call) == {}
    question = await asking.asked(call)
    assert decoded(question.params)["task"] == {"ttl": 5}
    answer = asking.answer(
        {"task": {"taskId": task, "status": "working"}, "x": 1}, request_id, call
    )
    result = answer["result"]
    assert (result["x"], result["task"]["status"]) == (1, "working")
    return str(result["task"]["taskId"])


# --- the client has tasks --------------------------------------------------------------------


async def test_a_task_of_a_client_is_carried_to_it_under_an_id_of_its_own():
    asking = Asking({"tasks": TASKS}, {"tasks": TASKS})
    ids = [await made(asking, "1", call, call + 1) for call in (0, 1)]
    assert len({*ids, "1"}) == 3, "of two clients with equal ids"
    for method in ("tasks/get", "tasks/cancel"):
        assert asking.ask(method, 7, 0, taskId=ids[1], x=1) == {}, "whatever stream it comes on"
        question = await asking.asked(1)
        assert (question.method, decoded(question.params)) == (method, {"taskId": "1", "x": 1})
        answer = asking.answer({"taskId": "1", "status": "working"}, 7, 1)
        assert answer == {"id": 7, "result": {"taskId": ids[1], "status": "working"}}
    asking.ask("tasks/result", 8, taskId=ids[0])
    assert (await asking.asked()).method == "tasks/result"
    related = {"_meta": {RELATED: {"taskId": "1"}}}
    result = asking.answer({**ANSWER, **related}, 8)["result"]
    assert result == {**ANSWER, "_meta": {RELATED: {"taskId": ids[0]}}}


async def test_a_client_lists_to_a_backend_what_it_has_for_it_alone():
    asking = Asking({"tasks": TASKS})
    task = await made(asking)
    asking.ask("tasks/list", 7, cursor="c")
    assert decoded((await asking.asked()).params) == {"cursor": "c"}
    others = [{"taskId": each, "status": "working"} for each in ("theirs", "mine", task)]
    answer = asking.answer({"tasks": others, "nextCursor": "d"}, 7)
    listed = [{"taskId": task, "status": "working"}]
    assert answer["result"] == {"tasks": listed, "nextCursor": "d"}
    asking.ask("tasks/list", 8)
    assert asking.answer({"tasks": 5}, 8)["error"]["code"] == -32602


async def test_what_a_client_says_of_its_task_reaches_the_backend_that_has_asked_for_it():
    asking = Asking({"tasks": TASKS}, {"tasks": TASKS})
    task = await made(asking)
    status = {"taskId": raw("mine"), "status": raw("completed")}
    told = asking.inbound.client_tasks.status("client 0", status)
    assert told is not None
    assert decoded(told["taskId"]) == task
    for owner, params in (
        ("client 1", status),
        ("client 0", {"taskId": raw(task)}),
        ("client 0", {}),
    ):
        assert asking.inbound.client_tasks.status(owner, params) is None


async def test_errors_and_plain_answers_of_clients_make_no_task():
    asking = Asking({"tasks": TASKS})
    asking.make()
    error = {"code": -32601, "message": "no"}
    asking.sent.clear()
    asking.calls[0].reply(Failure(1, raw(error)))
    assert asking.last == {"id": 1, "error": error}
    asking.make(2)
    assert asking.answer(ANSWER, 2) == {"id": 2, "result": ANSWER}
    assert len(asking.inbound.client_tasks) == 0


# --- the client has none ---------------------------------------------------------------------


@pytest.mark.parametrize("revision", [LATEST_LEGACY, LATEST_MODERN, "2025-06-18"])
async def test_for_a_client_without_tasks_onemcp_has_them(revision: str):
    asking = Asking({"tasks": TASKS} if revision != LATEST_LEGACY else {}, revision=revision)
    task = asking.make(_meta={"x": 1})["result"]["task"]
    assert (task["status"], task["ttl"]) == ("working", 5)
    assert decoded((await asking.asked()).params) == {"message": "?", "_meta": {"x": 1}}
    got = asking.ask("tasks/get", 2, taskId=task["taskId"])
    assert got == {"id": 2, "result": task}
    assert asking.ask("tasks/list", 3)["result"] == {"tasks": [task]}
    assert asking.ask("tasks/result", 4, taskId=task["taskId"]) == {}, "not yet"
    related = {"_meta": {RELATED: {"taskId": task["taskId"]}}}
    assert asking.answer(ANSWER) == {"id": 4, "result": {**ANSWER, **related}}
    again = asking.ask("tasks/result", 5, taskId=task["taskId"])
    assert again["result"] == {**ANSWER, **related}
    assert asking.ask("tasks/get", 6, taskId=task["taskId"])["result"]["status"] == "completed"
    assert asking.ask("tasks/cancel", 7, taskId=task["taskId"])["error"]["code"] == -32602


async def test_what_a_client_refuses_is_a_task_that_has_failed():
    asking = Asking({})
    task = asking.make()["result"]["task"]["taskId"]
    error = {"code": -1, "message": "no"}
    asking.calls[0].reply(Failure(1, raw(error)))
    assert asking.ask("tasks/get", 2, taskId=task)["result"]["status"] == "failed"
    assert asking.ask("tasks/result", 3, taskId=task) == {"id": 3, "error": error}


async def test_a_question_whose_task_is_cancelled_is_taken_back():
    asking = Asking({})
    task = asking.make()["result"]["task"]["taskId"]
    await asking.asked()
    asking.ask("tasks/result", 2, taskId=task)
    asking.sent.clear()
    asking.inbound.take(Request(3, "tasks/cancel", raw({"taskId": task})), asking.calls[0])
    waiting, cancelled = asking.sent
    assert decoded(waiting.error)["code"] == -32603
    assert decoded(cancelled.result)["status"] == "cancelled"
    assert await asking.asked() == Notification("notifications/cancelled", raw({"requestId": 1}))
    assert asking.answer(ANSWER) == {}, "too late"
    assert asking.ask("tasks/get", 4, taskId=task)["result"]["status"] == "cancelled"


# --- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [{}, {"tasks": TASKS}])
async def test_a_task_is_unknown_once_the_call_is_over_that_it_belongs_to(declared: dict[str, Any]):
    asking = Asking(declared, {})
    task = await made(asking) if declared else asking.make()["result"]["task"]["taskId"]
    asking.ask("tasks/result", 2, taskId=task)
    asking.sent.clear()
    asking.calls[0].close()
    if not declared:
        assert asking.last["error"]["code"] == -32602
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        assert asking.ask(method, 3, 1, taskId=task)["error"]["code"] == -32602
    assert len(asking.inbound.client_tasks) == 0


async def test_ids_that_nobody_has_given_are_unknown():
    asking = Asking({"tasks": TASKS})
    asking.make()  # which the client has not answered
    assert asking.ask("tasks/get", 2, taskId="mine")["error"]["code"] == -32602
    assert asking.ask("tasks/get", 3, taskId=5)["error"]["code"] == -32602
    unnamed = next(iter(asking.inbound.client_tasks._tasks))
    assert asking.ask("tasks/get", 4, taskId=unnamed)["error"]["code"] == -32602


async def test_whose_tasks_are_to_be_listed_is_not_guessed():
    asking = Asking({}, {})
    asking.sent.clear()
    asking.inbound.take(Request(1, "tasks/list", raw({})))
    assert asking.last["error"]["code"] == -32602


async def test_tasks_and_those_who_wait_for_them_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clienttasks, "MAX_TASKS", 1)
    monkeypatch.setattr(clienttasks, "MAX_WAITING", 1)
    asking = Asking({})
    task = asking.make()["result"]["task"]["taskId"]
    assert asking.make(2)["error"]["code"] == -33004
    asking.ask("tasks/result", 3, taskId=task)
    assert asking.ask("tasks/result", 4, taskId=task)["error"]["code"] == -33004


async def test_a_question_without_a_task_is_as_ever():
    asking = Asking({})
    asking.ask("elicitation/create", message="a task?")
    assert decoded((await asking.asked()).params) == {"message": "a task?"}
    assert asking.answer(ANSWER) == {"id": 1, "result": ANSWER}
    asking.inbound.take(Request(2, "elicitation/create", raw({"message": '"task"'})))
    assert asking.answer(ANSWER, 2) == {"id": 2, "result": ANSWER}


async def test_questions_that_nobody_takes_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onemcp.backend.inbound.MAX_QUESTIONS", 0)
    asking = Asking({"tasks": TASKS}, {})
    assert asking.make()["error"]["code"] == -33004
    task = asking.make(2, 1)["result"]["task"]["taskId"]
    assert asking.ask("tasks/get", 3, 1, taskId=task)["result"]["status"] == "failed"
