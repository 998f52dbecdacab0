"""Parked calls: a legacy backend asks, and a modern client comes back with the answers."""

from __future__ import annotations

import attrs
import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.multiplexer import (
    NOTHING,
    CallParked,
    CallResumed,
    ParkedCallExpired,
    QuestionRefused,
)
from onemcp.multiplexer.inquiry import GATHER, MAX_BYTES, MAX_QUESTIONS, MAX_ROUNDS
from onemcp.multiplexer.parking import ParkingLimits
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import Server, World, ask, decoded, legacy, nothing, resource, tool
from tests.multiplexer.parked import (
    ACCEPT,
    CALL,
    ELICIT,
    ROOTS,
    SAMPLE,
    able,
    asked,
    bench,
    error_of,
    question,
    retried,
    withdrawal,
)

ASKED_ONCE = {"elicitation-1": {"method": ELICIT, "params": {"message": "Question 1?"}}}


# --- one round ---------------------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/index#statelessness-3",
    "basic/index#statelessness-5",
    "basic/patterns/index#introduction-1",
    "basic/patterns/mrtr#introduction-1",
    "basic/patterns/mrtr#server-requirements-basic-workflow-7",
    "basic/transports/stdio#receiving-messages-2",
    "basic/transports/streamable-http#receiving-messages-2",
)
async def test_a_question_becomes_an_input_request_and_the_retry_gets_the_result(
    world: World, autojump_clock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question("q"), question("r", ROOTS))
        assert state["inputRequests"] == {
            "elicitation-1": {"method": ELICIT, "params": {"message": "Question q?"}},
            "roots-2": {"method": ROOTS, "params": {"message": "Question r?"}},
        }
        assert state["_meta"] == {"io.modelcontextprotocol/serverInfo": {"name": "alpha"}}
        assert world.multiplexer.in_flight == 0
        assert len(b.parking) == 1
        assert b.server.answers == b.server.cancelled == []
        b.finish_soon()
        roots = {"roots": [{"uri": "file:///a"}]}
        answers = {"elicitation-1": ACCEPT, "roots-2": roots}
        (answer,) = await b.client.retry(state, answers)
        assert decoded(answer.result)["resultType"] == "complete"
        assert [(each.id, decoded(each.result)) for each in b.server.answers] == [
            ("q", ACCEPT),
            ("r", roots),
        ]
        assert len(b.server.calls) == 1
        assert b.server.cancelled == []
        assert b.told(CallParked) == [CallParked("alpha", "tools/call", 1, 2)]
        assert b.told(CallResumed) == [CallResumed("alpha", "tools/call", 1)]


async def test_answers_travel_byte_for_byte(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.finish_soon()
        body = retried(state, {})
        body["inputResponses"] = Raw(rb'{"elicitation-1":{ "action":"accept","x":[1.0e2] }}')
        await b.client.call(body)
        (answer,) = b.server.answers
        assert bytes(answer.result) == rb'{ "action":"accept","x":[1.0e2] }'


@pytest.mark.parametrize("method", ["prompts/get", "resources/read"])
async def test_prompts_and_resources_ask_in_the_same_way(world: World, autojump_clock, method: str):
    server = Server(revision=LATEST_LEGACY, prompts=[{"name": "p"}], resources=[resource("x://1")])
    server.handlers[method] = lambda each: each.deliver(question())
    params = {"name": "alpha__p"} if method == "prompts/get" else {"uri": "x://1"}
    async with bench(world, server=server) as b:
        state = await ask(b.client.view, method, params, able())
        assert state["inputRequests"] == ASKED_ONCE
        assert "ttlMs" not in state
        b.finish_soon()
        retry = {**params, "requestState": state["requestState"]}
        retry["inputResponses"] = {"elicitation-1": ACCEPT}
        done = await ask(b.client.view, method, retry, able())
        assert done["resultType"] == "complete"


async def test_roots_are_asked_for_without_parameters(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(Request(1, ROOTS))
        assert state["inputRequests"] == {"roots-1": {"method": ROOTS}}


@pytest.mark.requirement("client/elicitation#url-mode-elicitation-requests-1")
async def test_a_url_elicitation_loses_the_name_that_modern_clients_do_not_know(
    world: World, autojump_clock
):
    async with bench(world) as b:
        url = {"mode": "url", "url": "https://a.example/", "message": "Go", "more": 1}
        state = await b.client.call_asked(question(1, ELICIT, elicitationId="e", **url))
        assert state["inputRequests"]["elicitation-1"] == {"method": ELICIT, "params": url}


# --- several rounds ----------------------------------------------------------------------------


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-1")
async def test_questions_within_a_moment_make_one_round_and_later_ones_another(
    world: World, autojump_clock
):
    async with bench(world) as b:
        reply = await b.client.begin()

        async def ask_on() -> None:
            b.server.last.deliver(question(1))
            await trio.sleep(GATHER / 2)
            b.server.last.deliver(question(2, SAMPLE))
            await trio.sleep(GATHER)
            b.server.last.deliver(question(3))

        world.nursery.start_soon(ask_on)
        first = asked([await reply.receive()])
        assert list(first["inputRequests"]) == ["elicitation-1", "sampling-2"]
        await wait_all_tasks_blocked()
        await trio.sleep(1)
        second = asked(await b.client.retry(first))
        assert list(second["inputRequests"]) == ["elicitation-3"]
        assert second["requestState"] != first["requestState"]
        b.finish_soon()
        (answer,) = await b.client.retry(second)
        assert decoded(answer.result)["resultType"] == "complete"
        assert [each.id for each in b.server.answers] == [1, 2, 3]


@pytest.mark.requirement(
    "basic/patterns/mrtr#error-handling-3", "basic/patterns/mrtr#error-handling-4"
)
async def test_only_missing_answers_are_asked_for_again(world: World, autojump_clock):
    async with bench(world) as b:
        first = await b.client.call_asked(question(1), question(2))
        second = asked(await b.client.retry(first, {"elicitation-2": ACCEPT, "odd": {}}))
        assert list(second["inputRequests"]) == ["elicitation-1"]
        assert [each.id for each in b.server.answers] == [2]
        third = asked(await b.client.retry(second, {}))
        assert list(third["inputRequests"]) == ["elicitation-1"]
        b.finish_soon()
        # The answered one is not open any more.
        await b.client.retry(third, {"elicitation-1": ACCEPT, "elicitation-2": ACCEPT})
        assert [each.id for each in b.server.answers] == [2, 1]


async def test_notifications_in_between_reach_the_request_that_is_open(
    world: World, autojump_clock
):
    async with bench(world) as b:
        note = Notification("notifications/progress", Raw(b'{"progressToken":1,"progress":1}'))

        b.server.handlers["tools/call"] = lambda each: [
            each.deliver(one) for one in (question(), note)
        ]
        *before, last = await b.client.call()
        assert before == [note]
        state = asked([last])
        b.server.last.deliver(note)  # nobody is connected
        await wait_all_tasks_blocked()

        async def go_on() -> None:
            while not b.server.answers:  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.01)
            await wait_all_tasks_blocked()
            exchange.deliver(note)
            log = {"level": "info", "data": "x"}
            exchange.deliver(Notification("notifications/message", raw(log)))
            complete = raw({"elicitationId": "e"})
            exchange.deliver(Notification("notifications/elicitation/complete", complete))
            exchange.finish(Response(exchange.id, Raw(b"{}")))

        exchange = b.server.last
        world.nursery.start_soon(go_on)
        progress, log, last = await b.client.retry(state, log_level="debug")
        assert progress == note
        assert log.method == "notifications/message"
        assert isinstance(last, Response)


async def test_the_retrys_own_progress_token_counts_from_then_on(world: World, autojump_clock):
    async with bench(world) as b:
        first = await b.client.call_asked(question())
        assert b.server.last.progress_token is None
        b.finish_soon()
        body = {**retried(first), "_meta": {"progressToken": "second"}}
        await b.client.call(body)
        assert bytes(b.server.last.progress_token or b"") == b'"second"'


async def test_the_retrys_own_log_level_is_asked_of_the_backend(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        exchange = b.server.last
        world.nursery.start_soon(_finish_when_answered, b, exchange)
        await b.client.retry(state, log_level="debug")
        assert [each.call.method for each in b.server.calls] == ["tools/call", "logging/setLevel"]


async def _finish_when_answered(b, exchange) -> None:
    while not b.server.answers:  # noqa: ASYNC110 - the clock jumps
        await trio.sleep(0.01)
    exchange.finish(Response(exchange.id, Raw(b"{}")))


@pytest.mark.requirement(
    "client/sampling#security-considerations-4", "client/sampling#security-considerations-7"
)
async def test_a_backend_that_asks_for_ever_is_stopped_from_asking(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question(0))
        for _ in range(MAX_ROUNDS - 1):
            state = asked(await b.client.retry(state, {}))
        b.finish_soon()
        (answer,) = await b.client.retry(state, {})
        assert isinstance(answer, Response)
        (refused,) = b.server.answers
        assert "rounds of questions" in decoded(refused.error)["message"]


# --- while it is parked ------------------------------------------------------------------------


async def test_a_call_that_ends_while_it_is_parked_has_its_result_kept(
    world: World, autojump_clock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.finish({"late": True})
        await trio.sleep(100)
        (answer,) = await b.client.retry(state)
        assert decoded(answer.result)["late"] is True
        assert b.server.answers == b.server.cancelled == []


async def test_a_result_that_is_too_large_to_be_kept_is_an_error(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.finish({"text": "x" * MAX_BYTES})
        await wait_all_tasks_blocked()
        assert error_of(await b.client.retry(state))["code"] == -33006


async def test_a_backend_that_is_lost_while_a_call_is_parked_is_what_the_retry_hears(
    world: World,
    autojump_clock,
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        b.server.crash()
        await wait_all_tasks_blocked()
        error = error_of(await b.client.retry(state))
        assert error["code"] == -33002
        assert "may or may not have acted" in error["message"]


@pytest.mark.requirement("basic/patterns/cancellation#introduction-3")
async def test_a_question_that_is_withdrawn_is_not_asked(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question(1), question(2), withdrawal(1), withdrawal(9))
        assert list(state["inputRequests"]) == ["elicitation-2"]
        b.server.last.deliver(withdrawal(2))
        b.server.last.deliver(question(3))
        await wait_all_tasks_blocked()
        second = asked(await b.client.retry(state))
        assert list(second["inputRequests"]) == ["elicitation-3"]
        assert b.server.answers == []


@pytest.mark.requirement(
    "basic/patterns/mrtr#server-requirements-basic-workflow-10",
    "client/elicitation#error-handling-1",
)
async def test_nobody_coming_back_cancels_the_call_at_the_deadline(world: World, autojump_clock):
    async with bench(world, limits=ParkingLimits(seconds=30)) as b:
        state = await b.client.call_asked(question())
        await trio.sleep(29)
        assert len(b.parking) == 1
        await trio.sleep(2)
        assert len(b.parking) == 0
        assert b.server.cancelled == b.server.calls
        assert b.told(ParkedCallExpired) == [ParkedCallExpired("alpha", "tools/call", 30)]
        with pytest.raises(Exception, match="requestState has expired"):
            await b.client.retry(state)


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-10")
async def test_a_kept_outcome_goes_with_the_deadline(world: World, autojump_clock):
    async with bench(world, limits=ParkingLimits(seconds=30)) as b:
        await b.client.call_asked(question())
        b.finish()
        await trio.sleep(31)
        assert len(b.parking) == 0
        assert b.server.cancelled == []


async def test_the_time_that_a_client_takes_is_not_the_backends(world: World, autojump_clock):
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")], call_timeout=5)
    async with bench(world, server=server) as b:
        state = await b.client.call_asked(question())
        await trio.sleep(300)
        error = error_of(await b.client.retry(state))
        assert error["code"] == -33003
        assert "within 5 s" in error["message"]
        assert b.server.cancelled == b.server.calls


async def test_stopping_cancels_what_is_parked(world: World, autojump_clock):
    async with bench(world) as b:
        await b.client.call_asked(question())
        b.scope.cancel()
        await wait_all_tasks_blocked()
        assert b.server.cancelled == b.server.calls
        assert b.told(ParkedCallExpired) == []


async def test_a_gateway_that_stops_takes_no_retries(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        world.multiplexer.stop()
        with pytest.raises(Exception, match="is being stopped"):
            await b.client.retry(state)
        assert len(b.parking) == 1
        world.multiplexer.resume()
        b.finish_soon()
        await b.client.retry(state)


# --- cancellation ------------------------------------------------------------------------------


async def test_closing_a_retry_cancels_the_call(world: World, autojump_clock):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        reply = await b.client.begin(retried(state))
        with trio.move_on_after(1):
            await reply.receive()
        reply.close()
        assert b.server.cancelled == b.server.calls
        assert world.multiplexer.in_flight == 0


async def test_closing_the_first_request_after_its_answer_cancels_nothing(
    world: World, autojump_clock
):
    async with bench(world) as b:
        await b.client.call_asked(question())
        assert b.server.cancelled == []


async def test_closing_while_questions_gather_cancels_the_call(world: World, autojump_clock):
    async with bench(world) as b:
        reply = await b.client.begin()
        b.server.last.deliver(question())
        with trio.move_on_after(GATHER / 2):
            await reply.receive()
        reply.close()
        await trio.sleep(1)
        assert b.server.cancelled == b.server.calls
        assert len(b.parking) == 0


async def test_being_closed_while_it_is_parked_by_another_task_ends_the_call(
    world: World, autojump_clock
):
    async with bench(world) as b:
        reply = await b.client.begin()
        b.server.last.deliver(question())
        park = b.parking.park

        async def close_meanwhile(inquiry):
            result = await park(inquiry)
            reply.close()
            return result

        b.parking.park = close_meanwhile  # type: ignore[method-assign]
        assert error_of([await reply.receive()])["code"] == -33009
        await wait_all_tasks_blocked()
        assert b.server.cancelled == b.server.calls
        assert len(b.parking) == 0
        assert b.told(ParkedCallExpired) == []


async def test_a_retry_that_is_cancelled_while_it_takes_over_cancels_the_call(
    world: World, autojump_clock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.client.begin(retried(state))
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert b.server.cancelled == b.server.calls
        assert world.multiplexer.in_flight == 0


async def test_whoever_waits_may_be_cancelled_and_wait_again(world: World, autojump_clock):
    async with bench(world) as b:
        reply = await b.client.begin()
        b.server.last.deliver(question())
        for _ in range(3):
            with trio.move_on_after(0):
                await reply.receive()
        await trio.sleep(1)
        state = asked([await reply.receive()])
        assert state["inputRequests"] == ASKED_ONCE


# --- what may be asked -------------------------------------------------------------------------

FORM_ONLY = Raw(b'{"elicitation":{},"sampling":{}}')
URL_ONLY = Raw(b'{"elicitation":{"url":{}}}')
URL = {"mode": "url", "url": "https://a.example/", "message": "Go", "elicitationId": "e"}
TOOLS = {"messages": [], "maxTokens": 1, "tools": []}


@pytest.mark.requirement(
    "basic/index#meta-10",
    "basic/patterns/mrtr#server-requirements-basic-workflow-2",
    "basic/patterns/mrtr#server-requirements-basic-workflow-8",
    "client/elicitation#capabilities-3",
    "client/elicitation#elicitation-requests-2",
    "client/roots#implementation-guidelines-2",
    "client/sampling#tools-in-sampling-2",
)
@pytest.mark.parametrize(
    ("capabilities", "refused", "code"),
    [
        (FORM_ONLY, question(1, ELICIT, **URL), -32602),
        (FORM_ONLY, question(1, SAMPLE, **TOOLS), -32602),
        (FORM_ONLY, question(1, ROOTS), -32601),
        (URL_ONLY, question(1, ELICIT), -32602),
        (URL_ONLY, question(1, ELICIT, mode="telepathy"), -32602),
        (URL_ONLY, Request(1, ELICIT, Raw(b"[]")), -32602),
        (Raw(b"[]"), question(1, SAMPLE), -32601),
    ],
)
async def test_what_a_client_can_not_answer_is_refused_and_the_call_goes_on(
    world: World, autojump_clock, capabilities: Raw, refused: Request, code: int
):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = lambda each: each.deliver(refused)
        b.finish_soon()
        (answer,) = await b.client.call(capabilities=capabilities)
        assert isinstance(answer, Response)
        (told,) = b.server.answers
        assert isinstance(told, Failure)
        assert decoded(told.error)["code"] == code
        (event,) = b.told(QuestionRefused)
        assert (event.backend, event.method) == ("alpha", refused.method)


def refused_as(code: int, data: object) -> Raw:
    """Return the error with which a backend fails after a question was refused."""
    return raw({"code": code, "message": "Refused: no", "data": data})


NEEDS_ROOTS = {"requiredCapabilities": {"roots": {}}}
NEEDS_TOOLS = {"requiredCapabilities": {"sampling": {"tools": {}}}}


@pytest.mark.requirement("basic/index#meta-11", "client/elicitation#capabilities-3")
@pytest.mark.parametrize(
    ("refused", "error", "data"),
    [
        (question(1, ROOTS), refused_as(-32601, NEEDS_ROOTS), NEEDS_ROOTS),
        (question(1, SAMPLE, **TOOLS), refused_as(-32603, NEEDS_TOOLS), NEEDS_TOOLS),
    ],
)
async def test_a_backend_that_fails_for_a_refused_question_fails_for_the_lack_of_a_capability(
    world: World, autojump_clock, refused: Request, error: Raw, data: object
):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = lambda each: each.deliver(refused)
        b.finish_soon(error)
        (answer,) = await b.client.call(capabilities=FORM_ONLY)
        assert isinstance(answer, Failure)
        told = decoded(answer.error)
        assert (told["code"], told["data"]) == (-32021, data)


@pytest.mark.parametrize(
    "error",
    [
        refused_as(-32603, None),
        refused_as(-32603, [NEEDS_ROOTS]),
        refused_as(-32603, NEEDS_TOOLS),
        Raw(b'"no object"'),
    ],
)
async def test_a_backend_that_fails_for_another_reason_keeps_its_error(
    world: World, autojump_clock, error: Raw
):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = lambda each: each.deliver(question(1, ROOTS))
        b.finish_soon(error)
        (answer,) = await b.client.call(capabilities=FORM_ONLY)
        assert isinstance(answer, Failure)
        assert answer.error == error


@pytest.mark.requirement(
    "basic/patterns/mrtr#server-requirements-basic-workflow-8",
    "schema#requestmetaobject-io-modelcontextprotocol-clientcapabilities-1",
)
async def test_a_client_that_comes_back_with_less_ability_is_asked_less(
    world: World, autojump_clock
):
    async with bench(world) as b:
        state = await b.client.call_asked(question(1), question(2, ROOTS))
        again = asked(await b.client.retry(state, {}, capabilities=FORM_ONLY))
        assert list(again["inputRequests"]) == ["elicitation-1"]
        (refused,) = b.server.answers
        assert refused.id == 2


@pytest.mark.requirement(
    "client/elicitation#elicitation-requests-2", "client/sampling#tools-in-sampling-2"
)
async def test_a_legacy_client_is_asked_what_it_can_answer_only(world: World, autojump_clock):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = lambda each: each.deliver(question(1, ELICIT, **URL))
        b.finish_soon()
        b.client.caller = legacy
        (answer,) = await b.client.call(capabilities=FORM_ONLY)
        assert isinstance(answer, Response)
        assert decoded(b.server.answers[0].error)["code"] == -32602


@pytest.mark.requirement("basic/patterns/mrtr#supported-requests-1")
async def test_nothing_is_asked_during_a_completion(world: World, autojump_clock):
    server = Server(revision=LATEST_LEGACY, prompts=[{"name": "p"}])
    server.handlers["completion/complete"] = lambda each: each.deliver(question())
    params = {"ref": {"type": "ref/prompt", "name": "alpha__p"}, "argument": {}}
    async with bench(world, server=server) as b:
        b.finish_soon()
        await ask(b.client.view, "completion/complete", params, able())
        assert decoded(server.answers[0].error)["code"] == -33007


async def test_too_many_questions_are_refused(world: World, autojump_clock):
    async with bench(world) as b:
        many = [question(number) for number in range(MAX_QUESTIONS + 1)]
        state = await b.client.call_asked(*many)
        assert len(state["inputRequests"]) == MAX_QUESTIONS
        assert [each.id for each in b.server.answers] == [MAX_QUESTIONS]


async def test_too_large_questions_are_refused(world: World, autojump_clock):
    async with bench(world) as b:
        large = question(2, ELICIT, message="x" * MAX_BYTES)
        state = await b.client.call_asked(question(1), large)
        assert list(state["inputRequests"]) == ["elicitation-1"]
        assert decoded(b.server.answers[0].error)["code"] == -33004


# --- how much may be parked --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ParkingLimits(calls=1), "1 calls wait for their clients"),
        (ParkingLimits(per_principal=1), "1 calls wait for this client"),
        (ParkingLimits(per_backend=1), "1 calls of this backend"),
    ],
)
async def test_beyond_a_bound_the_question_is_refused_and_the_call_goes_on(
    world: World, autojump_clock, limits: ParkingLimits, message: str
):
    async with bench(world, limits=limits) as b:
        await b.client.call_asked(question())
        b.finish_soon()
        (answer,) = await b.client.call()
        assert isinstance(answer, Response)
        error = decoded(b.server.answers[0].error)
        assert error["code"] == -33004
        assert message in error["message"]
        assert len(b.parking) == 1


@pytest.mark.parametrize("limits", [ParkingLimits(per_principal=1), ParkingLimits(per_backend=1)])
async def test_bounds_are_each_ones_own(world: World, autojump_clock, limits: ParkingLimits):
    other = Server("beta", revision=LATEST_LEGACY, tools=[tool("t")])
    async with bench(world, limits=limits, others=[other]) as b:
        await b.client.call_asked(question())
        other.handlers["tools/call"] = lambda each: each.deliver(question())
        caller = attrs.evolve(able(), principal="bob")
        state = await ask(b.client.view, "tools/call", {"name": "beta__t"}, caller)
        assert state["resultType"] == "input_required"
        assert len(b.parking) == 2


async def test_no_call_is_lost_when_the_supervisor_does_not_start_it(
    world: World, autojump_clock, monkeypatch
):
    async with bench(world) as b:
        b.server.handlers["tools/call"] = lambda each: each.deliver(question())
        kept = []

        async def never(spec) -> None:
            kept.append(spec)
            await trio.sleep_forever()

        monkeypatch.setattr(b.parking.supervisor, "start_child", never)

        reply = await b.client.begin()

        async def later() -> None:
            await trio.sleep(10)
            assert decoded(b.server.answers[0].error)["code"] == -33007
            await kept[0].start(task_status=trio.TASK_STATUS_IGNORED)  # much too late
            b.finish()

        world.nursery.start_soon(later)
        assert isinstance(await reply.receive(), Response)
        assert b.server.cancelled == []


async def test_what_is_parked_can_be_looked_at(world: World, autojump_clock):
    async with bench(world) as b:
        await b.client.call_asked(question())
        assert repr(b.parking) == "<Parking calls=1>"
        (parked,) = b.parking._calls.values()
        assert repr(parked) == "<ParkedCall <Inquiry of 'alpha' round=1 waiting=1>>"
        assert CALL["name"] not in repr(parked)
        b.server.handlers["tools/call"] = nothing


async def test_calls_of_those_who_may_see_nothing_any_more_end(world: World):
    async with bench(world) as b:
        state = await b.client.call_asked(question())
        world.multiplexer.regrant(lambda caller: NOTHING if caller.principal == "eve" else None)
        await wait_all_tasks_blocked()
        assert len(b.parking) == 1, "others wait on"
        world.multiplexer.regrant(lambda _: NOTHING)
        await wait_all_tasks_blocked()
        assert len(b.parking) == 0
        assert b.server.cancelled, "the backend need not go on"
        with pytest.raises(Exception, match="its call is over"):
            await b.client.retry(state)
