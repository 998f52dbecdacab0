"""Floods of notifications: what is held, what is dropped, what is told, and what is never late."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock

from onemcp.backend.call import Call, Caller
from onemcp.backend.exchange import LAG, QUEUE_LIMIT, Exchange
from onemcp.backend.inbound import Inbound
from onemcp.backend.throttle import MAX_BYTES, MAX_HELD, Throttle
from onemcp.protocol.fields import plain, raw
from onemcp.protocol.jsonrpc import Notification, Response

LOG, PROGRESS = "notifications/message", "notifications/progress"
UPDATED, LISTED = "notifications/resources/updated", "notifications/tools/list_changed"


class Carrier:
    """Carries nothing anywhere."""

    def abandon(self, exchange: Exchange) -> None: ...

    def reply(self, exchange: Exchange, answer: Any) -> None: ...


@attrs.define
class Bench:
    """A connection's way in, behind a throttle of ten a second."""

    throttle: Throttle
    announced: list[Notification] = attrs.field(factory=list)
    inbound: Inbound = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.inbound = Inbound(lambda _: None, self.announced.append, self.throttle)

    def call(self, request_id: int = 1) -> Exchange:
        caller = Caller(object(), "ada", log_level="debug")
        exchange = Exchange(request_id, Call("tools/call", {}, caller), Carrier(), Raw(b'"mine"'))
        self.inbound.add(exchange)
        return exchange

    def say(self, method: str, count: int = 1, **params: Any) -> None:
        for _ in range(count):
            self.inbound.take(Notification(method, raw(params)))

    def answer(self, request_id: int = 1) -> None:
        self.inbound.take(Response(request_id, raw({})))

    @property
    def told(self) -> list[Any]:
        return [(each.method, plain(each.params).get("uri")) for each in self.announced]


@pytest.fixture
async def bench(nursery: trio.Nursery) -> Bench:
    throttle = Throttle(10)
    nursery.start_soon(throttle.run)
    return Bench(throttle)


async def received(exchange: Exchange) -> list[Any]:
    messages: list[Any] = []
    while not (messages and isinstance(messages[-1], Response)):
        messages.append(await exchange.receive())
    return messages


async def test_what_changes_too_often_is_told_once_more_and_not_lost(
    autojump_clock: MockClock, bench: Bench
):
    bench.say(UPDATED, 10, uri="a")
    bench.say(UPDATED, 50, uri="b")
    bench.say(LISTED, 50)
    assert bench.told == [(UPDATED, "a")] * 10
    await trio.sleep(0.2)
    assert bench.told[10:] == [(UPDATED, "b"), (LISTED, None)]
    assert bench.throttle.tally.coalesced == {UPDATED: 49, LISTED: 49}
    assert bench.throttle.tally.dropped == {}


async def test_what_is_held_makes_way_for_what_is_newer(autojump_clock: MockClock, bench: Bench):
    bench.say(UPDATED, 10, uri="a")
    bench.say(UPDATED, uri="b")
    await trio.sleep(0.09)
    bench.throttle._rate.per_second = 1000
    bench.say(UPDATED, uri="b")
    await trio.sleep(1)
    assert bench.told[10:] == [(UPDATED, "b")]


async def test_of_progress_beyond_the_rate_the_latest_is_told(
    autojump_clock: MockClock, bench: Bench
):
    exchange = bench.call()
    for number in range(100):
        bench.say(PROGRESS, progressToken=1, progress=number)
    await trio.sleep(0.2)
    bench.say(PROGRESS, progressToken=1, progress=1000)
    bench.answer()
    progress = [plain(each.params) for each in (await received(exchange))[:-1]]
    assert progress[-1] == {"progressToken": "mine", "progress": 1000}
    tally = bench.throttle.tally
    assert tally.coalesced[PROGRESS] == 89
    assert not tally.dropped


async def test_log_messages_beyond_the_rate_are_dropped_and_their_number_is_told(
    autojump_clock: MockClock, bench: Bench
):
    exchange = bench.call()
    bench.say(LOG, 25, level="info", data="x")
    bench.answer()
    *logs, notice, answer = await received(exchange)
    assert (len(logs), answer.id) == (10, 1)
    said = plain(notice.params)
    assert (said["level"], said["logger"]) == ("warning", "onemcp")
    assert "15 log messages are missing" in said["data"]
    assert bench.throttle.tally.dropped == {LOG: 15}


async def test_an_answer_is_never_late_behind_a_flood(autojump_clock: MockClock, bench: Bench):
    exchange = bench.call()
    bench.say(LOG, 10_000, level="info", data="x")
    bench.answer()
    with trio.fail_after(0.01):
        assert len(await received(exchange)) == 12


async def test_a_cancellation_always_passes(autojump_clock: MockClock, bench: Bench):
    exchange = bench.call()
    bench.say(LOG, 20, level="info", data="x")
    bench.inbound._questions[7] = exchange
    bench.say("notifications/cancelled", requestId=7)
    assert bench.inbound._questions == {}


async def test_what_is_held_is_bounded(autojump_clock: MockClock, bench: Bench):
    bench.say(UPDATED, 10, uri="a")
    for number in range(MAX_HELD + 5):
        bench.say(UPDATED, uri=str(number))
    bench.say(LISTED, padding="x" * MAX_BYTES)
    bench.say("notifications/unheard_of")
    assert len(bench.throttle._held) == MAX_HELD
    assert bench.throttle.tally.dropped == {UPDATED: 5, LISTED: 1, "other": 1}
    assert repr(bench.throttle) == f"<Throttle held={MAX_HELD}>"


async def test_what_names_nothing_any_more_when_its_time_comes_goes_nowhere(
    autojump_clock: MockClock, bench: Bench
):
    exchange = bench.call()
    bench.say(PROGRESS, 12, progressToken=1, progress=1)
    bench.answer()
    await trio.sleep(1)
    assert len(await received(exchange)) == 11


async def test_progress_for_a_client_that_lags_is_replaced_and_keeps_its_place():
    bench = Bench(Throttle())
    exchange = bench.call()
    for number in range(LAG + 1):
        bench.say(PROGRESS, progressToken=1, progress=number)
    bench.say(LOG, level="info", data="between")
    for number in range(100, 1000):
        bench.say(PROGRESS, progressToken=1, progress=number)
    bench.answer()
    *before, progress, log, _ = await received(exchange)
    assert [plain(each.params)["progress"] for each in before] == list(range(LAG))
    assert plain(progress.params)["progress"] == 999
    assert plain(log.params)["data"] == "between"
    assert exchange._queued == 0


async def test_a_client_that_reads_slowly_is_told_how_much_it_has_missed():
    bench = Bench(Throttle())
    exchange = bench.call()
    bench.say(LOG, QUEUE_LIMIT + 44, level="info", data="x")
    for _ in range(QUEUE_LIMIT):
        await exchange.receive()
    bench.say(LOG, level="info", data="y")
    bench.answer()
    notice, log, _ = await received(exchange)
    assert "44 log messages are missing" in plain(notice.params)["data"]
    assert plain(log.params)["data"] == "y"
    assert bench.throttle.tally.dropped == {LOG: 44}
