"""Places for what lasts, and how often something may happen."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onemcp.admission import PlaceLimits, Places, Rate
from onemcp.protocol.errors import Overloaded


def test_places_are_counted_for_all_and_for_each():
    places = Places("streams", "limits.streams", PlaceLimits(3, 2))
    with places.held("eve"), places.held("eve"):
        with pytest.raises(Overloaded, match=r"you have 2 streams.*streamsPerPrincipal") as own:
            places.held("eve").__enter__()
        assert own.value.is_own
        with places.held("ada"):
            with pytest.raises(Overloaded, match=r"there are 3 streams.*limits\.streams\)") as full:
                places.held("bob").__enter__()
            assert not full.value.is_own
        assert (places.taken, places.of("eve"), places.refused) == (2, 2, 2)
        places.limits = PlaceLimits(1, 1)
        assert not places.has_room("ada")
    assert (places.taken, places._of_principal) == (0, {})


async def test_a_second_s_worth_may_come_at_once_and_then_so_much_a_second(
    autojump_clock: MockClock,
):
    rate = Rate(4)
    assert [rate.take("eve") for _ in range(5)] == [True] * 4 + [False]
    assert rate.take("ada"), "everybody has a rate of their own"
    await trio.sleep(0.3)
    assert [rate.take("eve") for _ in range(2)] == [True, False]
    assert rate.refused == 2
    rate.per_second = 8
    assert rate.take("eve"), "another rate holds at once"


async def test_more_than_a_second_s_worth_at_once_takes_its_time(autojump_clock: MockClock):
    rate = Rate(2)
    assert rate.take(count=10)
    await trio.sleep(4.4)
    assert not rate.take()
    await trio.sleep(0.2)
    assert rate.take()


async def test_who_keeps_to_the_rate_is_forgotten(autojump_clock: MockClock):
    rate = Rate(1000)
    for number in range(5000):
        rate.take(str(number))
        await trio.sleep(0.01)
    assert len(rate._even_at) <= 1024
