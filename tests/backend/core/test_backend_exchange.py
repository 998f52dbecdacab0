"""One request in flight: bounded, safe to cancel, and answered for certain."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from msgspec import Raw

from onemcp.backend import Exchange
from onemcp.backend import exchange as module
from onemcp.protocol.errors import BackendLost
from onemcp.protocol.jsonrpc import Notification, Request, Response
from tests.backend.core.fakes import call, error_of

ANSWER = Response(1, Raw(b"{}"))


class Carrier:
    def __init__(self) -> None:
        self.abandoned: list[Exchange] = []
        self.replies: list[object] = []

    def abandon(self, exchange) -> None:
        self.abandoned.append(exchange)

    def reply(self, exchange, answer) -> None:
        self.replies.append(answer)


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def exchange(carrier) -> Exchange:
    return Exchange(1, call(), carrier)


def note(number: int, size: int = 0) -> Notification:
    return Notification("notifications/other", Raw(b'{"n":%d,"x":"%b"}' % (number, b"x" * size)))


async def test_messages_come_in_order_and_the_answer_last(exchange):
    sent = [note(1), Request(5, "ping"), note(2)]
    assert all(exchange.deliver(message) for message in sent)
    exchange.finish(ANSWER)
    assert [await exchange.receive() for _ in range(4)] == [*sent, ANSWER]
    with pytest.raises(trio.EndOfChannel):
        await exchange.receive()


@pytest.mark.requirement(
    "basic/patterns/progress#implementation-notes-2", "server/utilities/logging#security-2"
)
async def test_a_flood_drops_notifications_but_never_the_answer(exchange):
    taken = [exchange.deliver(note(number)) for number in range(module.QUEUE_LIMIT + 10)]
    assert taken == [True] * module.QUEUE_LIMIT + [False] * 10
    exchange.finish(ANSWER)
    received = [await exchange.receive() for _ in range(module.QUEUE_LIMIT + 1)]
    assert received[-1] is ANSWER
    assert exchange.dropped == 10


@pytest.mark.requirement("basic/patterns/progress#implementation-notes-2")
async def test_large_notifications_are_bounded_in_bytes(exchange):
    size = module.QUEUE_BYTES // 4
    assert [exchange.deliver(note(n, size)) for n in range(5)] == [True, True, True, False, False]
    await exchange.receive()
    assert exchange.deliver(note(6, size))
    for _ in range(3):
        await exchange.receive()
    assert exchange.deliver(note(7, 2 * module.QUEUE_BYTES)), "one is taken whatever its size"
    assert not exchange.deliver(note(8))


@pytest.mark.requirement("basic/patterns/progress#implementation-notes-3")
async def test_what_comes_after_the_answer_is_dropped(exchange):
    exchange.finish(ANSWER)
    assert not exchange.deliver(note(1))
    exchange.finish(Response(1, Raw(b"2")))
    exchange.fail(BackendLost("late"))
    assert await exchange.receive() is ANSWER
    with pytest.raises(trio.EndOfChannel):
        await exchange.receive()


async def test_a_cancelled_receive_loses_nothing(exchange, nursery):
    with trio.move_on_after(0) as scope:
        await exchange.receive()
    assert scope.cancelled_caught
    exchange.deliver(note(1))
    with trio.move_on_after(0) as scope:
        await exchange.receive()
    assert scope.cancelled_caught, "a checkpoint, even with a message waiting"
    assert await exchange.receive() == note(1)


async def test_a_message_that_comes_with_the_cancellation_is_for_the_next_task(exchange, nursery):
    received = []
    scope = trio.CancelScope()

    async def first() -> None:
        with scope:
            received.append(("first", await exchange.receive()))

    async def second() -> None:
        received.append(("second", await exchange.receive()))

    nursery.start_soon(first)
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
    exchange.deliver(note(1))
    nursery.start_soon(second)
    await trio.testing.wait_all_tasks_blocked()
    exchange.deliver(note(2))
    await trio.testing.wait_all_tasks_blocked()
    # Trio delivers the cancellation at once: the first task was woken by it, not by the message.
    assert received == [("second", note(1))]
    assert await exchange.receive() == note(2)


async def test_a_task_that_was_woken_before_it_is_cancelled_gets_its_message(exchange, nursery):
    received = []
    scope = trio.CancelScope()

    async def receive() -> None:
        with scope:
            received.append(await exchange.receive())

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    exchange.deliver(note(1))
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert received == [note(1)]


async def test_another_task_may_take_the_message_first(exchange, nursery):
    received = []

    async def receive() -> None:
        received.append(await exchange.receive())

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    exchange.deliver(note(1))
    exchange._messages.popleft()
    await trio.testing.wait_all_tasks_blocked()
    assert not received
    exchange.deliver(note(2))
    await trio.testing.wait_all_tasks_blocked()
    assert received == [note(2)]


async def test_only_one_task_may_wait(exchange, nursery):
    nursery.start_soon(exchange.receive)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await exchange.receive()
    exchange.finish(ANSWER)


async def test_closing_wakes_the_receiver_and_cancels_the_request_once(exchange, carrier, nursery):
    ended = []

    async def receive() -> None:
        with pytest.raises(trio.EndOfChannel):
            await exchange.receive()
        ended.append(True)

    nursery.start_soon(receive)
    await trio.testing.wait_all_tasks_blocked()
    exchange.close()
    exchange.close()
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [True]
    assert carrier.abandoned == [exchange]
    assert exchange.finished


@pytest.mark.requirement("basic/patterns/cancellation#behavior-requirements-1")
async def test_closing_after_the_answer_cancels_nothing(exchange, carrier):
    exchange.finish(ANSWER)
    exchange.close()
    assert carrier.abandoned == []
    with pytest.raises(trio.EndOfChannel):
        await exchange.receive()


async def test_an_error_of_onemcp_ends_it(exchange):
    exchange.fail(BackendLost("gone"))
    answer = await exchange.receive()
    assert answer.id == 1
    assert (error_of(answer).code, error_of(answer).message) == (-33002, "gone")


async def test_a_question_is_answered_only_while_the_exchange_lasts(exchange, carrier):
    exchange.reply(Response("q", Raw(b"{}")))
    exchange.finish(ANSWER)
    exchange.reply(Response("q2", Raw(b"{}")))
    assert carrier.replies == [Response("q", Raw(b"{}"))]


async def test_waiting_takes_no_turns(exchange, nursery):
    """No busy loop: a receiver sleeps until it is woken."""
    turns = 0

    class Instrument(trio.abc.Instrument):
        def before_task_step(self, task) -> None:
            nonlocal turns
            turns += task.name == "receiver"

    nursery.start_soon(exchange.receive, name="receiver")
    await trio.testing.wait_all_tasks_blocked()
    instrument = Instrument()
    trio.lowlevel.add_instrument(instrument)
    for _ in range(50):
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(instrument)
    assert turns == 0
    exchange.finish(ANSWER)


def test_it_shows_its_state(exchange):
    assert repr(exchange) == "<Exchange 1 tools/call in flight>"
    exchange.finish(ANSWER)
    assert repr(exchange) == "<Exchange 1 tools/call finished>"
