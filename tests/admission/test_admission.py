"""Who gets a place, who waits, in which order, and who is refused."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.admission import Admission, BackendLimits, Limits
from onemcp.protocol.errors import Overloaded, ShuttingDown


@attrs.define
class Door:
    """Calls at the door of an admission; each holds its place until it is told to leave."""

    nursery: trio.Nursery
    admission: Admission
    entered: list[str] = attrs.field(factory=list)
    refused: dict[str, Exception] = attrs.field(factory=dict)
    calls: dict[str, tuple[str, str, trio.CancelScope]] = attrs.field(factory=dict)

    async def come(self, name: str, principal: str = "ada", backend: str = "b") -> None:
        """Let a call come, and see what becomes of it."""
        scope = trio.CancelScope()
        self.calls[name] = backend, principal, scope

        async def enter() -> None:
            with scope:
                try:
                    await self.admission.enter(backend, principal)
                except (Overloaded, ShuttingDown) as error:
                    self.refused[name] = error
                else:
                    self.entered.append(name)

        self.nursery.start_soon(enter)
        await wait_all_tasks_blocked()

    async def leave(self, *names: str) -> None:
        for name in names:
            backend, principal, _ = self.calls.pop(name)
            self.admission.leave(backend, principal)
            await wait_all_tasks_blocked()

    async def give_up(self, name: str) -> None:
        self.calls[name][2].cancel()
        await wait_all_tasks_blocked()


@pytest.fixture
async def door(nursery: trio.Nursery) -> Door:
    return Door(nursery, Admission(Limits(in_flight=1, queued=6, queued_per_principal=4)))


async def test_places_are_given_in_the_order_of_coming(door: Door):
    for name in ("1", "2", "3"):
        await door.come(name)
    assert (door.entered, door.admission.queued) == (["1"], 2)
    await door.leave("1", "2", "3")
    assert door.entered == ["1", "2", "3"]
    assert (door.admission.in_flight, door.admission.queued) == (0, 0)


async def test_principals_take_turns(door: Door):
    for name, principal in (("0", "ada"), ("a1", "ada"), ("a2", "ada"), ("a3", "ada")):
        await door.come(name, principal)
    await door.come("b1", "bob")
    await door.come("c1", "cid")
    await door.come("b2", "bob")
    await door.leave("0", "a1", "b1", "c1", "a2", "b2", "a3")
    assert door.entered == ["0", "a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_full_backend_holds_up_nobody_else(door: Door):
    door.admission.reconfigure(Limits(in_flight=2))
    door.admission.show({"slow": BackendLimits(in_flight=1)})
    await door.come("s1", backend="slow")
    await door.come("s2", backend="slow")
    await door.come("f1", backend="fast")
    await door.come("f2", backend="fast")
    assert door.entered == ["s1", "f1"]
    await door.leave("f1")
    assert door.entered == ["s1", "f1", "f2"], "s2 came first, and has no place to go"
    await door.leave("s1")
    assert door.entered[-1] == "s2"


async def test_a_principal_with_all_that_it_may_have_holds_up_nobody_else(door: Door):
    door.admission.reconfigure(Limits(in_flight=3, in_flight_per_principal=1))
    await door.come("a1", "ada")
    await door.come("a2", "ada", backend="other")
    await door.come("b1", "bob")
    assert door.entered == ["a1", "b1"]
    await door.leave("a1")
    assert door.entered == ["a1", "b1", "a2"]


async def test_nobody_waits_where_there_is_no_queue(door: Door):
    door.admission.reconfigure(Limits(in_flight=1, queued=0))
    await door.come("1")
    await door.come("2")
    error = door.refused["2"]
    assert isinstance(error, Overloaded)
    assert "0 calls wait already, the limit (limits.queued); try again in 1 s" in str(error)
    assert (error.retry_after, error.data, error.is_own) == (1, {"retryAfter": 1}, False)
    assert door.admission.statistics().refused == 1


@pytest.mark.requirement(
    "server/tools#security-considerations-1", "server/utilities/completion#security-1"
)
async def test_whoever_has_too_many_waiting_is_told_that_it_is_their_own(door: Door):
    for number in range(6):
        await door.come(str(number))
    error = door.refused["5"]
    assert isinstance(error, Overloaded)
    assert error.is_own
    assert "4 of your calls wait already" in str(error)


@pytest.mark.parametrize("of_backend", [False, True])
async def test_in_a_full_queue_whoever_has_most_makes_way(door: Door, *, of_backend: bool):
    if of_backend:
        door.admission.reconfigure(Limits(in_flight=1))
        door.admission.show({"b": BackendLimits(queued=6)})
    await door.come("0", "eve")
    for number in range(4):
        await door.come(f"e{number}", "eve")
    await door.come("b0", "bob")
    await door.come("b1", "bob")
    await door.come("a0", "ada")
    assert list(door.refused) == ["e3"], "the newest of the one with the most"
    await door.come("a1", "ada")
    assert list(door.refused) == ["e3", "e2"]
    await door.come("a2", "ada")
    assert list(door.refused) == ["e3", "e2", "a2"], "all have the same share by now"
    assert door.admission.queued == 6
    text = "wait for backend 'b' already" if of_backend else "(limits.queued)"
    assert text in str(door.refused["a2"])


async def test_a_full_backend_with_no_queue_refuses_while_others_wait(door: Door):
    door.admission.show({"b": BackendLimits(in_flight=1, queued=0)})
    await door.come("0")
    await door.come("other", backend="c")
    await door.come("1", "bob")
    assert list(door.refused) == ["1"]


async def test_who_gives_up_waiting_leaves_no_gap(door: Door):
    for name in ("1", "2", "3"):
        await door.come(name)
    await door.give_up("2")
    assert door.admission.queued == 1
    await door.leave("1")
    assert door.entered == ["1", "3"]


async def test_a_place_that_comes_too_late_is_handed_on(door: Door):
    for name in ("1", "2", "3"):
        await door.come(name)
    door.calls["2"][2].cancel()
    door.admission.leave("b", "ada")  # before 2 has noticed
    await wait_all_tasks_blocked()
    assert door.entered == ["1", "3"]
    assert (door.admission.in_flight, door.admission.queued) == (1, 0)


async def test_a_place_that_comes_in_time_is_kept(door: Door):
    for name in ("1", "2"):
        await door.come(name)
    door.admission.leave("b", "ada")
    await door.give_up("2")
    assert door.entered == ["1", "2"]
    assert door.admission.in_flight == 1


async def test_other_limits_hold_at_once(door: Door):
    for name in ("1", "2", "3", "4"):
        await door.come(name)
    door.admission.reconfigure(Limits(in_flight=2))
    await wait_all_tasks_blocked()
    assert door.entered == ["1", "2"]
    door.admission.reconfigure(Limits(in_flight=1))
    await door.leave("1")
    assert door.entered == ["1", "2"], "two were under way, and one may be"
    door.admission.show({"b": BackendLimits(in_flight=2)})
    door.admission.reconfigure(Limits(in_flight=9))
    await wait_all_tasks_blocked()
    assert door.entered == ["1", "2", "3"]
    door.admission.show({})
    await wait_all_tasks_blocked()
    assert door.entered == ["1", "2", "3", "4"]


async def test_when_it_is_over_nobody_waits_any_longer(door: Door):
    for name in ("1", "2", "3"):
        await door.come(name)
    door.admission.turn_away(ShuttingDown("over"))
    await wait_all_tasks_blocked()
    assert [str(error) for error in door.refused.values()] == ["over", "over"]
    assert (door.admission.in_flight, door.admission.queued) == (1, 0)


async def test_the_refused_are_told_to_come_back_after_as_long_as_others_have_waited(
    autojump_clock: MockClock, door: Door
):
    door.admission.reconfigure(Limits(in_flight=1, queued=1))
    await door.come("1")
    await door.come("2")
    await trio.sleep(7.5)
    await door.leave("1")
    await door.come("3")
    await door.come("4", "bob")
    error = door.refused["4"]
    assert isinstance(error, Overloaded)
    assert error.retry_after == 8
    assert door.admission.statistics().wait == pytest.approx(7.5)
    assert repr(door.admission) == "<Admission in_flight=1 queued=1>"


def test_nothing_is_kept_of_those_that_are_gone():
    admission = Admission()
    for number in range(1000):
        assert admission.enter_nowait("b", f"p{number}")
        admission.leave("b", f"p{number}")
    assert (admission._of_principal, admission._of_backend) == ({}, {})


class Model(RuleBasedStateMachine):
    """Admission against a plain count of who is in and who waits."""

    inside = Bundle("inside")

    @initialize(total=st.integers(1, 4), own=st.integers(1, 3), backend=st.integers(1, 3))
    def begin(self, total: int, own: int, backend: int) -> None:
        self.limits = Limits(total, own)
        self.backend = BackendLimits(backend)
        self.admission = Admission(self.limits)
        self.admission.show(dict.fromkeys(("x", "y"), self.backend))
        self.held: Counter[tuple[str, str]] = Counter()

    @rule(target=inside, backend=st.sampled_from("xy"), principal=st.sampled_from("pqr"))
    def enter(self, backend: str, principal: str) -> Any:
        has_room = self.has_room(backend, principal)
        assert self.admission.enter_nowait(backend, principal) == has_room
        if not has_room:
            return multiple()
        self.held[backend, principal] += 1
        return backend, principal

    @rule(call=consumes(inside))
    def leave(self, call: tuple[str, str]) -> None:
        self.admission.leave(*call)
        self.held[call] -= 1

    def has_room(self, backend: str, principal: str) -> bool:
        of_backend = sum(count for (where, _), count in self.held.items() if where == backend)
        of_principal = sum(count for (_, who), count in self.held.items() if who == principal)
        return (
            self.held.total() < self.limits.in_flight
            and of_backend < self.backend.in_flight
            and of_principal < self.limits.in_flight_per_principal
        )

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "held"):
            assert self.admission.in_flight == self.held.total()


def test_places_are_counted_rightly_whatever_comes_and_goes():
    run_state_machine_as_test(Model, settings=settings(max_examples=30))


async def test_nobody_who_could_have_a_place_waits_however_they_come_and_go(nursery: trio.Nursery):
    """A seeded mix of calls: when all is quiet, no waiter has room, and in the end all is free."""
    chance = random.Random(7)  # noqa: S311 - to be repeated
    admission = Admission(Limits(6, 3, 40, 20))
    admission.show({"x": BackendLimits(2, 30), "y": BackendLimits(4, 30)})
    door = Door(nursery, admission)
    for number in range(300):
        name = str(number)
        await door.come(name, chance.choice("pqrs"), chance.choice("xyz"))
        present = [each for each in door.entered if each in door.calls]
        for each in chance.sample(present, min(len(present), chance.randint(0, 2))):
            await door.leave(each)
        for waiter in admission._line:
            room = admission._has_room_for(waiter.principal), admission._has_room_at(waiter.backend)
            assert admission.in_flight >= 6 or not all(room)
    while present := [each for each in door.entered if each in door.calls]:
        await door.leave(*present)
    assert (admission.in_flight, admission.queued) == (0, 0)
    assert len(door.entered) + len(door.refused) == 300
