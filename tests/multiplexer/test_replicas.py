"""Which replica of a server takes a call, and what becomes of it where that one goes away."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from onemcp import config
from onemcp.backend import (
    BackendDown,
    BackendReady,
    Call,
    ReplicaDown,
    ReplicaReady,
    ReplicasDiffer,
)
from onemcp.backend.coalescing import GATHER
from onemcp.multiplexer import CallRepeated, Reply, View
from onemcp.multiplexer.subscriptions import ALL_LISTS
from onemcp.protocol.errors import BackendUnavailable, CircuitOpen, InvalidParams, RemoteError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import LIST_CHANGED, RESOURCE_UPDATED, SUBSCRIBE
from onemcp.protocol.revisions import LATEST_LEGACY
from onemcp.supervision import NotReadyError
from tests.multiplexer.fakes import (
    ANSWERING,
    Server,
    World,
    ask,
    decoded,
    failure,
    legacy,
    modern,
    nothing,
    receive_all,
    resource,
    result,
    send,
    tool,
)
from tests.multiplexer.replicated import Fleet, settled

READER = tool("t", annotations={"readOnlyHint": True})
CALL: dict[str, Any] = {"name": "alpha__t"}


def server(key: str, settings: config.Backend | None = None, **more: Any) -> Server:
    """Make the server of a replica, which says who it is."""
    del settings
    made = Server("alpha", **{"tools": [READER], "resources": [resource("r://1")], **more})
    made.handlers["tools/call"] = result({"said": key}, era_fields=made.is_modern)
    return made


def old_server(key: str, settings: config.Backend | None = None) -> Server:
    return server(key, settings, revision=LATEST_LEGACY)


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world, server)


@pytest.fixture
def old_fleet(world: World) -> Fleet:
    return Fleet(world, old_server)


async def said(view: View, caller: Any = None) -> str:
    """Make a call, and return the key of the replica that has answered."""
    return str((await ask(view, "tools/call", CALL, caller))["said"])


async def begin(view: View, caller: Any = None) -> Reply:
    reply = await send(view, "tools/call", CALL, caller)
    await settled()
    return reply


def hold(fleet: Fleet, *numbers: int) -> None:
    """Leave calls unanswered from now on."""
    for number in numbers:
        fleet.server(number).handlers["tools/call"] = nothing


# --- which one -------------------------------------------------------------------------------


async def test_calls_go_to_the_replica_with_the_fewest_in_flight(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    hold(fleet, 1, 2, 3)
    replies = [await begin(view) for _ in range(6)]
    assert fleet.calls == {"1": 2, "2": 2, "3": 2}
    second = fleet.server(2)
    for exchange in second.calls:
        exchange.finish(Response(exchange.id, raw({"resultType": "complete"})))
    replies += [await begin(view) for _ in range(2)]
    assert fleet.calls == {"1": 2, "2": 4, "3": 2}
    assert fleet.whole.in_flight == 6
    for reply in replies:
        reply.close()


async def test_idle_replicas_take_turns(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    assert sorted([await said(view) for _ in range(6)]) == ["1", "1", "2", "2", "3", "3"]


async def test_a_session_keeps_to_a_legacy_replica_until_that_is_down(
    autojump_clock, old_fleet: Fleet
):
    view = await old_fleet.start()
    ada, bob = legacy(), legacy()
    first = await said(view, ada)
    assert {await said(view, ada) for _ in range(5)} == {first}
    assert await said(view, bob) != first
    old_fleet.servers[first].crash()
    await settled()
    second = await said(view, ada)
    assert second != first
    old_fleet.servers[first].gate.set()
    await trio.sleep(60)
    assert old_fleet.whole.replicas[first].is_up
    assert {await said(view, ada) for _ in range(5)} == {second}


async def test_modern_clients_and_servers_have_no_sessions_to_keep(
    autojump_clock, fleet: Fleet, old_fleet: Fleet
):
    view = await fleet.start()
    client = legacy()
    assert {await said(view, client) for _ in range(3)} == {"1", "2", "3"}
    view = await old_fleet.start()
    assert {await said(view, modern()) for _ in range(3)} == {"1", "2", "3"}


async def test_sessions_are_shared_out_as_well_where_the_server_keeps_nothing(
    autojump_clock, old_fleet: Fleet
):
    view = await old_fleet.start(sticky=False)
    client = legacy()
    assert {await said(view, client) for _ in range(3)} == {"1", "2", "3"}


async def test_what_only_some_replicas_list_is_called_there(world: World, autojump_clock):
    def uneven(key: str, settings: config.Backend) -> Server:
        return server(key, settings, tools=[READER, tool("x")] if key == "1" else [READER])

    fleet = Fleet(world, uneven)
    view = await fleet.start()
    for number in (1, 2, 3):
        fleet.server(number).handlers["tools/call"] = result({"said": number}, era_fields=True)
    answers = [await ask(view, "tools/call", {"name": "alpha__x"}) for _ in range(3)]
    assert [answer["said"] for answer in answers] == [1, 1, 1]
    (event,) = fleet.of(ReplicasDiffer)
    assert event == ReplicasDiffer("alpha", "1", ("2", "3"), ("tools",))


async def test_calls_wait_for_the_first_replica_that_comes_up(
    autojump_clock, fleet: Fleet, nursery
):
    gates: dict[str, trio.Event] = {}

    def slow(key: str, settings: config.Backend) -> Server:
        made = server(key, settings)
        made.gate = gates[key] = trio.Event()
        return made

    fleet.make = slow
    view = await fleet.start()
    answers: list[str] = []

    async def call() -> None:
        answers.append(await said(view))

    nursery.start_soon(call)
    await settled()
    assert answers == []
    assert not fleet.whole.is_up
    gates["2"].set()
    await settled()
    assert answers == ["2"]
    (ready,) = fleet.of(BackendReady)
    assert ready.backend == "alpha"
    assert [event.replica for event in fleet.of(ReplicaReady)] == ["2"]


# --- what goes wrong -------------------------------------------------------------------------


async def test_a_call_that_may_be_made_twice_is_made_again_at_another_replica(
    autojump_clock, fleet: Fleet, nursery
):
    view = await fleet.start()
    hold(fleet, 1, 2, 3)
    reply = await begin(view)
    (first,) = [key for key, count in fleet.calls.items() if count]
    answers: list[Any] = []

    async def receive() -> None:
        answers.extend(await receive_all(reply))

    nursery.start_soon(receive)
    for key in {"1", "2", "3"} - {first}:
        fleet.servers[key].handlers["tools/call"] = result({"said": key}, era_fields=True)
    fleet.servers[first].crash()
    await settled()
    assert decoded(answers[-1].result)["said"] != first
    assert len(fleet.of(CallRepeated)) == 1
    assert [event.replica for event in fleet.of(ReplicaDown)] == [first]
    assert fleet.of(BackendDown) == []
    assert fleet.whole.is_up


async def test_what_is_down_gets_no_calls_and_names_stay(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    subscriber = await view.subscribe(ALL_LISTS)
    fleet.server(1).crash()
    fleet.server(2).crash()
    await settled()
    assert {await said(view) for _ in range(4)} == {"3"}
    assert [each["name"] for each in (await ask(view, "tools/list"))["tools"]] == ["alpha__t"]
    fleet.server(3).crash()
    await settled()
    assert len(fleet.of(BackendDown)) == 1
    assert [each["name"] for each in (await ask(view, "tools/list"))["tools"]] == ["alpha__t"]
    fleet.server(2).gate.set()
    assert await said(view) == "2"
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.1):
        await subscriber.receive()  # nothing was changed


async def test_a_server_is_down_once_all_replicas_are_given_up(autojump_clock, fleet: Fleet):
    restart = config.Restart(intensity=0, cooldown=1000.0)
    view = await fleet.start(restart=restart)
    for number in (1, 2):
        fleet.server(number).crash()
    await settled()
    assert await said(view) == "3"
    assert not fleet.whole.replicas["1"].is_up
    fleet.server(3).crash()
    await settled()
    assert (await ask(view, "tools/list"))["tools"] == []
    with pytest.raises(BackendUnavailable, match="'alpha'"):
        await fleet.whole.open(Call("tools/call", {"name": raw("t")}, modern()))
    for number in (1, 2, 3):
        fleet.server(number).gate.set()
    await trio.sleep(2000)
    assert sorted([await said(view) for _ in range(3)]) == ["1", "2", "3"]


async def test_restarts_of_one_replica_are_not_those_of_another(autojump_clock, fleet: Fleet):
    await fleet.start(restart=config.Restart(intensity=2, period=1000.0, cooldown=5000.0))
    for _ in range(3):
        fleet.server(1).crash(comes_back=True)
        await trio.sleep(100)
    assert fleet.whole.replicas["1"].standing.is_given_up
    fleet.server(2).crash(comes_back=True)
    await trio.sleep(100)
    assert fleet.whole.replicas["2"].is_up


async def test_calls_are_routed_away_from_an_open_breaker_until_all_are_open(
    autojump_clock, fleet: Fleet
):
    settings = {"breaker": config.Breaker(failures=1, cooldown=32_000.0), "replicas": 2}
    view = await fleet.start(**settings, retry=config.Retry(attempts=0))
    broken = fleet.server(1)
    broken.crash(comes_back=True)
    await trio.sleep(5)
    hold(fleet, 1, 2)
    replies = [await begin(view) for _ in range(2)]
    broken.crash(comes_back=True)
    await trio.sleep(5)
    first = fleet.whole.replicas["1"]
    assert first.is_up
    assert not first.breaker.is_closed
    fleet.server(2).handlers["tools/call"] = result({"said": "2"}, era_fields=True)
    assert {await said(view) for _ in range(4)} == {"2"}
    assert fleet.whole.breaker.is_closed
    fleet.server(2).crash(comes_back=True)
    await trio.sleep(5)
    assert fleet.whole.is_up
    with pytest.raises(CircuitOpen):
        await send(view, "tools/call", CALL)
    fleet.whole.reset()
    fleet.server(1).handlers["tools/call"] = result({"said": "1"}, era_fields=True)
    fleet.server(2).handlers["tools/call"] = result({"said": "2"}, era_fields=True)
    assert {await said(view) for _ in range(2)} == {"1", "2"}
    for reply in replies:
        reply.close()


# --- what belongs to one ---------------------------------------------------------------------


TASKS = {"tools": {}, "tasks": {"list": {}, "requests": {"tools": {"call": {}}}}}


def with_tasks(key: str, settings: config.Backend) -> Server:
    """Make a server that gives the same id to each of its tasks."""
    slow = tool("t", execution={"taskSupport": "optional"})
    made = server(key, settings, revision=LATEST_LEGACY, capabilities=TASKS, tools=[slow])
    times = dict.fromkeys(("createdAt", "lastUpdatedAt"), "2026-01-01T00:00:00Z")
    task = {"taskId": "task-1", "status": "working", "ttl": None, **times}
    made.handlers["tools/call"] = result({"task": task})
    made.handlers["tasks/get"] = result({**task, "statusMessage": f"of {key}"})
    return made


async def test_a_task_is_asked_about_where_it_is(world: World, autojump_clock):
    fleet = Fleet(world, with_tasks)
    view = await fleet.start()
    clients = [legacy() for _ in range(3)]
    made = [
        (await ask(view, "tools/call", {**CALL, "task": {}}, client))["task"]["taskId"]
        for client in clients
    ]
    assert len(set(made)) == 3  # though all replicas give the same ids
    seen = {
        (await ask(view, "tasks/get", {"taskId": task_id}, clients[0]))["statusMessage"]
        for task_id in made
    }
    assert seen == {"of 1", "of 2", "of 3"}
    listed = (await ask(view, "tasks/list", {}, clients[0]))["tasks"]
    assert {each["taskId"] for each in listed} == set(made)
    asked = {server.last.call.method for server in fleet.servers.values()}
    assert asked == {"tasks/get"}


async def test_a_task_of_a_replica_that_is_gone_is_gone(world: World, autojump_clock):
    fleet = Fleet(world, with_tasks)
    view = await fleet.start(replicas=2)
    clients = [legacy(), legacy()]
    made = {}
    for client in clients:
        answer = await ask(view, "tools/call", {**CALL, "task": {}}, client)
        made[next(key for key, each in fleet.servers.items() if each.calls and key not in made)] = (
            answer["task"]["taskId"]
        )
    await fleet.replicas.move(fleet.settings(replicas=3), 1.0)
    await fleet.replicas.move(fleet.settings(replicas=2), 1.0)
    assert (await ask(view, "tasks/get", {"taskId": made["2"]}, clients[0]))["status"] == "working"
    fleet.whole.remove("2")
    with pytest.raises(InvalidParams):
        await send(view, "tasks/get", {"taskId": made["2"]}, clients[0])


async def test_a_retry_goes_to_the_replica_that_has_issued_its_state(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    asking = modern(capabilities=ANSWERING)
    for key, each in fleet.servers.items():
        wanted = {"resultType": "input_required", "requestState": f"of {key}"}
        each.handlers["tools/call"] = result(wanted)
    states = [(await ask(view, "tools/call", CALL, asking))["requestState"] for _ in range(3)]
    assert sorted(states) == ["of 1", "of 2", "of 3"]
    for key, each in fleet.servers.items():
        each.handlers["tools/call"] = result({"said": key}, era_fields=True)
    for state in [*states, *states]:
        answer = await ask(view, "tools/call", {**CALL, "requestState": state}, modern())
        assert f"of {answer['said']}" == state
    fleet.server(1).crash()
    await settled()
    answer = await ask(view, "tools/call", {**CALL, "requestState": "of 1"}, modern())
    assert answer["said"] in {"2", "3"}  # which is to judge it


async def test_resources_are_subscribed_to_at_all_replicas(autojump_clock, old_fleet: Fleet):
    view = await old_fleet.start()
    subscriber = await view.subscribe(frozenset(), frozenset({"r://1"}))
    await settled()
    assert subscriber.uris == {"r://1"}
    assert all(each.subscribed == {"r://1"} for each in old_fleet.servers.values())
    old_fleet.server(1).crash(comes_back=True)
    old_fleet.server(1).subscribed.clear()
    await trio.sleep(60)
    assert old_fleet.server(1).subscribed == {"r://1"}  # it was restored
    await old_fleet.replicas.move(old_fleet.settings(replicas=4), 1.0)
    await settled()
    assert old_fleet.server(4).subscribed == {"r://1"}
    subscriber.close()
    await settled()
    assert not any(each.subscribed for each in old_fleet.servers.values())


async def test_a_subscription_that_is_refused_is_wanted_nowhere(autojump_clock, old_fleet: Fleet):
    view = await old_fleet.start()
    for each in old_fleet.servers.values():
        each.handlers[SUBSCRIBE] = failure(-32602)
    subscriber = await view.subscribe(ALL_LISTS)
    with pytest.raises(RemoteError):
        await view.subscribe_resource(subscriber, "r://1")
    assert not any(each.upstream.wanted for each in old_fleet.whole.replicas.values())
    assert not old_fleet.whole.upstream.is_wanted


async def test_a_list_that_changes_at_all_replicas_is_told_of_once(
    autojump_clock, old_fleet: Fleet
):
    view = await old_fleet.start()
    subscriber = await view.subscribe(ALL_LISTS)
    for each in old_fleet.servers.values():
        each.change()
    await trio.sleep(10)
    assert (await subscriber.receive()).method in LIST_CHANGED
    with pytest.raises(trio.TooSlowError), trio.fail_after(10):
        await subscriber.receive()


async def test_a_list_that_is_as_it_was_is_not_told_of(autojump_clock, old_fleet: Fleet):
    view = await old_fleet.start()
    subscriber = await view.subscribe(ALL_LISTS)
    for each in old_fleet.servers.values():
        each.announce("notifications/tools/list_changed")
    old_fleet.server(2).change()  # clients see the list of the first
    with pytest.raises(trio.TooSlowError), trio.fail_after(10):
        await subscriber.receive()
    old_fleet.server(1).crash()  # from now on that of the second
    with trio.fail_after(10):
        assert (await subscriber.receive()).method == "notifications/tools/list_changed"


async def test_a_resource_that_changes_at_all_replicas_is_told_of_once(
    autojump_clock, old_fleet: Fleet
):
    view = await old_fleet.start()
    subscriber = await view.subscribe(frozenset(), frozenset({"r://1"}))
    await settled()
    begun = trio.current_time()
    for each in old_fleet.servers.values():
        await trio.sleep(GATHER / 4)
        each.announce(RESOURCE_UPDATED, uri="r://1")
    assert (await subscriber.receive()).method == RESOURCE_UPDATED
    assert trio.current_time() == begun + GATHER * 3 / 4  # not before the last, and not later
    with pytest.raises(trio.TooSlowError), trio.fail_after(10):
        await subscriber.receive()
    assert old_fleet.whole.tally.coalesced[RESOURCE_UPDATED] == 2


async def test_a_resource_that_changes_at_one_replica_is_told_of_a_little_later(
    autojump_clock, old_fleet: Fleet
):
    view = await old_fleet.start()
    subscriber = await view.subscribe(frozenset(), frozenset({"r://1"}))
    await settled()
    for seconds in (GATHER, 0.0):
        begun = trio.current_time()
        old_fleet.server(3).announce(RESOURCE_UPDATED, uri="r://1")
        assert (await subscriber.receive()).method == RESOURCE_UPDATED
        assert trio.current_time() == begun + seconds
        for number in (1, 2):  # then there is nobody to wait for
            old_fleet.server(number).crash()
        await settled()


# --- restart and reload ----------------------------------------------------------------------


class Slowly:
    """Lets a server get ready a second after it was started."""

    async def wait(self) -> None:
        await trio.sleep(1)


async def test_replicas_are_restarted_one_after_the_other(autojump_clock, fleet: Fleet, nursery):
    def slow(key: str, settings: config.Backend) -> Server:
        made = server(key, settings)
        made.gate = cast("Any", Slowly())
        return made

    fleet.make = slow
    view = await fleet.start()
    await fleet.whole.wait_ready()
    await trio.sleep(1)
    ups: list[int] = []

    async def watch() -> None:
        while True:
            ups.append(sum(each.is_up for each in fleet.whole.replicas.values()))
            await said(view)
            await trio.sleep(0.1)

    nursery.start_soon(watch)
    await trio.sleep(1)
    before = {key: each.connection for key, each in fleet.servers.items()}
    await fleet.operator.restart("alpha")
    assert set(ups) == {2, 3}
    assert all(fleet.servers[key].connection is not old for key, old in before.items())
    assert fleet.of(BackendDown) == []
    nursery.cancel_scope.cancel()


async def test_a_restart_ends_at_the_first_replica_that_does_not_come_up(
    autojump_clock, fleet: Fleet
):
    view = await fleet.start(timeouts=config.Timeouts(start=5.0))
    fleet.server(1).gate = trio.Event()
    with pytest.raises(NotReadyError, match=r"replica '1'.*others were left"):
        await fleet.operator.restart("alpha")
    assert {await said(view) for _ in range(4)} == {"2", "3"}


async def test_a_reload_replaces_one_replica_after_the_other_and_lets_calls_end(
    autojump_clock, fleet: Fleet, nursery
):
    view = await fleet.start()
    subscriber = await view.subscribe(ALL_LISTS)
    hold(fleet, 1, 2, 3)
    reply = await begin(view)
    (first,) = [key for key, calls in fleet.calls.items() if calls]
    old = fleet.servers[first]
    changed = fleet.settings(timeouts=config.Timeouts(start=50.0, call=40.0))
    await fleet.replicas.move(changed, 1.0)
    assert fleet.made == ["1", "2", "3", "1", "2", "3"]
    assert fleet.whole.config is changed
    assert len({await said(view) for _ in range(3)}) == 3
    old.last.finish(Response(old.last.id, raw({"resultType": "complete", "said": "old"})))
    (answer,) = await receive_all(reply)
    assert decoded(answer.result)["said"] == "old"
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.1):
        await subscriber.receive()
    assert fleet.of(BackendDown) == []


async def test_a_reload_that_breaks_the_first_replica_leaves_all_as_they_were(
    autojump_clock, fleet: Fleet
):
    view = await fleet.start()

    def broken(key: str, settings: config.Backend) -> Server:
        made = server(key, settings)
        made.gate = trio.Event()
        return made

    fleet.make = broken
    servers = dict(fleet.servers)
    changed = fleet.settings(timeouts=config.Timeouts(start=5.0))
    with pytest.raises(NotReadyError, match="replica '1'"):
        await fleet.replicas.move(changed, 1.0)
    assert fleet.made == ["1", "2", "3", "1"]
    assert {await said(view) for _ in range(3)} == {"1", "2", "3"}
    assert sum(len(each.calls) for each in servers.values()) == 3
    fleet.make = server
    await fleet.replicas.move(changed, 1.0)
    assert len(fleet.made) == 7


async def test_there_may_be_more_replicas_or_fewer(autojump_clock, fleet: Fleet):
    view = await fleet.start(replicas=2)
    await fleet.replicas.move(fleet.settings(replicas=4), 1.0)
    assert {await said(view) for _ in range(4)} == {"1", "2", "3", "4"}
    assert fleet.made == ["1", "2", "3", "4"]  # what there was goes on
    hold(fleet, 3, 4)
    replies = [await begin(view) for _ in range(8)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.replicas.move, fleet.settings(replicas=2), 60.0)
        await settled()
        assert {await said(view) for _ in range(4)} == {"1", "2"}
        for number in (3, 4):
            for exchange in fleet.server(number).calls:
                exchange.finish(Response(exchange.id, raw({"resultType": "complete"})))
    assert set(fleet.whole.replicas) == {"1", "2"}
    assert fleet.running == ["1", "2"]
    for reply in replies:
        answer = (await receive_all(reply))[-1]
        assert isinstance(answer, Response)


def stuck(key: str, settings: config.Backend) -> Server:
    """Make a server that doesn't get ready."""
    made = server(key, settings)
    made.gate = trio.Event()
    return made


async def test_a_replica_that_is_added_is_tried_until_it_comes_up(autojump_clock, fleet: Fleet):
    timeouts = config.Timeouts(start=5.0)
    view = await fleet.start(replicas=2, timeouts=timeouts)
    fleet.make = stuck
    before = trio.current_time()
    assert await fleet.replicas.move(fleet.settings(replicas=3, timeouts=timeouts), 1.0)
    assert trio.current_time() == before  # the reload doesn't wait for it
    assert {await said(view) for _ in range(4)} == {"1", "2"}
    await trio.sleep(12)
    added = fleet.whole.replicas["3"]
    assert added.failure is not None
    assert len([event for event in fleet.of(ReplicaDown) if event.replica == "3"]) == 2
    assert not await fleet.replicas.move(fleet.settings(replicas=3, timeouts=timeouts), 1.0)
    fleet.server(3).gate.set()
    await trio.sleep(5)
    assert {await said(view) for _ in range(3)} == {"1", "2", "3"}
    assert fleet.made == ["1", "2", "3"]


async def test_a_replica_that_is_added_and_given_up_is_tried_again_later(
    autojump_clock, fleet: Fleet
):
    restart = config.Restart(intensity=1, period=60.0, cooldown=300.0)
    timeouts = config.Timeouts(start=5.0)
    view = await fleet.start(replicas=2, timeouts=timeouts, restart=restart)
    fleet.make = stuck
    changed = fleet.settings(replicas=3, timeouts=timeouts, restart=restart)
    await fleet.replicas.move(changed, 1.0)
    await trio.sleep(60)
    assert fleet.whole.replicas["3"].standing.is_given_up
    fleet.server(3).gate.set()
    await trio.sleep(300)
    assert {await said(view) for _ in range(3)} == {"1", "2", "3"}


def at(*hosts: str) -> dict[str, Any]:
    """Return what says that a server is at these hosts."""
    first, *others = (f"http://{host}/mcp" for host in hosts)
    timeouts = config.Timeouts(start=5.0)
    transport = config.HttpTransport(url=first, others=tuple(others))
    return {"transport": transport, "timeouts": timeouts, "replicas": 1}


async def test_what_is_replaced_by_another_address_goes_once_that_is_up(
    autojump_clock, fleet: Fleet, nursery
):
    view = await fleet.start(**at("a", "b"))
    fleet.make = stuck
    nursery.start_soon(fleet.replicas.move, fleet.settings(**at("a", "c", "d")), 1.0)
    await trio.sleep(1)
    fleet.servers["c"].gate.set()
    await trio.sleep(1)
    assert {await said(view) for _ in range(3)} == {"a", "b", "c"}
    fleet.servers["d"].gate.set()
    await trio.sleep(1)
    assert {await said(view) for _ in range(3)} == {"a", "c", "d"}


async def test_what_is_replaced_by_an_address_that_does_not_come_up_stays(
    autojump_clock, fleet: Fleet
):
    view = await fleet.start(**at("a", "b"))
    fleet.make = stuck
    with pytest.raises(NotReadyError, match=r"replica 'c': .*; replica 'd': .*"):
        await fleet.replicas.move(fleet.settings(**at("a", "c", "d")), 1.0)
    assert set(fleet.whole.replicas) == {"a", "b"}
    assert fleet.running == ["a", "b"]
    assert {await said(view) for _ in range(4)} == {"a", "b"}


async def test_an_operator_stops_and_starts_all_of_them(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    await fleet.operator.stop("alpha")
    assert fleet.whole.failure == "it was stopped by an operator"
    assert (await ask(view, "tools/list"))["tools"] == []
    with pytest.raises(BackendUnavailable, match="stopped by an operator"):
        await fleet.whole.open(Call("tools/call", {"name": raw("t")}, modern()))
    await fleet.operator.restart("alpha")
    await settled()
    assert {await said(view) for _ in range(3)} == {"1", "2", "3"}
    assert [event.backend for event in fleet.of(BackendReady)] == ["alpha", "alpha"]
    await fleet.operator.start("alpha")
    await fleet.operator.reset("alpha")
    assert {await said(view) for _ in range(3)} == {"1", "2", "3"}


async def test_calls_fail_at_once_while_an_operator_stops_all_of_them(autojump_clock, fleet: Fleet):
    view = await fleet.start()
    hold(fleet, 1, 2, 3)
    reply = await begin(view)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.operator.stop, "alpha")
        await settled()
        with pytest.raises(BackendUnavailable, match="stopped by an operator"):
            await send(view, "tools/call", CALL)
    reply.close()


async def test_what_takes_the_place_of_one_server_takes_its_calls(world: World, autojump_clock):
    single = Server("alpha", tools=[READER])
    single.gate = trio.Event()
    view = await world.show(single, wait=False)
    old = world.multiplexer.backends["alpha"]
    answers: list[str] = []

    async def call() -> None:
        answers.append(await said(view))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        fleet = Fleet(world, server)
        await fleet.start()
        await old.drain()
    assert answers[0] in {"1", "2", "3"}
    whole = fleet.whole
    await whole.drain()
    assert "3 of 3 up" in repr(whole)
    assert "Replica '1'" in repr(whole.replicas["1"])
    assert "alpha" in repr(fleet.replicas)
