"""What is refused of those who come back, and what is done where their call is not held."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.admission import Limits
from onemcp.multiplexer import RetryRefused, parking
from onemcp.multiplexer.inquiry import MAX_GIVEN, MAX_ROUNDS
from onemcp.multiplexer.requeststate import PURPOSE, State
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.state import Keyring, Sealer
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    decoded,
    failure,
    legacy,
    receive_all,
    resource,
    result,
    send,
    tool,
)
from tests.multiplexer.parked import (
    ABLE,
    ACCEPT,
    CALL,
    ELICIT,
    Bench,
    able,
    asked,
    bench,
    question,
    retried,
)

FOREIGN = "requestState does not belong to this request"
INVALID = "requestState is not valid"
USED = "requestState has been used already, or its call is over"


async def refused(b: Bench, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Send a retry that is refused, and check that nothing of it is told to anyone."""
    with pytest.raises(ProtocolError) as caught:
        await b.client.begin(params, **more)
    told = repr(b.world.events) + str(caught.value)
    assert len(str(params["requestState"])) < 9 or str(params["requestState"]) not in told
    return decoded(caught.value.error)


async def goes_on(b: Bench, state: dict[str, Any]) -> None:
    """The call is still there for whom it belongs to."""
    b.finish_soon()
    (answer,) = await b.client.retry(state)
    assert isinstance(answer, Response), decoded(answer.error)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-5")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arguments": {"a": 2}}, FOREIGN),
        ({"arguments": None}, FOREIGN),
        ({"name": "alpha__u"}, FOREIGN),
    ],
)
async def test_a_state_is_good_for_its_own_request_only(
    world: World, autojump_clock, change: dict[str, Any], message: str
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        error = await refused(b, {**retried(state), **change})
        assert error == {"code": -32602, "message": message}
        assert b.told(RetryRefused) == [
            RetryRefused("ada", "tools/call", "it is of another request")
        ]
        await goes_on(b, state)


@pytest.mark.requirement(
    "basic/index#meta-14",
    "basic/patterns/mrtr#server-requirements-basic-workflow-5",
    "client/elicitation#statefulness-1",
    "client/elicitation#statefulness-3",
    "client/elicitation#security-considerations-1",
    "client/sampling#security-considerations-5",
)
async def test_a_state_is_good_for_its_own_principal_only(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.client.caller = lambda: attrs.evolve(able(), principal="eve")
        assert await refused(b, retried(state)) == {"code": -32602, "message": FOREIGN}
        b.client.caller = able
        await goes_on(b, state)


async def test_a_state_is_good_at_its_own_endpoint_only(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.client.view = world.view("alpha")
        assert (await refused(b, {**retried(state), "name": "t"}))["message"] == FOREIGN


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-5")
async def test_a_state_is_good_for_its_own_method_only(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        with pytest.raises(ProtocolError, match=FOREIGN):
            await send(b.client.view, "prompts/get", retried(state), able())


@pytest.mark.requirement(
    "basic/patterns/mrtr#server-requirements-basic-workflow-4",
    "basic/patterns/mrtr#error-handling-2",
)
@pytest.mark.parametrize(
    "tamper", [lambda s: s + "-TAMPERED", lambda s: s[:-1], lambda s: s[:-2] + "??"]
)
async def test_a_state_that_was_tampered_with_is_refused(world: World, autojump_clock, tamper):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        tampered = {**state, "requestState": tamper(state["requestState"])}
        assert await refused(b, retried(tampered)) == {"code": -32602, "message": INVALID}
        await goes_on(b, state)


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-6")
async def test_a_state_is_good_once(world: World, autojump_clock):
    async with bench(world) as b:
        first = await b.client.call_asked(question(1), question(2))
        second = asked(await b.client.retry(first, {}))
        assert await refused(b, retried(first)) == {"code": -32602, "message": USED}
        await goes_on(b, second)
        assert (await refused(b, retried(second)))["message"] == USED
        assert len(b.server.calls) == 1


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-6")
async def test_of_two_at_once_one_wins(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        outcomes: list[str] = []

        async def retry() -> None:
            try:
                await b.client.retry(state)
                outcomes.append("answered")
            except ProtocolError as error:
                outcomes.append(str(error))

        b.finish_soon()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(retry)
            nursery.start_soon(retry)
        assert sorted(outcomes) == ["answered", USED]


@pytest.mark.requirement(
    "basic/patterns/mrtr#error-handling-1", "basic/patterns/mrtr#error-handling-2"
)
@pytest.mark.parametrize(
    "responses", [5, [], "x", {"elicitation-1": 12345}, {"elicitation-1": None}, {"odd": []}]
)
async def test_answers_that_are_no_objects_are_refused_and_use_nothing_up(
    world: World, autojump_clock, responses
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        error = await refused(b, {**retried(state), "inputResponses": responses})
        assert error["code"] == -32602
        await goes_on(b, state)


async def test_a_retry_beyond_the_limit_of_calls_in_flight_uses_nothing_up(
    world: World, autojump_clock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        world.multiplexer.admission.reconfigure(Limits(in_flight=0, queued=0))
        assert (await refused(b, retried(state)))["code"] == -33004
        world.multiplexer.admission.reconfigure(Limits())
        await goes_on(b, state)


async def test_a_malformed_progress_token_uses_nothing_up(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        error = await refused(b, {**retried(state), "_meta": {"progressToken": []}})
        assert error["code"] == -32602
        await goes_on(b, state)


@pytest.mark.parametrize("value", ["made up", "", 5, {"a": 1}, "onemcp1.other.AAAA"])
async def test_a_state_of_nobody_is_refused_for_a_legacy_backend(
    world: World, autojump_clock, value
):
    async with bench(world) as b:
        error = await refused(b, {**CALL, "requestState": value})
        assert error["code"] == -32602
        assert [event.reason for event in b.told(RetryRefused)] == ["it was not issued here"]
        assert b.server.calls == []
        assert world.multiplexer.in_flight == 0


async def test_what_legacy_clients_send_is_not_looked_at(world: World, autojump_clock):
    async with bench(world) as b:
        b.client.caller = legacy
        b.server.handlers["tools/call"] = result({})
        await b.client.call({**CALL, "requestState": "s", "inputResponses": 5})
        assert b.server.sent == [
            {"name": "t", "arguments": {"a": 1}, "requestState": "s", "inputResponses": 5}
        ]


@pytest.mark.parametrize("state", [{}, {"requestState": None}])
async def test_answers_without_a_state_mean_nothing_to_a_legacy_backend(
    world: World, autojump_clock, state: dict[str, Any]
):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = result({})
        await b.client.call({**CALL, **state, "inputResponses": {"a": {}}})
        assert b.server.sent == [{"name": "t", "arguments": {"a": 1}}]


# --- modern backends ---------------------------------------------------------------------------


async def test_a_modern_backends_own_state_passes_even_if_it_is_another_onemcps(
    world: World, autojump_clock
):
    server = Server(tools=[tool("t")])
    sealer = Sealer(Keyring([bytes(range(32))]), PURPOSE, State)
    theirs = sealer.seal(State("ada", b"", 9e9, "there", "c", 1))
    async with bench(world, server=server) as b:
        for state in ("s", theirs):
            params = {**CALL, "requestState": state, "inputResponses": {"a": 5}}
            await b.client.call(params)
            assert server.sent[-1] == {**server.sent[-1], **params, "name": "t"}


async def test_a_state_of_onemcps_own_never_reaches_a_modern_backend(world: World, autojump_clock):
    server = Server(tools=[tool("t")])
    async with bench(world, others=[Server("beta", tools=[tool("t")])]) as b:
        state = await b.client.call_asked(question())
        error = await refused(b, {**retried(state), "name": "beta__t"})
        assert error == {"code": -32602, "message": FOREIGN}
    async with bench(world, server=server) as b:
        b.client.caller = able
        error = await refused(b, retried(state))  # held elsewhere, by what was legacy then
        assert error == {"code": -32602, "message": INVALID}
        assert server.calls == []


# --- a retry that reaches another instance -----------------------------------------------------

SAFE = [{"readOnlyHint": True}, {"idempotentHint": True}]


def interactive(annotations: Any) -> Server:
    """Return a server whose tool asks two questions, one after the other."""
    server = Server(revision=LATEST_LEGACY, tools=[tool("t", annotations=annotations)])
    server.handlers["tools/call"] = lambda each: each.deliver(question(1))
    return server


async def state_of_another_instance(world: World, server: Server) -> dict[str, Any]:
    async with bench(world, server=server) as b:
        return asked(await b.client.call())


@pytest.mark.parametrize("annotations", SAFE)
async def test_a_safe_call_is_made_again_with_the_answers_already_given(
    world: World, autojump_clock, annotations
):
    server = interactive(annotations)
    state = await state_of_another_instance(world, server)
    async with bench(world, server=server) as b:
        b.finish_soon()
        (answer,) = await b.client.retry(state)
        assert isinstance(answer, Response)
        assert [decoded(each.result) for each in server.answers] == [ACCEPT]
        assert len(server.calls) == 2
        assert (await refused(b, retried(state)))["message"] == USED
        assert len(server.calls) == 2


async def test_answers_of_earlier_rounds_are_carried_along(world: World, autojump_clock):
    server = interactive(SAFE[0])
    async with bench(world, server=server) as b:
        first = asked(await b.client.call())
        server.last.deliver(question(2))
        await wait_all_tasks_blocked()
        second = asked(await b.client.retry(first))
    server.answers.clear()
    async with bench(world, server=server) as b:

        def ask_both(exchange) -> None:
            exchange.deliver(question(1))
            exchange.deliver(question(2))
            exchange.deliver(question(3))

        server.handlers["tools/call"] = ask_both
        third = asked(await b.client.retry(second))
        assert [each.id for each in server.answers] == [1, 2]
        assert [each["params"] for each in third["inputRequests"].values()] == [
            {"message": "Question 3?"}
        ]
        b.finish_soon()
        (answer,) = await b.client.retry(third)
        assert isinstance(answer, Response)


async def test_answers_that_are_too_large_are_asked_for_again(world: World, autojump_clock):
    server = interactive(SAFE[0])
    async with bench(world, server=server) as b:
        first = asked(await b.client.call())
        server.last.deliver(question(2))
        await wait_all_tasks_blocked()
        large = {"elicitation-1": {"action": "accept", "content": {"x": "y" * MAX_GIVEN}}}
        second = asked(await b.client.retry(first, large))
        assert len(second["requestState"]) < 2000
    async with bench(world, server=server) as b:
        third = asked(await b.client.retry(second))
        assert list(third["inputRequests"]) == ["elicitation-1"]


@pytest.mark.parametrize("annotations", [{}, {"readOnlyHint": False}, {"idempotentHint": "yes"}, 5])
async def test_what_has_become_of_any_other_call_is_not_known(
    world: World, autojump_clock, annotations
):
    server = interactive(annotations)
    state = await state_of_another_instance(world, server)
    async with bench(world, server=server) as b:
        error = await refused(b, retried(state))
        assert error["code"] == -33002
        assert "may or may not have acted" in error["message"]
        assert len(server.calls) == 1


async def test_a_state_of_a_key_that_is_lost_is_refused(world: World, autojump_clock):
    server = interactive(SAFE[0])
    state = await state_of_another_instance(world, server)
    async with bench(world, server=server, keys=Keyring([bytes(range(32))])) as b:
        error = await refused(b, retried(state))
        assert error["code"] == -32602
        assert "issued before a restart, or elsewhere" in error["message"]


async def test_reading_is_made_again(world: World, autojump_clock):
    server = Server(revision=LATEST_LEGACY, resources=[resource("x://1")])
    server.handlers["resources/read"] = lambda each: each.deliver(question(1))
    params = {"uri": "x://1"}
    async with bench(world, server=server) as b:
        state = await ask(b.client.view, "resources/read", params, able())
    async with bench(world, server=server) as b:
        b.finish_soon()
        retry = {**params, "requestState": state["requestState"]}
        retry["inputResponses"] = {"elicitation-1": ACCEPT}
        await ask(b.client.view, "resources/read", retry, able())


async def test_so_much_is_made_again_and_no_more(world: World, autojump_clock, monkeypatch):
    server = interactive(SAFE[0])
    async with bench(world, server=server) as b:
        states = [asked(await b.client.call()) for _ in range(3)]
    monkeypatch.setattr(parking, "MAX_USED", 2)
    async with bench(world, server=server) as b:
        for state in states[:2]:
            b.finish_soon()
            await b.client.retry(state)
        assert (await refused(b, retried(states[2])))["code"] == -33004
        b.wall[0] += 599
        server.handlers["tools/call"] = result({})
        await trio.lowlevel.checkpoint()
        b.parking._used = dict.fromkeys(b.parking._used, 0.0)
        await b.client.retry(states[2])


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-5")
async def test_a_state_expires(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.wall[0] += 601
        error = await refused(b, retried(state))
        assert error["code"] == -32602
        assert "has expired" in error["message"]


# --- URLs that must be visited first -----------------------------------------------------------

URLS = [
    {"mode": "url", "url": "https://a.example/", "message": "A", "elicitationId": "1"},
    {"url": "https://b.example/", "message": "B", "elicitationId": "2", "more": 1},
]
REQUIRED = failure(-32042, "more is required", {"elicitations": URLS})


@pytest.fixture
def old() -> Server:
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
    server.handlers["tools/call"] = REQUIRED
    return server


@pytest.mark.requirement("client/elicitation#url-mode-elicitation-requests-1")
async def test_required_urls_are_asked_for_and_the_call_is_made_again(
    world: World, autojump_clock, old: Server
):
    async with bench(world, server=old) as b:
        state = asked(await b.client.call())
        assert len(b.parking) == 0
        assert state["inputRequests"] == {
            f"elicitation-{number}": {
                "method": ELICIT,
                "params": {
                    "mode": "url",
                    **{key: value for key, value in url.items() if key != "elicitationId"},
                },
            }
            for number, url in enumerate(URLS, start=1)
        }
        old.handlers = {}
        agreed = {key: {"action": "accept"} for key in state["inputRequests"]}
        (answer,) = await b.client.retry(state, agreed)
        assert decoded(answer.result)["said"] == "alpha"
        assert old.sent == [{"name": "t", "arguments": {"a": 1}}] * 2
        assert (await refused(b, retried(state)))["message"] == USED


@pytest.mark.parametrize(("annotations", "is_made"), [(SAFE[0], True), ({}, False)])
async def test_after_a_restart_nobody_knows_whether_the_call_was_made_again_already(
    world: World, autojump_clock, old: Server, annotations, is_made
):
    old.lists["tools"] = [tool("t", annotations=annotations)]
    async with bench(world, server=old) as b:
        state = asked(await b.client.call())
        agreed = {key: {"action": "accept"} for key in state["inputRequests"]}
        old.handlers = {}
        (answer,) = await b.client.retry(state, agreed)
        assert isinstance(answer, Response)
    async with bench(world, server=old) as b:
        if is_made:
            (answer,) = await b.client.retry(state, agreed)
            assert isinstance(answer, Response)
        else:
            error = await refused(b, retried(state, agreed))
            assert error["code"] == -33002
        assert len(old.calls) == (3 if is_made else 2)


@pytest.mark.requirement(
    "client/elicitation#error-handling-1", "client/elicitation#error-handling-2"
)
@pytest.mark.parametrize("action", ["decline", "cancel", None])
async def test_a_user_who_does_not_want_to_is_not_asked_again(
    world: World, autojump_clock, old: Server, action
):
    async with bench(world, server=old) as b:
        state = asked(await b.client.call())
        error = await refused(b, retried(state, {"elicitation-2": {"action": action}}))
        assert error["code"] == -33007
        assert len(old.calls) == 1


async def test_required_urls_without_an_answer_are_required_still(
    world: World, autojump_clock, old: Server
):
    async with bench(world, server=old) as b:
        state = asked(await b.client.call())
        for _ in range(MAX_ROUNDS - 1):
            state = asked(await b.client.retry(state, {}))
        (answer,) = await b.client.retry(state, {})
        assert decoded(answer.error)["code"] == -33007
        assert len(old.calls) == MAX_ROUNDS + 1


@pytest.mark.requirement("basic/index#meta-11", "client/elicitation#capabilities-3")
async def test_a_client_without_urls_is_told_what_it_lacks(
    world: World, autojump_clock, old: Server
):
    async with bench(world, server=old) as b:
        (answer,) = await b.client.call(capabilities=Raw(b'{"elicitation":{}}'))
        error = decoded(answer.error)
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": {"elicitation": {"url": {}}}}
        assert world.multiplexer.in_flight == 0


@pytest.mark.parametrize(
    "data", [None, {}, {"elicitations": []}, {"elicitations": 5}, {"elicitations": [{}]}, 5]
)
async def test_an_error_that_names_no_url_is_the_backends_fault(
    world: World, autojump_clock, old: Server, data
):
    old.handlers["tools/call"] = failure(-32042, "odd", data)
    async with bench(world, server=old) as b:
        (answer,) = await b.client.call()
        assert decoded(answer.error)["code"] == -33005


async def test_a_legacy_client_gets_the_error_as_it_is(world: World, autojump_clock, old: Server):
    async with bench(world, server=old) as b:
        b.client.caller = legacy
        (answer,) = await b.client.call(capabilities=ABLE)
        assert decoded(answer.error)["data"]["elicitations"] == URLS


# --- the other way round -----------------------------------------------------------------------


def asking_for_a_url(**more: Any) -> Server:
    server = Server(tools=[tool("t")])
    params = {"mode": "url", "url": "https://a.example/", "message": "A", **more}
    body = {
        "resultType": "input_required",
        "inputRequests": {"a": {"method": ELICIT, "params": params}},
    }
    server.handlers["tools/call"] = result(body)
    return server


async def test_a_modern_backends_url_gets_the_name_that_legacy_clients_need(world: World):
    view = await world.show(asking_for_a_url())
    reply = await send(view, "tools/call", CALL, legacy(capabilities=ABLE))
    names = set()
    for _ in range(2):
        request = await reply.receive()
        params = json.loads(bytes(request.params))
        assert params["url"] == "https://a.example/"
        names.add(params["elicitationId"])
        reply.answer(Response(request.id, raw({"action": "accept"})))
    assert len(names) == 2
    reply.close()


@pytest.mark.requirement("client/elicitation#capabilities-3")
@pytest.mark.parametrize(
    ("revision", "capabilities"),
    [
        ("2025-06-18", ABLE),
        (LATEST_LEGACY, Raw(b'{"elicitation":{}}')),
        (LATEST_LEGACY, Raw(b'{"elicitation":{"form":{}}}')),
    ],
)
async def test_a_legacy_client_without_urls_is_told_so(
    world: World, revision: str, capabilities: Raw
):
    view = await world.show(asking_for_a_url())
    caller = legacy(revision, capabilities=capabilities)
    (answer,) = await receive_all(await send(view, "tools/call", CALL, caller))
    error = decoded(answer.error)
    assert error["code"] == -33007
    assert "takes the client capability elicitation.url" in error["message"]
    assert LATEST_MODERN not in error["message"]
