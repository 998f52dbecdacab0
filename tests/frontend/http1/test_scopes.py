from __future__ import annotations

import math
import socket

import attrs
import pytest
import trio
from trio.testing import MockClock

from onemcp.frontend.http1 import Connections, ServerContext
from onemcp.frontend.http1.scopes import SOON, ReusableScope, Use, expire_in


@attrs.define
class Served:
    """A connection of which nothing matters but what is being served."""

    descriptor: int
    scopes: ReusableScope = attrs.field(factory=ReusableScope)
    deadline: float = math.inf

    def fileno(self) -> int:
        return self.descriptor

    def expire(self) -> None:
        """Do nothing."""

    def part(self) -> None:
        """Do nothing."""

    def hang_up(self) -> None:
        """Do nothing."""


async def test_what_is_cancelled_ends_and_the_next_use_is_not() -> None:
    with ReusableScope() as scopes:
        for _ in range(3):
            with scopes.use() as use:
                use.cancel()
                await trio.sleep_forever()
            assert use.cancelled_caught
            with scopes.use() as other:
                await trio.lowlevel.checkpoint()
            assert not other.cancelled_caught


async def test_uses_that_are_not_cancelled_share_one_scope_of_trios() -> None:
    with ReusableScope() as scopes:
        lent = scopes.scope
        for _ in range(3):
            with scopes.use(), scopes.use() as inner:
                inner.expire_in(60)
                await trio.lowlevel.checkpoint()
        assert scopes.scope is lent


async def test_an_outer_use_that_is_cancelled_ends_those_within_it() -> None:
    with ReusableScope() as scopes:
        with scopes.use() as outer:
            with scopes.use() as inner:
                outer.cancel()
                await trio.sleep_forever()
            pytest.fail("went on after the inner one")
        assert outer.cancelled_caught
        assert not inner.cancelled_caught


async def test_where_both_are_cancelled_the_outer_one_ends() -> None:
    with ReusableScope() as scopes:
        with scopes.use() as outer:
            with scopes.use() as inner:
                inner.cancel()
                outer.cancel()
                await trio.sleep_forever()
            pytest.fail("went on after the inner one")
        assert outer.cancelled_caught


async def test_what_is_around_goes_on_when_a_deadline_has_passed(
    autojump_clock: MockClock,
) -> None:
    with ReusableScope() as scopes:
        with scopes.use() as outer:
            begun = trio.current_time()
            with scopes.use() as inner:
                assert inner.expire_in(SOON) == begun + SOON
                await trio.sleep_forever()
            assert trio.current_time() == begun + SOON
            assert inner.cancelled_caught
            await trio.sleep(60)
            outer.cancel()
            await trio.sleep_forever()
        assert outer.cancelled_caught


async def test_a_deadline_ends_with_its_use(autojump_clock: MockClock) -> None:
    with ReusableScope() as scopes, scopes.use():
        for seconds in (SOON, 60):
            with scopes.use() as inner:
                inner.expire_in(seconds)
                scopes.arm()
            await trio.sleep(120)
            with scopes.use() as other:
                await trio.sleep(120)
            assert not other.cancelled_caught


async def test_a_deadline_that_is_armed_late_is_exact(autojump_clock: MockClock) -> None:
    with ReusableScope() as scopes:
        begun = trio.current_time()
        with scopes.use() as use:
            assert use.expire_in(60) == scopes.deadline == begun + 60
            await trio.sleep(59)
            scopes.arm()
            await trio.sleep_forever()
        assert use.cancelled_caught
        assert trio.current_time() == begun + 60
        assert not scopes.is_armed


async def test_a_scope_of_trios_can_stand_for_a_use(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        assert expire_in(scope, 15) == trio.current_time() + 15
        await trio.sleep_forever()
    with ReusableScope() as scopes, scopes.use() as use:
        assert expire_in(use, 15) == scopes.deadline == trio.current_time() + 15


async def test_what_is_cancelled_before_it_begins_ends_at_its_first_checkpoint() -> None:
    with ReusableScope() as scopes:
        use = scopes.use()
        use.cancel()
        await trio.lowlevel.checkpoint()
        with use:
            await trio.sleep_forever()
        assert use.cancelled_caught


async def test_to_cancel_what_has_ended_has_no_effect() -> None:
    with ReusableScope() as scopes:
        with scopes.use() as use:
            pass
        with scopes.use():
            use.cancel()
            await trio.lowlevel.checkpoint()
        assert not use.cancelled_caught


async def test_a_cancellation_that_comes_too_late_does_not_reach_the_next_use() -> None:
    with ReusableScope() as scopes:
        with scopes.use() as use:
            use.cancel()  # and nothing is waited for any more
        assert not use.cancelled_caught
        with scopes.use():
            await trio.lowlevel.checkpoint()


async def test_what_is_cancelled_around_all_of_it_ends_everything() -> None:
    with trio.CancelScope() as around:
        with ReusableScope() as scopes, scopes.use() as outer, scopes.use() as inner:
            inner.cancel()
            around.cancel()
            await trio.sleep_forever()
        pytest.fail("went on")
    assert around.cancelled_caught
    assert not outer.cancelled_caught
    assert not inner.cancelled_caught


def _fail_in(use: Use) -> None:
    with use:
        use.cancel()
        raise ValueError("mine")


async def test_errors_pass_and_leave_it_usable() -> None:
    with ReusableScope() as scopes:
        with pytest.raises(ValueError, match="mine"):
            _fail_in(scopes.use())
        with scopes.use():
            await trio.lowlevel.checkpoint()


async def test_tasks_that_are_started_within_a_use_are_cancelled_with_it() -> None:
    with ReusableScope() as scopes:
        with scopes.use() as use:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                use.cancel()
        assert use.cancelled_caught


async def test_who_looks_after_connections_arms_what_is_near(autojump_clock: MockClock) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Connections(ServerContext()) as connections:
        connection = Served(ours.fileno())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connections.run)
            with connections.looked_after(connection), connection.scopes as scopes:
                begun = trio.current_time()
                with scopes.use() as use:
                    use.expire_in(15)
                    await trio.sleep(10)
                    assert not scopes.is_armed
                    await trio.sleep_forever()
                assert use.cancelled_caught
                assert trio.current_time() == begun + 15
            nursery.cancel_scope.cancel()
