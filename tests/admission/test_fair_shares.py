"""Fair shares of what there is, while there is too little of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from onemcp.admission import Admission, Level, Limits, PlaceLimits, Places
from onemcp.protocol.errors import Overloaded

REASON = "onemcp is short of memory"


def admitted(admission: Admission, principal: str, tries: int = 100) -> int:
    return sum(admission.enter_nowait("b", principal) for _ in range(tries))


def test_all_share_half_of_what_was_under_way():
    admission = Admission()
    assert admitted(admission, "eve", 80) == 80
    admission.shed(Level.FAIR_SHARES, REASON)
    assert admitted(admission, "eve") == 0
    assert admitted(admission, "ada") == 20
    assert admitted(admission, "bob") == 13
    admission.shed(Level.FAIR_SHARES, "another reason")
    assert admission.shedding.budget == 40, "it was reached before"
    admission.shed(Level.NO_NEWCOMERS, REASON)
    assert admitted(admission, "eve") > 0


def test_some_calls_of_everybody_always_go_through():
    admission = Admission()
    admission.shed(Level.FAIR_SHARES, REASON)
    assert [admitted(admission, name) for name in ("ada", "bob", "eve")] == [4, 4, 4]


async def test_who_has_more_than_a_share_is_told_when_to_come_back():
    admission = Admission()
    admitted(admission, "eve", 10)
    admission.shed(Level.FAIR_SHARES, REASON)
    with pytest.raises(Overloaded, match=r"10 calls under way.*short of memory") as refused:
        await admission.enter("b", "eve")
    assert (refused.value.retry_after, refused.value.is_own) == (10, False)
    assert admission.statistics().refused == 1


async def test_who_waits_already_goes_on_waiting_and_is_served_in_the_end(nursery: trio.Nursery):
    admission = Admission(Limits(in_flight=6))
    admitted(admission, "eve", 6)
    nursery.start_soon(admission.enter, "b", "eve")
    await wait_all_tasks_blocked()
    admission.shed(Level.FAIR_SHARES, REASON)
    for left in (5, 4):
        admission.leave("b", "eve")
        await wait_all_tasks_blocked()
        assert (admission.in_flight, admission.queued) == (left, 1)
    admission.leave("b", "eve")
    await wait_all_tasks_blocked()
    assert (admission.in_flight, admission.queued) == (4, 0)
    nursery.start_soon(admission.enter, "c", "ada")
    await wait_all_tasks_blocked()
    assert admission.in_flight == 5


async def test_who_waits_is_served_at_once_when_it_is_over(nursery: trio.Nursery):
    admission = Admission(Limits(in_flight=6))
    admitted(admission, "eve", 6)
    nursery.start_soon(admission.enter, "b", "eve")
    await wait_all_tasks_blocked()
    admission.shed(Level.FAIR_SHARES, REASON)
    admission.leave("b", "eve")
    assert admission.queued == 1
    admission.shed(Level.NORMAL, "")
    assert (admission.in_flight, admission.queued) == (6, 0)


def test_what_is_turned_away_is_counted_among_what_is_refused():
    admission = Admission()
    places = Places("sessions", "limits.sessions", PlaceLimits(3, 3), admission.shedding)
    places.check_open()
    admission.shed(Level.NO_NEWCOMERS, REASON)
    with pytest.raises(Overloaded, match="no new sessions now: onemcp is short of memory"):
        places.check_open()
    assert places.refused == 1
    assert places.has_room("ada"), "what is there already may go on"
