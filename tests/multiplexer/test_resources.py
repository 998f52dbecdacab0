"""Reading resources and completing arguments: who is asked, and what is said if nobody knows."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.admission import Limits
from onemcp.protocol.errors import BackendUnavailable, InvalidParams, Overloaded, ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    ask_for_error,
    decoded,
    failure,
    legacy,
    modern,
    nothing,
    receive_all,
    resource,
    send,
    template,
)

URI = "x://1"
NOT_FOUND = {
    "modern": {"code": -32602, "message": "Resource not found", "data": {"uri": URI}},
    "legacy": {"code": -32002, "message": "Resource not found", "data": {"uri": URI}},
}
ERAS = pytest.mark.parametrize(
    ("caller", "not_found"),
    [(modern(), NOT_FOUND["modern"]), (legacy(), NOT_FOUND["legacy"])],
    ids=["modern", "legacy"],
)


def knowing(name: str, **more) -> Server:
    return Server(name, **more)


def ignorant(name: str, code: int = -32602, **more) -> Server:
    server = Server(name, **more)
    server.handlers["resources/read"] = failure(code, "none such here", {"uri": URI})
    return server


async def read_error(view, caller) -> dict:
    with pytest.raises(ProtocolError) as caught:
        await send(view, "resources/read", {"uri": URI}, caller)
    return decoded(caught.value.error)


async def test_the_one_that_lists_it_is_asked_alone(world: World):
    other, owner = knowing("other"), knowing("owner", resources=[resource(URI)])
    view = await world.show(other, owner)
    assert (await ask(view, "resources/read", {"uri": URI}))["said"] == "owner"
    assert other.calls == []


@pytest.mark.requirement("basic/index#error-codes-7")
@ERAS
async def test_the_error_of_the_only_owner_travels_with_its_words_in_the_clients_era(
    world: World, caller, not_found
):
    for revision, code in ((LATEST_LEGACY, -32002), ("2026-07-28", -32602)):
        owner = ignorant("owner", code, revision=revision, resources=[resource(URI)])
        view = await world.show(owner)
        error = await ask_for_error(view, "resources/read", {"uri": URI}, caller)
        assert error == {**not_found, "message": "none such here"}


async def test_of_several_with_matching_templates_the_first_that_knows_it_answers(world: World):
    templates = [template("x://{id}")]
    one = ignorant("one", resourceTemplates=templates)
    two = knowing("two", resourceTemplates=[template("x:{+rest}")])
    three = knowing("three", resourceTemplates=[template("{+any}")])
    without = knowing("without")
    view = await world.show(without, one, two, three)
    assert (await ask(view, "resources/read", {"uri": URI}))["said"] == "two"
    assert [len(server.calls) for server in (without, one, two, three)] == [0, 1, 1, 0]
    assert world.multiplexer.in_flight == 0


async def test_what_nobody_lists_is_asked_for_in_order_of_configuration(world: World):
    one, two, three = ignorant("one", -32002, revision=LATEST_LEGACY), knowing("two"), knowing("x")
    incapable = knowing("incapable", capabilities={"tools": {}})
    view = await world.show(incapable, one, two, three)
    answer = await ask(view, "resources/read", {"uri": URI}, legacy())
    assert answer == {"said": "two"}
    assert incapable.calls == three.calls == []


@pytest.mark.requirement(
    "server/resources#error-handling-1",
    "server/resources#error-handling-4",
    "server/resources#security-considerations-1",
)
@ERAS
async def test_what_nobody_knows_is_not_found_in_the_words_of_the_era(
    world: World, caller, not_found
):
    view = await world.show(ignorant("one"), ignorant("two", -32002))
    assert await read_error(view, caller) == not_found
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement("server/resources#error-handling-4")
@ERAS
async def test_what_nobody_could_be_asked_for_is_not_found(world: World, caller, not_found):
    coming = knowing("coming")
    coming.gate = trio.Event()
    view = await world.show(coming, wait=False)
    world.multiplexer.backends["coming"].give_up()
    assert await read_error(view, caller) == not_found


async def test_an_error_that_is_no_ignorance_is_the_answer(world: World):
    broken = Server("broken")
    broken.handlers["resources/read"] = failure(-32603, "the disk is on fire", [1])
    view = await world.show(ignorant("one"), broken, knowing("three"))
    error = await ask_for_error(view, "resources/read", {"uri": URI})
    assert error == {"code": -32603, "message": "the disk is on fire", "data": [1]}


async def test_what_was_said_before_the_answer_is_not_lost(world: World):
    two = Server("two")
    progress = Notification("notifications/progress", raw({"progressToken": 1, "progress": 2}))

    def report(exchange) -> None:
        exchange.deliver(progress)
        exchange.finish(Response(exchange.id, raw({"resultType": "complete"})))

    two.handlers["resources/read"] = report
    view = await world.show(ignorant("one"), two)
    messages = await receive_all(await send(view, "resources/read", {"uri": URI}))
    assert messages[0] == progress
    assert isinstance(messages[1], Response)


def talkative(name: str, *, asks: bool, **more) -> Server:
    """A server that says something else before it says that it lacks the resource."""
    server = Server(name, revision=LATEST_LEGACY, **more)
    params = raw({"progressToken": 1, "progress": 2})

    def talk(exchange) -> None:
        if asks:
            exchange.deliver(Request("q", "roots/list", raw({})))
        else:
            exchange.deliver(Notification("notifications/progress", params))
        failure(-32002, "none such here")(exchange)

    server.handlers["resources/read"] = talk
    return server


@ERAS
@pytest.mark.parametrize("asks", [True, False])
async def test_one_that_says_something_else_first_is_ignorant_all_the_same(
    world: World, caller, not_found, *, asks: bool
):
    view = await world.show(talkative("one", asks=asks), ignorant("two"), knowing("three"))
    messages = await receive_all(await send(view, "resources/read", {"uri": URI}, caller))
    assert decoded(messages[-1].result)["said"] == "three"
    assert [message.method for message in messages[:-1]] == ["notifications/progress"][asks:]
    assert world.multiplexer.in_flight == 0
    view = await world.show(talkative("four", asks=asks), talkative("five", asks=asks))
    messages = await receive_all(await send(view, "resources/read", {"uri": URI}, caller))
    assert decoded(messages[-1].error) == not_found
    assert world.multiplexer.in_flight == 0


async def test_a_client_may_go_while_the_next_one_is_asked(world: World, autojump_clock):
    slow = Server("slow")
    slow.handlers["resources/read"] = nothing
    view = await world.show(talkative("one", asks=False), slow)
    reply = await send(view, "resources/read", {"uri": URI})
    assert isinstance(await reply.receive(), Notification)
    with trio.move_on_after(1):
        await reply.receive()
    reply.close()
    (cancelled,) = slow.calls
    answer = await reply.receive()
    assert isinstance(answer, Failure)
    assert decoded(answer.error)["code"] == -33009
    assert slow.cancelled == slow.calls == [cancelled]
    assert world.multiplexer.in_flight == 0


async def test_a_backend_that_is_up_is_asked_before_one_that_is_not(world: World):
    down = knowing("down", resourceTemplates=[template("x://{id}")])
    up = knowing("up", resourceTemplates=[template("x://{id}")])
    view = await world.show(down, up)
    down.crash()
    await wait_all_tasks_blocked()
    assert (await ask(view, "resources/read", {"uri": URI}))["said"] == "up"


async def test_one_that_might_have_it_but_can_not_be_asked_is_not_ignorant(
    world: World, autojump_clock: MockClock
):
    down = knowing("down", resourceTemplates=[template("x://{id}")])
    view = await world.show(down, ignorant("up", resourceTemplates=[template("x://{id}")]))
    down.crash()
    await wait_all_tasks_blocked()
    with pytest.raises(BackendUnavailable, match="'down' did not come up"):
        await send(view, "resources/read", {"uri": URI})
    assert world.multiplexer.in_flight == 0


async def test_a_broken_meta_is_not_taken_for_ignorance(world: World):
    view = await world.show(knowing("one"), knowing("two"))
    with pytest.raises(InvalidParams, match="_meta must be"):
        await send(view, "resources/read", {"uri": URI, "_meta": 1})
    assert world.multiplexer.in_flight == 0


async def test_the_limit_holds_for_those_that_are_asked_in_turn(world: World):
    view = await world.show(knowing("one"), knowing("two"))
    limits = Limits(in_flight=0, queued=0)
    world.multiplexer.reconfigure(world.multiplexer.identity, separator="__", limits=limits)
    with pytest.raises(Overloaded):
        await send(view, "resources/read", {"uri": URI})


async def test_all_together_take_no_longer_than_the_most_patient(
    world: World, autojump_clock: MockClock
):
    servers = [Server(name, call_timeout=10.0 + number) for number, name in enumerate("abc")]
    for server in servers[:2]:
        server.handlers["resources/read"] = lambda exchange: world.nursery.start_soon(
            answer_late, exchange
        )
    servers[2].handlers["resources/read"] = nothing
    view = await world.show(*servers)

    async def answer_late(exchange) -> None:
        await trio.sleep(5)
        failure(-32002)(exchange)

    error = await ask_for_error(view, "resources/read", {"uri": URI})
    assert error["code"] == -33003
    assert trio.current_time() == pytest.approx(12)
    assert servers[2].cancelled == servers[2].calls
    assert world.multiplexer.in_flight == 0


async def test_one_that_keeps_silent_in_its_turn_ends_at_its_own_deadline(
    world: World, autojump_clock: MockClock
):
    silent = Server("silent", call_timeout=3)
    silent.handlers["resources/read"] = nothing
    view = await world.show(silent, knowing("other"))
    assert (await ask_for_error(view, "resources/read", {"uri": URI}))["code"] == -33003
    assert trio.current_time() == pytest.approx(3)
    assert silent.cancelled == silent.calls


# --- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [modern(), legacy()], ids=["modern", "legacy"])
async def test_a_prompts_argument_is_completed_by_its_backend_under_its_own_name(
    world: World, caller
):
    server = Server(prompts=[{"name": "p"}])
    view = await world.show(Server("other", prompts=[{"name": "p"}]), server)
    params = {
        "ref": {"type": "ref/prompt", "name": "alpha__p", "title": "x"},
        "argument": {"name": "a", "value": "b"},
        "context": {"arguments": {"c": "d"}},
    }
    assert (await ask(view, "completion/complete", params, caller))["said"] == "alpha"
    sent = {key: value for key, value in server.sent[-1].items() if key != "_meta"}
    assert sent == {**params, "ref": {**params["ref"], "name": "p"}}


@pytest.mark.parametrize(
    ("uri", "owner"), [("x://{id}", "two"), ("x://1", "one"), ("y://r", "two"), ("x://2", "two")]
)
async def test_a_resources_argument_is_completed_by_the_owner(world: World, uri: str, owner: str):
    one = Server("one", resources=[resource("x://1")])
    two = Server("two", resources=[resource("y://r")], resourceTemplates=[template("x://{id}")])
    view = await world.show(one, two)
    params = {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": "id", "value": ""}}
    assert (await ask(view, "completion/complete", params))["said"] == owner


@pytest.mark.requirement("server/utilities/completion#error-handling-1")
@pytest.mark.parametrize(
    "reference",
    [
        {"type": "ref/prompt", "name": "alpha__none"},
        {"type": "ref/prompt"},
        {"type": "ref/resource", "uri": "y://none"},
        {"type": "ref/resource"},
        {"type": "ref/odd", "name": "p"},
        {},
        "p",
    ],
)
async def test_completion_of_nothing_is_refused(world: World, reference: object):
    view = await world.show(Server(prompts=[{"name": "p"}], resources=[resource("x://1")]))
    params = {"ref": reference, "argument": {"name": "a", "value": ""}}
    with pytest.raises(InvalidParams):
        await send(view, "completion/complete", params)
