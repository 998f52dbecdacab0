"""The circuit breaker: what opens it, what closes it, and what counts as neither."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock

from onemcp import config
from onemcp.backend import Breaker, BreakerClosed, BreakerOpened, BreakerState, Call, Caller
from onemcp.backend.breaker import NO_ANSWER, PROBED, SHORTEST, TRANSITIONS
from onemcp.backend.exchange import Exchange
from onemcp.protocol.errors import (
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    CircuitOpen,
    LocalError,
    MessageTooLarge,
    Overloaded,
    RemoteError,
)
from onemcp.protocol.jsonrpc import Failure, Response

CALL = Call("tools/call", {}, Caller("owner", "ada"))
PATIENCE = 60.0
LONGEST = 15.0
COOLDOWN = LONGEST * SHORTEST
"""Of the first time."""


class Carrier:
    def abandon(self, exchange: Exchange) -> None:
        pass

    def reply(self, exchange: Exchange, answer: Response | Failure) -> None:
        pass


class Desk:
    """Makes calls through a breaker."""

    def __init__(self, clock: MockClock, **settings: Any) -> None:
        self.clock = clock
        self.events: list[BreakerOpened | BreakerClosed] = []
        self.breaker = Breaker(
            "alpha", config.Breaker(**settings), self.events.append, patience=PATIENCE
        )

    def call(self) -> Exchange:
        self.clock.jump(0.001)
        self.breaker.check()
        exchange = Exchange(1, CALL, Carrier())
        exchange.since = trio.current_time()
        self.breaker.began(exchange)
        exchange.on_end = self.breaker.ended
        self.clock.jump(0.001)
        return exchange

    def answer(self) -> None:
        self.call().finish(Response(1, Raw(b"{}")))

    def lose(self, times: int = 1, error: LocalError | None = None) -> None:
        for _ in range(times):
            self.call().fail(error or BackendLost("it exited"))

    def expire(self, after: float = PATIENCE) -> None:
        exchange = self.call()
        self.clock.jump(after)
        exchange.expire()

    @property
    def kinds(self) -> list[type[object]]:
        return [type(event) for event in self.events]


@pytest.fixture
def desk(mock_clock: MockClock) -> Desk:
    return Desk(mock_clock)


def test_every_state_knows_what_a_reset_means():
    assert {state for state, _ in TRANSITIONS} == set(BreakerState)
    assert sum(state is BreakerState.CLOSED for state in TRANSITIONS.values()) == 4


async def test_enough_failures_open_it_and_it_answers_at_once(mock_clock: MockClock, desk: Desk):
    desk.lose(4)
    assert desk.breaker.state is BreakerState.CLOSED
    desk.lose()
    assert desk.breaker.state is BreakerState.OPEN
    with pytest.raises(CircuitOpen, match=r"'alpha'.*again in 1 s.*it exited") as refused:
        desk.call()
    assert refused.value.retry_after == 1
    assert refused.value.data == {"backend": "alpha", "retryAfter": 1}
    assert desk.kinds == [BreakerOpened]


@pytest.mark.parametrize(
    "error",
    [
        BackendLost("it exited"),
        BackendUnavailable("it can't be reached"),
        BackendProtocolError("it answered with HTTP 500"),
    ],
)
async def test_a_transport_that_fails_counts(mock_clock: MockClock, desk: Desk, error: LocalError):
    desk.lose(5, error)
    assert desk.breaker.state is BreakerState.OPEN


async def test_calls_that_time_out_count(mock_clock: MockClock, desk: Desk):
    for _ in range(4):
        desk.expire()
    desk.lose()
    assert desk.breaker.state is BreakerState.OPEN
    desk.clock.jump(COOLDOWN + 0.1)
    desk.expire()
    assert desk.breaker.reason == NO_ANSWER


async def test_a_call_that_had_waited_elsewhere_for_most_of_its_time_does_not(
    mock_clock: MockClock, desk: Desk
):
    for _ in range(9):
        desk.expire(after=PATIENCE / 3)
    assert desk.breaker.state is BreakerState.CLOSED


async def test_what_the_backend_or_the_client_itself_decides_is_no_failure(
    mock_clock: MockClock, desk: Desk
):
    for _ in range(9):
        desk.call().finish(Failure(1, Raw(b'{"code":-32602,"message":"no such tool"}')))
        desk.call().finish(Response(1, Raw(b'{"isError":true,"content":[]}')))
        desk.call().fail(RemoteError(Raw(b'{"code":-33002}')))
        desk.call().fail(Overloaded("it limits how often it is called"))
        desk.call().fail(MessageTooLarge("the answer is too large"))
        desk.call().close()
    assert desk.breaker.state is BreakerState.CLOSED


async def test_what_is_lost_at_one_blow_counts_once(mock_clock: MockClock, desk: Desk):
    for _ in range(4):
        for exchange in [desk.call() for _ in range(64)]:
            exchange.fail(BackendLost("it exited"))
    assert desk.breaker.state is BreakerState.CLOSED
    desk.lose()
    assert desk.breaker.state is BreakerState.OPEN


async def test_a_backend_that_answers_most_calls_is_not_cut_off(mock_clock: MockClock, desk: Desk):
    for _ in range(20):
        desk.lose()
        desk.answer()
        desk.answer()
    assert desk.breaker.state is BreakerState.CLOSED
    desk.lose(3)
    assert desk.breaker.state is BreakerState.OPEN


async def test_failures_that_are_long_past_are_forgotten(mock_clock: MockClock, desk: Desk):
    for _ in range(9):
        desk.lose()
        desk.clock.jump(76)
    assert desk.breaker.state is BreakerState.CLOSED


async def test_it_can_be_told_never_to_open(mock_clock: MockClock):
    desk = Desk(mock_clock, failures=0)
    desk.lose(50)
    assert desk.breaker.state is BreakerState.CLOSED


async def test_after_the_cooldown_one_call_goes_through_and_its_answer_closes_it(
    mock_clock: MockClock, desk: Desk
):
    desk.lose(5)
    desk.clock.jump(COOLDOWN + 0.1)
    assert desk.breaker.state is BreakerState.HALF_OPEN
    assert desk.breaker.retry_in is None
    probe = desk.call()
    assert desk.breaker.retry_in == PROBED
    with pytest.raises(CircuitOpen, match="again in 1 s"):
        desk.call()
    probe.finish(Failure(1, Raw(b'{"code":-1}')))
    assert desk.breaker.is_closed
    desk.lose(4)
    assert desk.kinds == [BreakerOpened, BreakerClosed]
    assert desk.events[-1] == BreakerClosed("alpha", by_operator=False)


async def test_a_probe_that_fails_opens_it_anew(mock_clock: MockClock, desk: Desk):
    desk.lose(5)
    desk.clock.jump(COOLDOWN + 0.1)
    desk.lose()
    assert desk.breaker.state is BreakerState.OPEN
    assert desk.breaker.retry_in == pytest.approx(2 * COOLDOWN)
    assert desk.kinds == [BreakerOpened, BreakerOpened]


async def test_it_stays_open_for_longer_each_time_but_not_for_ever(
    mock_clock: MockClock, desk: Desk
):
    desk.lose(5)
    waits = []
    for _ in range(8):
        waits.append(desk.breaker.retry_in or 0.0)
        desk.clock.jump(waits[-1])
        desk.lose()
    assert waits == pytest.approx([COOLDOWN * 2**n for n in range(5)] + [LONGEST] * 3)
    desk.clock.jump(LONGEST)
    desk.answer()
    desk.lose(5)
    assert desk.breaker.retry_in == pytest.approx(COOLDOWN)


async def test_a_probe_whose_client_goes_away_leaves_its_place(mock_clock: MockClock, desk: Desk):
    desk.lose(5)
    desk.clock.jump(COOLDOWN + 0.1)
    desk.call().close()
    assert desk.breaker.state is BreakerState.HALF_OPEN
    desk.answer()
    assert desk.breaker.is_closed


async def test_an_answer_from_before_it_opened_decides_nothing(mock_clock: MockClock, desk: Desk):
    early = desk.call()
    desk.lose(5)
    early.finish(Response(1, Raw(b"{}")))
    assert desk.breaker.state is BreakerState.OPEN


async def test_an_operator_closes_it(mock_clock: MockClock, desk: Desk):
    desk.lose(5)
    desk.breaker.reset()
    desk.lose(4)
    assert desk.breaker.is_closed
    assert desk.events[-1] == BreakerClosed("alpha", by_operator=True)
    assert len(desk.events) == 2
    desk.breaker.reset()
    assert len(desk.events) == 2
    assert "closed failures=0" in repr(desk.breaker)


async def test_a_reset_while_a_probe_is_out_forgets_the_probe(mock_clock: MockClock, desk: Desk):
    desk.lose(5)
    desk.clock.jump(COOLDOWN + 0.1)
    probe = desk.call()
    desk.breaker.reset()
    probe.fail(BackendLost("it exited"))
    assert desk.breaker.is_closed
    await trio.lowlevel.checkpoint()
