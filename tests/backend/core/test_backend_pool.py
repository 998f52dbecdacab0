"""Which call uses which instance of a backend, and how many there are."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from onemcp import config
from onemcp.backend import (
    BackendDown,
    BackendSessionEnded,
    InstanceLost,
    InstanceReady,
    InstanceRetired,
    InteractiveFound,
    QuestionOfNobody,
)
from onemcp.backend.inbound import LINGER
from onemcp.backend.interactivity import SUSPICION
from onemcp.backend.spares import AGAIN
from onemcp.protocol.errors import BackendUnavailable, Overloaded, ShuttingDown
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import ROOTS_CHANGED
from tests.backend.core.fakes import EMPTY, call, caller, error_of, unread
from tests.backend.core.pooled import World, able, settle

ANN, BOB, CID = able("ann"), able("bob"), able("cid")
MUTE = caller("mute")
ASKS = "elicitation/create"
ROOTS = "roots/list"


@pytest.fixture
async def world(nursery) -> World:
    return await World(nursery).up()


@pytest.fixture
async def eager(nursery) -> World:
    """A backend whose calls are all known to ask."""
    return await World(nursery, interactive=True).up()


def asked(exchange: Any) -> list[str]:
    return [message.method for message in unread(exchange)]


# --- the rule --------------------------------------------------------------------------------


async def test_calls_that_ask_nothing_share_the_primary(autojump_clock, world):
    for who in (ANN, BOB, MUTE):
        await world.open(who)
    assert len(world.primary.calls) == world.backend.in_flight == 3
    assert len(world.programs) == 1


async def test_a_call_that_asks_has_the_instance_to_itself_until_it_is_over(autojump_clock, world):
    ann = await world.open(ANN)
    world.primary.ask()
    await settle()
    assert asked(ann) == [ASKS]
    for who in (BOB, MUTE):
        await world.open(who, "u")
    assert [len(program.calls) for program in world.programs] == [1, 2]
    world.primary.ask("again")
    await settle()
    assert asked(ann) == [ASKS, ASKS], "nobody else is there who could be meant"
    ann.reply(Response("q", EMPTY))
    world.primary.answer(world.primary.last)
    await settle()
    await world.open(CID, "u")
    assert len(world.primary.calls) == 2, "it is open again"


async def test_what_has_asked_once_has_an_instance_to_itself_from_then_on(autojump_clock, world):
    await world.open(ANN, "t")
    world.primary.ask()
    await settle()
    world.primary.answer(world.primary.last)
    await settle()
    assert world.of(InteractiveFound) == [InteractiveFound("b", "tools/call", "t", certain=True)]
    ann, bob = await world.open(ANN, "t"), await world.open(BOB, "t")
    await world.open(MUTE, "t")
    await world.open(CID, "u")
    first, second, third = world.programs
    assert [len(program.calls) for program in world.programs] == [2, 1, 2]
    first.ask()
    second.ask()
    third.ask()
    await settle()
    assert asked(ann) == asked(bob) == [ASKS]
    assert third.refusals[0]["error"]["code"] == -33007


async def test_an_ambiguous_question_is_refused_and_does_not_happen_again(autojump_clock, world):
    ann, bob = await world.open(ANN, "t"), await world.open(BOB, "u")
    world.primary.ask()
    await settle()
    assert asked(ann) == asked(bob) == []
    assert world.primary.refusals[0]["error"]["code"] == -33007
    assert world.of(InteractiveFound) == [
        InteractiveFound("b", "tools/call", name, certain=False) for name in ("t", "u")
    ]
    assert world.of(QuestionOfNobody) == [QuestionOfNobody("b", ASKS, 2)]
    for message in world.primary.calls:
        world.primary.answer(message)
    await settle()
    ann, bob = await world.open(ANN, "t"), await world.open(BOB, "u")
    for program in world.programs:
        program.ask()
    await settle()
    assert asked(ann) == asked(bob) == [ASKS]


async def test_a_question_outside_of_any_call_is_refused_and_told_of(autojump_clock, world):
    call = await world.open(ANN, "t")
    world.primary.answer(world.primary.last)
    await settle()
    assert call.finished
    world.primary.ask()
    await settle()
    assert world.primary.refusals[0]["error"]["code"] == -33007
    assert world.of(QuestionOfNobody) == [QuestionOfNobody("b", ASKS, 0)]


async def test_what_explains_a_question_makes_nothing_else_suspect(autojump_clock, world):
    await world.open(ANN, "t")
    world.primary.ask()
    world.primary.answer(world.primary.last)
    await settle()
    await world.open(MUTE, "t")
    await world.open(BOB, "u")
    world.primary.ask("q2")
    await settle()
    assert len(world.of(InteractiveFound)) == 1
    await world.open(CID, "u")
    assert len(world.programs) == 1


async def test_a_suspect_that_never_asks_is_cleared(autojump_clock, world):
    await world.open(ANN, "t")
    await world.open(BOB, "u")
    world.primary.ask()
    for message in world.primary.calls:
        world.primary.answer(message)
    await settle()
    for _ in range(SUSPICION):
        await world.open(ANN, "u")
        assert "leased" in repr(world.backend.pool.primary)
        world.primary.answer(world.primary.last)
        await settle()
    await world.open(ANN, "u")
    assert "open" in repr(world.backend.pool.primary)


async def test_what_is_configured_to_ask_never_shares(autojump_clock, eager):
    await eager.open(ANN)
    await eager.open(BOB)
    await eager.open(MUTE)
    assert [len(program.calls) for program in eager.programs] == [1, 1, 1]
    assert repr(eager.backend.pool) == "<Pool of 'b': 3, 2 leased, 0 waiting>"


async def test_what_is_configured_not_to_ask_always_shares(autojump_clock, nursery):
    world = await World(nursery, interactive=False).up()
    for _ in range(2):
        ann = await world.open(ANN)
        world.primary.ask()
        await settle()
        assert asked(ann) == [ASKS]
        bob = await world.open(BOB)
        world.primary.ask("r")
        await settle()
        assert asked(ann) == [ASKS]
        assert asked(bob) == []
        ann.close()
        bob.close()
        await trio.sleep(LINGER + 1)
    assert len(world.programs) == 1


async def test_a_backend_of_which_there_can_be_only_one_is_never_leased(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 1}).up()
    ann = await world.open(ANN)
    world.primary.ask()
    await settle()
    assert asked(ann) == [ASKS]
    await world.open(BOB)
    assert len(world.primary.calls) == 2


async def test_the_last_open_instance_is_not_leased(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2}).up()
    await world.open(ANN)
    bob = world.begin(BOB)
    await settle()
    assert bob.waits
    await world.open(MUTE)
    assert [len(program.calls) for program in world.programs] == [1, 1]
    world.primary.answer(world.primary.last)
    await settle()
    assert not bob.waits
    assert len(world.primary.calls) == 2


async def test_a_call_that_asks_on_the_last_open_instance_does_not_close_it(
    autojump_clock, nursery
):
    world = await World(nursery, instances={"max": 2}).up()
    await world.open(ANN, "t")
    world.primary.ask()
    await settle()
    bob = await world.open(BOB, "u")
    world.programs[1].ask()
    await settle()
    assert asked(bob) == [ASKS]
    await world.open(MUTE)
    assert len(world.programs[1].calls) == 2


# --- whose instance --------------------------------------------------------------------------


async def test_a_client_gets_the_instance_back_that_it_had(autojump_clock, eager):
    await eager.open(ANN)
    await eager.open(BOB)
    first, second = eager.programs
    first.answer(first.last)
    second.answer(second.last)
    await settle()
    await eager.open(BOB)
    assert len(second.calls) == 2
    assert second.count("ping") == 0, "nothing was handed over"


async def test_what_is_late_reaches_nobody_when_an_instance_changes_hands(autojump_clock, eager):
    ann = await eager.open(able("ann", log_level="debug"))
    eager.primary.answer(eager.primary.last)
    await settle()
    assert isinstance(await ann.receive(), Response)
    eager.primary.pings = False
    bob = eager.begin(able("bob", log_level="debug"))
    await trio.sleep(0.5)
    assert eager.primary.heard[-1] == "ping"
    eager.primary.log("of ann")
    eager.primary.ask("of ann")
    await trio.sleep(0.5)
    assert bob.waits
    assert eager.primary.refusals[0]["id"] == "of ann"
    await trio.sleep(5)  # it doesn't say that it has said everything
    assert bob.exchange is not None
    assert asked(bob.exchange) == []
    eager.primary.log("of bob")
    await settle()
    assert asked(bob.exchange) == ["notifications/message"]


async def test_a_backend_that_asks_for_roots_is_told_of_other_clients_roots(autojump_clock, eager):
    await eager.open(ANN)
    eager.primary.ask("r", ROOTS)
    await settle()
    eager.primary.answer(eager.primary.last)
    await settle()
    await eager.open(ANN)
    assert ROOTS_CHANGED not in eager.primary.heard
    eager.primary.answer(eager.primary.last)
    await settle()
    await eager.open(BOB)
    assert eager.primary.heard[-3:] == ["ping", ROOTS_CHANGED, "tools/call"]


async def test_changed_roots_are_told_where_their_client_is_served(autojump_clock, eager):
    await eager.open(ANN)
    await eager.open(BOB)
    await eager.open(ANN)
    eager.programs[0].answer(eager.programs[0].last)
    await settle()
    eager.backend.roots_changed("ann")
    eager.backend.roots_changed("nobody")
    await settle()
    assert [program.count(ROOTS_CHANGED) for program in eager.programs] == [1, 0, 1]


async def test_what_was_cancelled_may_still_ask_so_its_instance_is_left_alone(
    autojump_clock, eager
):
    ann = await eager.open(ANN)
    ann.close()
    await eager.open(BOB)
    assert [len(program.calls) for program in eager.programs] == [1, 1]
    await eager.open(ANN)
    assert len(eager.primary.calls) == 2, "for its own client it may go on at once"


async def test_what_was_cancelled_is_over_with_its_answer_or_after_a_while(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2}).up()
    ann = await world.open(ANN)
    await world.open(MUTE)
    ann.close()
    bob = world.begin(BOB)
    await settle()
    cid = world.begin(CID)
    await settle()
    assert bob.waits
    world.primary.answer(world.primary.last)
    await settle()
    assert bob.exchange is not None
    bob.exchange.close()
    await trio.sleep(LINGER - 1)
    assert cid.waits
    await trio.sleep(2)
    assert cid.exchange is not None


async def test_the_level_of_log_messages_is_that_of_each_instance(autojump_clock, eager):
    await eager.open(able("ann", log_level="debug"))
    await eager.open(able("bob", log_level="error"))
    await eager.open(caller("mute", log_level="info"))
    first, second, third = eager.programs
    assert first.count("logging/setLevel") == second.count("logging/setLevel") == 1
    assert third.count("logging/setLevel") == 1
    ann = await eager.open(able("ann", log_level="debug"))
    await eager.backend.heed(ann, able("else", log_level="debug"))
    assert eager.programs[3].count("logging/setLevel") == 1
    ann.close()
    await eager.backend.heed(ann, able("else", log_level="debug"))


async def test_tasks_live_on_the_primary_whoever_leases_it(autojump_clock, eager):
    await eager.open(ANN)
    for method, params in (
        ("tools/call", {"name": "t", "task": {}}),
        ("tasks/get", {"taskId": "1"}),
    ):
        await eager.backend.open(call(method, caller=BOB, params=params))
    await settle()
    assert eager.primary.heard[-3:] == ["tools/call", "tools/call", "tasks/get"]
    related = {"_meta": {"io.modelcontextprotocol/related-task": {"taskId": "1"}}}
    eager.primary.say({"id": "q", "method": ASKS, "params": related})
    await settle()
    assert eager.of(InteractiveFound) == [], "it says whose it is"


# --- more and fewer --------------------------------------------------------------------------


async def test_an_instance_ends_when_nobody_has_used_it_for_long(autojump_clock, eager):
    await eager.open(ANN)
    await eager.open(BOB)
    second = eager.programs[1]
    await trio.sleep(1000)
    assert not second.ended
    second.answer(second.last)
    await trio.sleep(59)
    assert not second.ended
    await trio.sleep(62)
    assert second.ended
    assert eager.alive == [eager.primary]
    assert len(eager.of(InstanceReady)) == 1
    assert eager.of(InstanceRetired) == [InstanceRetired("b", 1)]
    assert eager.of(InstanceLost) == eager.of(BackendDown) == []
    [session] = eager.of(BackendSessionEnded)
    assert (session.failure, session.seconds > 1000) == (None, True)
    await eager.open(BOB)
    assert len(eager.alive) == 2


async def test_who_waits_is_served_in_order(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 3}).up()
    await world.open(ANN)
    await world.open(BOB)
    waiting = []
    for number in range(3):
        waiting.append(world.begin(able(f"w{number}")))
        await settle()
    for number, pending in enumerate(waiting):
        assert [each.waits for each in waiting] == [False] * number + [True] * (3 - number)
        world.primary.answer(world.primary.last)
        await settle()
        assert not pending.waits
    assert len(world.programs) == 2


async def test_the_queue_is_bounded(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2, "queue": 1}).up()
    await world.open(ANN)
    waiting = world.begin(BOB)
    await settle()
    with pytest.raises(Overloaded, match="'b': 1 calls wait for an instance of their own"):
        await world.open(CID)
    assert waiting.waits
    await world.open(MUTE)


async def test_nobody_waits_for_ever(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2, "wait": 7.0}).up()
    await world.open(ANN)
    bob = world.begin(BOB)
    await trio.sleep(6.9)
    assert bob.waits
    await trio.sleep(0.2)
    assert isinstance(bob.error, Overloaded)
    assert "'b': no instance came free within 7 s (1 of at most 2" in str(bob.error)
    assert world.backend.pool.waiting == 0


async def test_who_is_cancelled_while_it_waits_leaves_nothing_behind(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2}).up()
    await world.open(ANN)
    bob = world.begin(BOB)
    await settle()
    cid = world.begin(CID)
    await settle()
    bob.scope.cancel()
    await settle()
    assert world.backend.pool.waiting == 1
    world.primary.answer(world.primary.last)
    cid.scope.cancel()  # just as it gets the instance
    await settle()
    assert "leased" not in repr(world.backend.pool.primary)
    await world.open(ANN)


async def test_calls_are_counted_for_the_backend_as_a_whole(autojump_clock, nursery, monkeypatch):
    monkeypatch.setattr("onemcp.backend.backend.BESIDES", 0)
    limits = config.BackendLimits(in_flight=2)
    world = await World(nursery, interactive=True, limits=limits).up()
    await world.open(ANN)
    await world.open(BOB)
    assert len(world.programs) == world.backend.in_flight == 2
    with pytest.raises(Overloaded, match="more than 2 calls in flight"):
        await world.open(MUTE)


async def test_many_calls_wait_for_one_instance_that_they_share(autojump_clock, eager):
    await eager.open(ANN)
    eager.gate = trio.Event()
    waiting = [eager.begin(caller(f"m{number}")) for number in range(100)]
    await settle()
    assert all(pending.waits for pending in waiting)
    eager.gate.set()
    await settle()
    assert not any(pending.waits for pending in waiting)
    assert len(eager.programs) == 2


async def test_what_any_instance_announces_is_heard(autojump_clock, eager):
    await eager.open(ANN)
    await eager.open(BOB)
    eager.programs[1].say({"method": "notifications/tools/list_changed"})
    await settle()
    assert eager.announcements == ["notifications/tools/list_changed"]
    assert [program.count("tools/list") for program in eager.programs] == [2, 0]


# --- when things fail ------------------------------------------------------------------------


async def test_an_instance_that_cannot_be_started_is_an_error_of_who_needs_it(
    autojump_clock, eager
):
    await eager.open(ANN)
    eager.cannot_start = "cannot start 'x'"
    with pytest.raises(BackendUnavailable, match="could not be started: cannot start 'x'; where"):
        await eager.open(BOB)
    assert eager.of(InstanceLost) == [InstanceLost("b", 1, "cannot start 'x'")]
    assert eager.of(BackendDown) == eager.ends == []
    await eager.open(MUTE)
    assert len(eager.primary.calls) == 2, "who asks nothing shares what there is"
    eager.cannot_start = None
    bob = eager.begin(BOB)
    await settle()
    assert bob.waits, "not right away again"
    await trio.sleep(AGAIN)
    await settle()
    assert bob.exchange is not None
    assert len(eager.programs) == 2


async def test_without_another_instance_the_reason_is_told_who_waits_in_vain(
    autojump_clock, nursery
):
    instances = {"max": 2, "wait": 2.0}
    world = await World(nursery, interactive=True, instances=instances).up()
    await world.open(ANN)
    world.cannot_start = "there can be only one"
    await world.open(MUTE)
    with pytest.raises(Overloaded, match="no other one could be started: there can be only one"):
        await world.open(BOB)


async def test_without_a_supervisor_no_instance_is_started(autojump_clock, nursery):
    world = World(nursery, interactive=True)
    await world.incarnate()
    await world.open(ANN)
    with pytest.raises(BackendUnavailable, match="is not running"):
        await world.open(BOB)


async def test_an_instance_that_is_too_slow_is_not_waited_for(autojump_clock, eager):
    await eager.open(ANN)
    eager.gate = trio.Event()
    bob = eager.begin(BOB)
    await trio.sleep(29)
    assert bob.waits
    await trio.sleep(2)
    assert "within 30 s" in str(bob.error)


async def test_an_instance_that_speaks_otherwise_is_not_used(autojump_clock, eager):
    await eager.open(ANN)
    eager.revision = "2024-11-05"
    with pytest.raises(BackendUnavailable, match="it speaks 2024-11-05, and not 2025-11-25"):
        await eager.open(BOB)


async def test_a_call_on_an_instance_that_ends_fails_and_the_next_gets_another(
    autojump_clock, eager
):
    await eager.open(ANN)
    bob = await eager.open(BOB)
    eager.programs[1].end("it exited with status 1")
    await settle()
    assert error_of(await bob.receive()).code == -33002
    assert eager.of(InstanceLost) == [InstanceLost("b", 1, "it exited with status 1")]
    await eager.open(BOB)
    assert len(eager.alive) == 2
    assert eager.backend.in_flight == 2


async def test_the_end_of_an_instance_makes_room_for_another(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 3}).up()
    await world.open(ANN)
    await world.open(BOB)
    await world.open(MUTE)
    cid = world.begin(CID)
    await settle()
    assert cid.waits
    world.programs[1].end()
    await settle()
    assert cid.exchange is not None
    assert len(world.programs) == 4


async def test_the_primary_comes_back_and_the_others_go_on(autojump_clock, eager):
    await eager.open(ANN)
    bob = await eager.open(BOB)
    eager.primary.end("it crashed")
    await settle()
    cid = eager.begin(CID)
    await settle()
    assert cid.waits
    await eager.incarnate()
    assert cid.exchange is not None
    assert len(eager.programs[2].calls) == 1
    eager.programs[1].ask()
    await settle()
    assert asked(bob) == [ASKS]


async def test_what_is_known_of_calls_outlives_connections_and_replacements(
    autojump_clock, world, nursery
):
    await world.open(ANN)
    world.primary.ask()
    await settle()
    world.primary.end("it crashed")
    await settle()
    await world.incarnate()
    await world.open(ANN)
    assert "leased" in repr(world.backend.pool.primary)
    other = World(nursery)
    other.backend.adopt(world.backend)
    await other.up()
    await other.open(ANN)
    assert "leased" in repr(other.backend.pool.primary)


# --- the end ---------------------------------------------------------------------------------


async def test_draining_waits_for_the_calls_of_all_instances(autojump_clock, nursery):
    world = await World(nursery, interactive=True, instances={"max": 2}).up()
    await world.open(ANN)
    await world.open(MUTE)
    bob = world.begin(BOB)
    drained = trio.Event()

    async def drain() -> None:
        await world.backend.drain()
        drained.set()

    await settle()
    nursery.start_soon(drain)
    await settle()
    assert isinstance(bob.error, ShuttingDown)
    for program in world.programs:
        assert not drained.is_set()
        program.answer(program.last)
        await settle()
    assert drained.is_set()


async def test_a_backend_that_is_given_up_leaves_no_instance(autojump_clock, eager):
    await eager.open(ANN)
    bob = await eager.open(BOB)
    eager.primary.end("it crashed")
    await settle()
    eager.backend.give_up()
    await settle()
    assert "it crashed" in error_of(await bob.receive()).message
    assert eager.alive == []
    assert len(eager.backend.pool) == 1


async def test_one_that_starts_is_not_waited_for_when_the_backend_is_given_up(
    autojump_clock, eager
):
    await eager.open(ANN)
    eager.gate = trio.Event()
    bob = eager.begin(BOB)
    await settle()
    eager.backend.give_up()
    await settle()
    assert isinstance(bob.error, BackendUnavailable)
    assert "Spares" not in repr(eager.backend.pool)
    assert len(eager.backend.pool) == 1


async def test_what_is_abandoned_fails_on_all_instances(autojump_clock, eager):
    calls = [await eager.open(ANN), await eager.open(BOB)]
    eager.backend.abandon("onemcp is being stopped")
    for exchange in calls:
        assert "being stopped" in error_of(await exchange.receive()).message
    assert eager.backend.in_flight == 0
