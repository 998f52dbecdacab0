"""How many backends start at a time, and which go first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from onemcp.backend.starting import PATIENCE, STABLE, Rank, Starter, StartQueue, Turn

ALL = 100
DEAD = 20
LIMIT = 8
START = 0.08  # less than `PATIENCE`, so that none is passed by
"""How long a start takes, in seconds of the test's clock."""


class World:
    """Starts, and what becomes of them."""

    def __init__(self, nursery: trio.Nursery, limit: float) -> None:
        self.queue = StartQueue(limit)
        self.begun: list[str] = []
        self.up: dict[str, float] = {}
        self.most = 0
        self._nursery = nursery

    def start(
        self, name: str, rank: Rank | Callable[[], Rank] = Rank.ORDINARY, takes: float = START
    ) -> trio.CancelScope:
        """Begin to start something; it waits for its turn at once."""
        scope = trio.CancelScope()
        find = rank if callable(rank) else lambda: rank
        self._nursery.start_soon(self._run, name, find, takes, scope)
        return scope

    async def _run(
        self, name: str, rank: Callable[[], Rank], takes: float, scope: trio.CancelScope
    ) -> None:
        with scope:
            async with Turn(self.queue, rank) as turn, trio.open_nursery() as nursery:
                nursery.start_soon(turn.expire)
                self.begun.append(name)
                self.most = max(self.most, self.queue.starting)
                await trio.sleep(takes)
                turn.came_up()
                self.up[name] = turn.up


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def world(nursery) -> Callable[[float], World]:
    return lambda limit: World(nursery, limit)


@pytest.mark.parametrize("first", [True, False], ids=["the dead first", "the dead last"])
async def test_those_that_never_start_cost_the_others_next_to_nothing(autojump_clock, world, first):
    alone, mixed, began = world(LIMIT), world(LIMIT), trio.current_time()
    for number in range(ALL - DEAD):
        alone.start(f"good {number}")
    await trio.sleep(ALL * START)
    took = max(alone.up.values()) - began
    assert took == pytest.approx((ALL - DEAD) / LIMIT * START)

    began = trio.current_time()
    jobs = [(f"good {number}", START) for number in range(ALL - DEAD)]
    dead = [(f"dead {number}", 1e6) for number in range(DEAD)]
    for name, takes in dead + jobs if first else jobs + dead:
        mixed.start(name, takes=takes)
        await settle()  # so that they come in this order
    await trio.sleep(ALL * START)
    assert len(mixed.up) == ALL - DEAD
    held_up = PATIENCE * -(-DEAD // LIMIT) if first else 0.0
    assert max(mixed.up.values()) - began <= took + held_up + START
    assert mixed.most <= LIMIT


async def test_where_starts_are_slow_each_is_waited_for_longer(autojump_clock, world):
    one = world(1)
    one.start("slow", takes=3.0)
    await trio.sleep(4)
    began = trio.current_time()
    one.start("dead", takes=1e6)
    await settle()
    one.start("next")
    await trio.sleep(20)
    assert one.up["next"] - began == pytest.approx(2 * 3.0 + START, abs=0.1)


async def test_the_most_urgent_goes_first_and_otherwise_who_came_first(autojump_clock, world):
    one = world(1)
    ranks = [Rank.ORDINARY, Rank.FAILING, Rank.WANTED, Rank.REQUIRED, Rank.ORDINARY]
    for number, rank in enumerate(ranks):
        one.start(f"{number} {rank.name}", rank)
        await settle()
    await trio.sleep(10)
    # The first has begun before there was anybody else.
    assert one.begun == ["0 ORDINARY", "3 REQUIRED", "2 WANTED", "4 ORDINARY", "1 FAILING"]


async def test_urgency_counts_when_a_turn_is_given_away(autojump_clock, world):
    one, urgent = world(1), False
    one.start("first")
    await settle()
    one.start("second")
    await settle()
    one.start("third", lambda: Rank.WANTED if urgent else Rank.ORDINARY)
    await settle()
    urgent = True
    await trio.sleep(10)
    assert one.begun == ["first", "third", "second"]


async def test_crash_loops_leave_one_turn_to_others(autojump_clock, world):
    two = world(3)
    for number in range(4):
        two.start(f"crash {number}", Rank.FAILING, takes=1e6)
    await settle()
    assert (two.queue.starting, two.queue.waiting) == (2, 2)
    began = trio.current_time()
    two.start("good")
    await settle()
    assert two.begun[-1] == "good"
    assert trio.current_time() == began


async def test_one_turn_alone_is_had_by_crash_loops_too(autojump_clock, world):
    one = world(1)
    one.start("crash", Rank.FAILING)
    await trio.sleep(1)
    assert list(one.up) == ["crash"]


async def test_a_start_that_is_given_up_gives_its_turn_away(autojump_clock, world):
    one = world(1)
    first = one.start("first", takes=1e6)
    await settle()
    second = one.start("second")
    await settle()
    one.start("third")
    await settle()
    assert repr(one.queue) == "<StartQueue: 1 of 1 start, 2 wait>"
    second.cancel()
    first.cancel()
    await settle()
    assert one.begun == ["first", "third"]
    assert one.queue.waiting == 0


async def test_a_higher_limit_counts_at_once(autojump_clock, world):
    one = world(1)
    for number in range(3):
        one.start(str(number))
    await settle()
    assert len(one.begun) == 1
    one.queue.limit = 3
    await settle()
    assert one.queue.limit == len(one.begun) == 3


# --- how urgent a backend is -------------------------------------------------------------------


async def test_a_backend_is_as_urgent_as_what_became_of_it(autojump_clock):
    starter = Starter(StartQueue(), required=False)
    assert starter.rank is Rank.ORDINARY
    with starter.wanted():
        assert starter.rank is Rank.WANTED
    async with starter.turn() as turn:
        turn.came_up()
        await trio.sleep(STABLE)
    assert starter.rank is Rank.WANTED  # it was up: somebody misses it
    async with starter.turn() as turn:
        turn.came_up()
        await trio.sleep(STABLE / 2)
    assert starter.rank is Rank.FAILING
    starter.forget()
    assert starter.rank is Rank.ORDINARY


async def test_a_required_backend_that_fails_goes_behind_the_others(autojump_clock):
    starter = Starter(StartQueue(), required=True)
    assert starter.rank is Rank.REQUIRED
    with pytest.raises(ValueError, match="broken"):
        async with starter.turn():
            raise ValueError("broken")
    with starter.wanted():
        assert starter.rank is Rank.FAILING
