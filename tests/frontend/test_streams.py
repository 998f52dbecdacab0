"""Logs of events and their readers: order, bounds, replacement; without any connection."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.frontend import streams
from onemcp.frontend.streams import REPLAY_LIMIT, UNREAD_LIMIT, EventLog, Reader, split_event_id
from onemcp.protocol.jsonrpc import Response


async def write(log: EventLog, *texts: str, is_droppable: bool = True) -> None:
    for text in texts:
        await log.write(text.encode(), is_droppable=is_droppable)


async def read(reader: Reader, count: int) -> list[str]:
    events = [await reader.receive() for _ in range(count)]
    return [event.data.decode() for event in events if event is not None]


async def test_events_are_numbered_and_read_in_order():
    log = EventLog("7")
    await write(log, "a", "b")
    reader = log.read()
    event = await reader.receive()
    assert event is not None
    assert log.event_id(event.number) == "7-1"
    assert await read(reader, 1) == ["b"]
    log.finish()
    assert await reader.receive() is None


async def test_reading_goes_on_where_it_ended_or_after_any_event():
    log = EventLog("1")
    await write(log, "a", "b", "c")
    first = log.read()
    assert await read(first, 2) == ["a", "b"]
    first.close()
    assert not log.is_read
    assert await read(log.read(), 1) == ["c"]
    assert await read(log.read(after=0), 3) == ["a", "b", "c"]


async def test_a_reader_that_is_replaced_reads_no_more_even_if_it_waits(nursery: trio.Nursery):
    log = EventLog("1")
    first = log.read()
    ended = trio.Event()

    async def wait() -> None:
        assert await first.receive() is None
        ended.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    second = log.read()
    await ended.wait()
    first.close()
    assert log.is_read
    await write(log, "a")
    assert await read(second, 1) == ["a"]
    assert await first.receive() is None


async def test_a_cancelled_reader_loses_nothing():
    log = EventLog("1")
    reader = log.read()
    await write(log, "a")
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.receive()
    assert await read(reader, 1) == ["a"]


async def test_a_writer_waits_for_a_reader_that_lags_behind(nursery: trio.Nursery):
    log = EventLog("1")
    reader = log.read()
    await write(log, *["x"] * UNREAD_LIMIT)
    nursery.start_soon(write, log, "last")
    await wait_all_tasks_blocked()
    assert log.last == UNREAD_LIMIT
    await reader.receive()
    await wait_all_tasks_blocked()
    assert log.last == UNREAD_LIMIT + 1


async def test_a_writer_does_not_wait_for_a_reader_that_has_gone(nursery: trio.Nursery):
    log = EventLog("1")
    reader = log.read()
    await write(log, *["x"] * UNREAD_LIMIT)
    nursery.start_soon(write, log, "last")
    await wait_all_tasks_blocked()
    reader.close()
    await wait_all_tasks_blocked()
    assert log.last == UNREAD_LIMIT + 1


async def test_the_oldest_notifications_make_room_while_nobody_reads():
    log = EventLog("1")
    await write(log, "question", is_droppable=False)
    await write(log, *[str(number) for number in range(REPLAY_LIMIT)])
    assert log.dropped == 1
    assert await read(log.read(), 2) == ["question", "1"]


async def test_what_was_read_makes_room_first_and_is_no_loss():
    log = EventLog("1")
    await write(log, "question", is_droppable=False)
    reader = log.read()
    await reader.receive()
    reader.close()
    await write(log, *[str(number) for number in range(REPLAY_LIMIT)])
    assert log.dropped == 0
    assert await read(log.read(), 1) == ["0"]


async def test_a_writer_waits_where_nothing_may_make_room(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "REPLAY_LIMIT", 2)
    log = EventLog("1")
    await write(log, "one", "two", is_droppable=False)
    nursery.start_soon(write, log, "three")
    await wait_all_tasks_blocked()
    assert log.last == 2
    assert await read(log.read(), 3) == ["one", "two", "three"]


async def test_the_size_of_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "REPLAY_BYTES", 100)
    log = EventLog("1")
    await write(log, "x" * 99, "y" * 1000)
    assert (log.size, log.dropped) == (1099, 0)
    await write(log, "z")
    assert (log.size, log.dropped) == (1, 2)


async def test_while_somebody_reads_nothing_is_lost_for_its_size(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "REPLAY_BYTES", 10)
    log = EventLog("1")
    reader = log.read()
    texts = ["x" * 20, "y" * 20, "z" * 20]
    nursery.start_soon(write, log, *texts)
    await wait_all_tasks_blocked()
    assert log.last == 1
    assert await read(reader, 3) == texts
    assert log.dropped == 0


async def test_the_last_answer_ends_a_stream():
    log = EventLog("1", answers=2)
    await log.write_answer(Response(1, Raw(b"{}")))
    assert not log.finished
    await log.write_answer(Response(2, Raw(b"{}")))
    assert log.finished
    reader = log.read()
    assert [json.loads(text)["id"] for text in await read(reader, 3)] == [1, 2]


async def test_an_answer_that_finds_no_room_ends_the_stream_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(streams, "REPLAY_LIMIT", 1)
    log = EventLog("1")
    await write(log, "question", is_droppable=False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await log.write_answer(Response(1, Raw(b"{}")))
    assert log.finished


@given(st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))
def test_event_ids_are_read_as_they_are_written(stream: int, number: int):
    name = str(stream)
    assert split_event_id(EventLog.event_id(EventLogName(name), number)) == (name, number)


class EventLogName(EventLog):
    """A log of which only the name matters; making a real one needs a run."""

    def __init__(self, name: str) -> None:
        self.name = name


@given(st.text())
def test_other_texts_are_no_event_ids(text: str):
    place = split_event_id(text)
    assert place is None or f"{place[0]}-{place[1]}" <= text
