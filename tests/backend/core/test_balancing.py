"""Which of several takes a call, and what is remembered of that."""

from __future__ import annotations

import attrs

from onemcp.backend.balancing import MAX_SESSIONS, Balancer


@attrs.define
class Worker:
    key: str
    in_flight: int = 0
    waiting: int = 0


def test_the_one_with_the_least_to_do_is_chosen_and_equals_take_turns():
    idle, also_idle = Worker("a"), Worker("b")
    able = [Worker("busy", in_flight=1), idle, Worker("full", waiting=2), also_idle]
    balancer = Balancer()
    chosen = [balancer.choose(able, None).key for _ in range(8)]
    assert set(chosen) == {"a", "b"}
    assert balancer.choose([Worker("c", in_flight=5)], None).key == "c"


def test_a_session_keeps_to_one_that_has_more_to_do_but_not_to_one_that_is_not_able():
    first, second = Worker("a"), Worker("b", in_flight=1)
    balancer = Balancer()
    assert balancer.choose([first, second], "session") is first
    first.in_flight = 9
    assert balancer.choose([first, second], "session") is first
    assert balancer.choose([second], "session") is second
    assert balancer.choose([first, second], "session") is second


def test_of_too_many_sessions_the_one_that_was_used_longest_ago_is_forgotten():
    balancer = Balancer()
    for number in range(MAX_SESSIONS):
        balancer.keep(number, "a")
    balancer.keep(0, "a")
    balancer.keep("new", "b")
    assert balancer.knows(0)
    assert not balancer.knows(1)
    assert repr(balancer) == f"<Balancer of {MAX_SESSIONS} sessions>"
