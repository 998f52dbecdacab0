"""What a legacy backend sends on behalf of a task reaches who asks about that task, or no one."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from onemcp.backend import Exchange, tasktokens
from onemcp.backend.inbound import Inbound
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from tests.backend.core.fakes import EVERYTHING, call
from tests.multiplexer.fakes import decoded

RELATED = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t"}}}
WAITING = {"method": "tasks/result", "params": {"taskId": "t"}}
OTHER = {"method": "tasks/result", "params": {"taskId": "u"}}
MAKING = {"params": {"name": "x", "task": {}}}


class Told:
    """An inbound with calls in flight, and what comes out of it."""

    def __init__(self, *in_flight: dict[str, Any]) -> None:
        self.refused: list[Any] = []
        self.handed_on: list[Notification] = []
        self.inbound = Inbound(self.refused.append, self.handed_on.append)
        self.exchanges = []
        for number, options in enumerate(in_flight):
            owner = options.get("owner", f"client {number}")
            asked = call(
                options.get("method", "tools/call"),
                owner,
                params=options.get("params", {}),
                capabilities=EVERYTHING,
                log_level="debug",
            )
            exchange = Exchange(number, asked, None)  # type: ignore[arg-type]
            self.exchanges.append(exchange)
            self.inbound.add(exchange)

    async def receivers(self) -> list[int]:
        return [each.id for each in self.exchanges if each._messages]


@pytest.mark.parametrize(
    "message",
    [
        Request(9, "elicitation/create", raw({"message": "?", **RELATED})),
        Notification("notifications/message", raw({"level": "error", **RELATED})),
        Notification("notifications/unheard-of", raw(RELATED)),
    ],
    ids=["question", "log message", "unknown"],
)
@pytest.mark.parametrize(
    ("in_flight", "stream", "expected"),
    [
        pytest.param([WAITING, {}], None, [0], id="who waits for the task"),
        pytest.param([WAITING, OTHER], 1, [0], id="whatever stream it comes on"),
        pytest.param([{}], None, [], id="not the only client, whose task it may not be"),
        pytest.param([OTHER], None, [], id="not who waits for another task"),
        pytest.param([MAKING], None, [], id="not who makes a task, on a shared channel"),
        pytest.param([MAKING, {}], 0, [0], id="who makes a task, on its own stream"),
        pytest.param([{}], 0, [], id="not who makes none"),
    ],
)
async def test_what_names_a_task_reaches_who_asks_about_it(message, in_flight, stream, expected):
    told = Told(*in_flight)
    told.inbound.take(message, None if stream is None else told.exchanges[stream])
    assert await told.receivers() == expected
    if isinstance(message, Request):
        assert [type(each) for each in told.refused] == ([] if expected else [Failure])


async def test_the_status_of_a_task_is_handed_on_whatever_stream_it_comes_on():
    told = Told({})
    note = Notification("notifications/tasks/status", raw({"taskId": "t"}))
    told.inbound.take(note, told.exchanges[0])
    told.inbound.take(note)
    assert (told.handed_on, await told.receivers()) == ([note, note], [])


# --- progress --------------------------------------------------------------------------------


def progress(token: object, done: float) -> Notification:
    return Notification("notifications/progress", raw({"progressToken": token, "progress": done}))


def made(told: Told, task: str = "t", ttl: int | None = 1000) -> None:
    """Answer the first call with a task that it has made."""
    exchange = told.exchanges[0]
    exchange.progress_token = raw("hers")
    result = raw({"task": {"taskId": task, "ttl": ttl, "status": "working"}})
    told.inbound.take(Response(exchange.id, result))


async def test_a_progress_token_lives_as_long_as_the_task(autojump_clock):
    told = Told(MAKING)
    made(told)
    for done in (1, 2):
        told.inbound.take(progress(0, done))
    assert [decoded(note.params) for note in told.handed_on] == [
        {"progressToken": "hers", "progress": done, **RELATED} for done in (1, 2)
    ]
    told.inbound.take(progress(1, 3))
    told.inbound.take(progress("0", 3))
    await trio.sleep(1.1)
    told.inbound.take(progress(0, 3))
    assert len(told.handed_on) == 2


async def test_progress_of_a_task_goes_to_who_waits_for_its_result():
    told = Told(MAKING, WAITING)
    made(told, ttl=None)
    told.inbound.take(progress(0, 1))
    assert (await told.receivers(), told.handed_on) == ([0, 1], [])


@pytest.mark.parametrize("end", ["status", "result", "cancel"])
async def test_a_task_that_has_ended_reports_no_progress(end: str):
    cancelling = {"method": "tasks/cancel", "params": {"taskId": "t"}}
    told = Told(MAKING, WAITING if end == "result" else cancelling)
    made(told)
    if end == "status":
        status = {"taskId": "t", "status": "completed"}
        told.inbound.take(Notification("notifications/tasks/status", raw(status)))
        told.handed_on.clear()
    else:
        told.inbound.take(Response(1, raw({})))
    told.inbound.take(progress(0, 1))
    assert told.handed_on == []


async def test_so_many_progress_tokens_are_kept(monkeypatch):
    monkeypatch.setattr(tasktokens, "MAX_TOKENS", 1)
    told = Told(MAKING, MAKING)
    made(told)
    told.exchanges = told.exchanges[1:]
    made(told, "u")
    for token in (0, 1):
        told.inbound.take(progress(token, 1))
    assert [decoded(note.params)["_meta"] for note in told.handed_on] == [
        {"io.modelcontextprotocol/related-task": {"taskId": "u"}}
    ]


async def test_a_call_that_has_made_no_task_keeps_no_token():
    for answer in (Response(0, raw({"content": []})), Failure(0, raw({"code": 1}))):
        told = Told(MAKING)
        told.exchanges[0].progress_token = raw(1)
        told.inbound.take(answer)
        told.inbound.take(progress(0, 1))
        assert told.handed_on == []
