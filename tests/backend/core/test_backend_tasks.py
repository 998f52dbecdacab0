"""What a legacy backend sends on behalf of a task reaches who asks about that task, or no one."""

from __future__ import annotations

from typing import Any

import pytest

from onemcp.backend import Exchange
from onemcp.backend.inbound import Inbound
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request
from tests.backend.core.fakes import EVERYTHING, call

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
