"""A modern backend asks a legacy client: questions out, answers back with the next attempt."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.backend import Exchange
from onemcp.multiplexer import Reply
from onemcp.multiplexer.rounds import MAX_QUESTIONS
from onemcp.multiplexer.routed import MAX_ROUNDS
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.methods import PROGRESS
from tests.multiplexer.fakes import (
    ANSWERING,
    Handler,
    Server,
    World,
    ask,
    decoded,
    legacy,
    modern,
    nothing,
    result,
    send,
    tool,
)

ELICIT = {"method": "elicitation/create", "params": {"message": "Who?"}}
SAMPLE = {"method": "sampling/createMessage", "params": {"maxTokens": 1}}
ROOTS = {"method": "roots/list"}
STATE = rb'"a\u0041\/\ud83d\ude00 +="'
DONE = {"resultType": "complete", "done": True}


def asking(questions: dict[str, Any] | None = None, state: bytes | None = None) -> Handler:
    fields: dict[str, Any] = {"resultType": "input_required"}
    if questions is not None:
        fields["inputRequests"] = questions
    if state is not None:
        fields["requestState"] = Raw(state)
    return result(raw(fields))


def script(*handlers: Handler) -> Handler:
    """Answer each attempt in its own way."""
    left = list(handlers)

    def answer(exchange: Exchange) -> None:
        left.pop(0)(exchange)

    return answer


async def call(world: World, server: Server, handler: Handler, caller=None) -> Reply:
    server.handlers["tools/call"] = handler
    view = await world.show(server)
    params = {"name": "alpha__t", "arguments": {"a": 1}, "_meta": {"progressToken": "p"}}
    return await send(view, "tools/call", params, caller or legacy(capabilities=ANSWERING))


async def question_of(reply: Reply) -> Request:
    asked = await reply.receive()
    assert isinstance(asked, Request), asked
    return asked


async def end_of(reply: Reply) -> Any:
    answer = await reply.receive()
    assert isinstance(answer, Response | Failure), answer
    return decoded(answer.result if isinstance(answer, Response) else answer.error)


@pytest.fixture
def server() -> Server:
    return Server(tools=[tool("t")])


@pytest.mark.requirement(
    "basic/patterns/mrtr#inputrequiredresult-1",
    "basic/patterns/mrtr#client-requirements-basic-workflow-2",
    "basic/patterns/mrtr#client-requirements-basic-workflow-5",
)
async def test_a_question_is_put_and_its_answer_goes_back_with_the_state_untouched(
    world: World, server: Server
):
    reply = await call(world, server, script(asking({"who": ELICIT}, STATE), result(DONE)))
    asked = await question_of(reply)
    assert (asked.method, bytes(asked.params)) == (ELICIT["method"], b'{"message":"Who?"}')
    assert reply.answer(Response(asked.id, Raw(b'{"action": "accept"}')))
    assert await end_of(reply) == {"done": True}
    first, second = server.calls
    assert bytes(second.call.params["requestState"]) == STATE
    assert bytes(second.call.params["inputResponses"]) == b'{"who":{"action": "accept"}}'
    assert second.id != first.id
    assert second.progress_token == Raw(b'"p"')
    changed = {"requestState", "inputResponses", "_meta"}
    for params in server.sent:
        rest = {key: value for key, value in params.items() if key not in changed}
        assert rest == {"name": "t", "arguments": {"a": 1}}
    assert server.cancelled == []
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement(
    "basic/patterns/mrtr#introduction-1", "basic/patterns/mrtr#client-requirements-basic-workflow-1"
)
async def test_several_questions_are_open_at_once_and_answered_in_any_order(
    world: World, server: Server
):
    questions = {"a": ELICIT, "b": SAMPLE, "c": ROOTS}
    reply = await call(world, server, script(asking(questions), result(DONE)))
    asked = [await question_of(reply) for _ in questions]
    assert [each.method for each in asked] == [each["method"] for each in questions.values()]
    assert bytes(asked[2].params) == b"{}"
    assert len({each.id for each in asked}) == 3
    for each in reversed(asked):
        assert len(server.calls) == 1
        assert reply.answer(Response(each.id, raw({"for": each.method})))
        assert not reply.answer(Response(each.id, raw({"for": "again"})))
    assert await end_of(reply) == {"done": True}
    assert server.sent[1]["inputResponses"] == {
        key: {"for": each["method"]} for key, each in questions.items()
    }
    assert "requestState" not in server.sent[1]


@pytest.mark.requirement("basic/patterns/progress#progress-flow-3")
async def test_progress_never_falls_back_when_the_call_is_made_again(world: World, server: Server):
    def report(*steps: object) -> Handler:
        def handle(exchange: Exchange) -> None:
            for step in steps:
                exchange.deliver(Notification(PROGRESS, raw({"progress": step})))

        return handle

    def both(*handlers: Handler) -> Handler:
        def handle(exchange: Exchange) -> None:
            for handler in handlers:
                handler(exchange)

        return handle

    first = both(report(1, 1, 2.5), asking({"a": ELICIT}))
    second = both(report(1, 2.5, "nonsense", 3), result(DONE))
    reply = await call(world, server, script(first, second))
    told = []
    while not isinstance(message := await reply.receive(), Response | Failure):
        if isinstance(message, Request):
            reply.answer(Response(message.id, raw({})))
        else:
            told.append(decoded(message.params)["progress"])
    assert told == [1, 1, 2.5, "nonsense", 3]


@pytest.mark.requirement(
    "basic/patterns/mrtr#client-requirements-basic-workflow-4",
    "basic/patterns/mrtr#client-requirements-basic-workflow-6",
)
async def test_answers_and_state_of_one_round_are_not_sent_in_the_next(
    world: World, server: Server
):
    rounds = (asking({"a": ELICIT}, b'"1"'), asking({"b": ELICIT}), asking(None, b'"3"'))
    reply = await call(world, server, script(*rounds, result(DONE)))
    for _ in range(2):
        reply.answer(Response((await question_of(reply)).id, raw({})))
    assert await end_of(reply) == {"done": True}
    sent = [(each.get("inputResponses"), each.get("requestState")) for each in server.sent]
    assert sent == [(None, None), ({"a": {}}, "1"), ({"b": {}}, None), (None, "3")]


@pytest.mark.requirement("basic/patterns/mrtr#client-requirements-basic-workflow-4")
async def test_a_retry_carries_nothing_but_what_its_round_gave(world: World, server: Server):
    server.handlers["tools/call"] = script(asking(None, STATE), asking({"a": ROOTS}), result(DONE))
    view = await world.show(server)
    params = {"name": "alpha__t", "inputResponses": {"x": 1}, "requestState": "forged"}
    reply = await send(view, "tools/call", params, legacy(capabilities=ANSWERING))
    reply.answer(Response((await question_of(reply)).id, raw({})))
    assert await end_of(reply) == {"done": True}
    sent = [(each.get("inputResponses"), "requestState" in each) for each in server.sent[1:]]
    assert sent == [(None, True), ({"a": {}}, False)]


@pytest.mark.parametrize("questions", [None, {}])
async def test_a_state_without_questions_is_tried_again_at_once(
    world: World, server: Server, questions
):
    reply = await call(world, server, script(asking(questions, STATE), result(DONE)))
    assert await end_of(reply) == {"done": True}
    assert "inputResponses" not in server.sent[1]


async def test_what_is_written_as_null_is_absent(world: World, server: Server):
    fields = {"resultType": "input_required", "inputRequests": None, "requestState": "s"}
    reply = await call(world, server, script(result(fields), result(DONE)))
    assert await end_of(reply) == {"done": True}
    fields = {"inputRequests": {"a": {**ROOTS, "params": None}}, "requestState": None}
    handler = script(result({"resultType": "input_required", **fields}), result(DONE))
    reply = await call(world, server, handler)
    asked = await question_of(reply)
    assert bytes(asked.params) == b"{}"
    reply.answer(Response(asked.id, raw({"roots": []})))
    assert await end_of(reply) == {"done": True}
    assert "requestState" not in server.sent[-1]


async def test_other_methods_ask_as_well(world: World):
    server = Server(prompts=[{"name": "p"}])
    server.handlers["prompts/get"] = script(asking(None, STATE), result(DONE))
    view = await world.show(server)
    assert await ask(view, "prompts/get", {"name": "alpha__p"}, legacy()) == {"done": True}


@pytest.mark.requirement("basic/patterns/mrtr#supported-requests-1")
@pytest.mark.parametrize("make", [legacy, modern])
async def test_a_completion_can_not_ask(world: World, make):
    server = Server(prompts=[{"name": "p"}])
    server.handlers["completion/complete"] = asking({"a": ELICIT}, STATE)
    params = {"ref": {"type": "ref/prompt", "name": "alpha__p"}, "argument": {}}
    reply = await send(
        await world.show(server), "completion/complete", params, make(capabilities=ANSWERING)
    )
    assert (await end_of(reply))["code"] == -33005


# --- what can't be answered ------------------------------------------------------------------


@pytest.mark.requirement("client/elicitation#error-handling-1")
async def test_a_refusal_of_the_client_ends_the_call_and_says_so(world: World, server: Server):
    reply = await call(world, server, asking({"a": ELICIT, "b": ELICIT}))
    asked, _ = await question_of(reply), await question_of(reply)
    assert reply.answer(Failure(asked.id, Raw(b'{"code":-1,"message":"not in the mood"}')))
    assert await end_of(reply) == {
        "code": -33007,
        "message": "the client refused a question: not in the mood",
    }
    assert len(server.calls) == 1
    assert world.multiplexer.in_flight == 0


@pytest.mark.parametrize("question", [SAMPLE, ROOTS, {"method": "unheard/of"}])
async def test_a_question_that_the_client_can_not_answer_is_not_put_to_it(
    world: World, server: Server, question
):
    caller = legacy(capabilities=Raw(b'{"elicitation":{}}'))
    reply = await call(world, server, asking({"a": ELICIT, "b": question}), caller)
    error = await end_of(reply)
    assert error["code"] == -33007
    assert question["method"] in error["message"]


@pytest.mark.requirement("basic/patterns/mrtr#server-requirements-basic-workflow-7")
@pytest.mark.parametrize(
    "fields",
    [
        {"inputRequests": []},
        {"inputRequests": {"a": 1}},
        {"inputRequests": {"a": {}}},
        {"inputRequests": {"a": {"method": 5}}},
        {"inputRequests": {"a": {**ELICIT, "params": []}}},
        {"inputRequests": {}},
        {},
        {"inputRequests": {str(number): ELICIT for number in range(MAX_QUESTIONS + 1)}},
    ],
)
async def test_nonsense_is_the_backends_fault_and_not_the_clients(
    world: World, server: Server, fields
):
    handler = result({"resultType": "input_required", **fields})
    error = await end_of(await call(world, server, handler))
    assert error["code"] == -33005
    assert error["message"].startswith("the backend asks")
    assert world.multiplexer.in_flight == 0


async def test_as_many_questions_as_are_allowed_can_be_asked(world: World, server: Server):
    questions = {str(number): ELICIT for number in range(MAX_QUESTIONS)}
    reply = await call(world, server, script(asking(questions), result(DONE)))
    for _ in questions:
        reply.answer(Response((await question_of(reply)).id, raw({})))
    assert await end_of(reply) == {"done": True}


@pytest.mark.requirement("client/sampling#security-considerations-7")
async def test_a_backend_that_asks_for_ever_is_given_up(world: World, server: Server):
    reply = await call(world, server, asking(None, STATE))
    error = await end_of(reply)
    assert error["code"] == -33007
    assert f"asked for input {MAX_ROUNDS} times" in error["message"]
    assert len(server.calls) == MAX_ROUNDS + 1
    assert world.multiplexer.in_flight == 0


# --- time, loss and cancellation -------------------------------------------------------------


@pytest.mark.requirement("client/elicitation#error-handling-2")
async def test_a_client_that_does_not_answer_ends_the_call_at_its_deadline(
    world: World, server: Server, autojump_clock: MockClock
):
    reply = await call(world, server, asking({"a": ELICIT}))
    asked = await question_of(reply)
    assert (await end_of(reply))["code"] == -33003
    assert trio.current_time() == pytest.approx(60)
    assert not reply.answer(Response(asked.id, raw({})))
    assert "code" in await end_of(reply)
    assert len(server.calls) == 1


async def test_the_rounds_have_one_deadline_together(
    world: World, server: Server, autojump_clock: MockClock
):
    handlers = [asking({"a": ELICIT}) for _ in range(9)]
    reply = await call(world, server, script(*handlers))
    for _ in range(3):
        asked = await question_of(reply)
        await trio.sleep(18)
        reply.answer(Response(asked.id, raw({})))
    await question_of(reply)
    assert (await end_of(reply))["code"] == -33003
    assert trio.current_time() == pytest.approx(60)


async def test_a_backend_lost_between_two_rounds_is_waited_for(world: World, server: Server):
    reply = await call(world, server, script(asking({"a": ELICIT}), result(DONE)))
    asked = await question_of(reply)
    server.crash(comes_back=True)
    await wait_all_tasks_blocked()
    reply.answer(Response(asked.id, raw({})))
    assert await end_of(reply) == {"done": True}


async def test_a_backend_given_up_between_two_rounds_fails_the_call(world: World, server: Server):
    reply = await call(world, server, asking({"a": ELICIT}))
    asked = await question_of(reply)
    server.crash()
    await wait_all_tasks_blocked()
    world.multiplexer.backends["alpha"].give_up()
    reply.answer(Response(asked.id, raw({})))
    assert (await end_of(reply))["code"] == -33001
    assert world.multiplexer.in_flight == 0


async def test_cancelling_never_loses_a_question(world: World, server: Server):
    reply = await call(world, server, asking({"a": ELICIT, "b": SAMPLE}))
    asked = []
    while len(asked) < 2:
        with trio.CancelScope() as scope:
            scope.cancel()
            await reply.receive()
        asked.append(await question_of(reply))
    assert [each.method for each in asked] == [ELICIT["method"], SAMPLE["method"]]
    reply.close()


@pytest.mark.parametrize("comes_back", [True, False])
async def test_closing_in_the_middle_of_a_round_ends_it_and_opens_nothing(
    world: World, server: Server, *, comes_back: bool
):
    reply = await call(world, server, script(asking({"a": ELICIT}), nothing))
    asked = await question_of(reply)
    ended = []

    async def receive() -> None:
        ended.append(await end_of(reply))

    if not comes_back:
        server.crash()
        await wait_all_tasks_blocked()
        reply.answer(Response(asked.id, raw({})))
    world.nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    reply.close()
    server.gate.set()
    await wait_all_tasks_blocked()
    assert [error["code"] for error in ended] == [-33009]
    assert all(exchange.finished for exchange in server.calls)
    assert world.multiplexer.in_flight == 0


async def test_closing_in_the_second_attempt_cancels_that_one(world: World, server: Server):
    reply = await call(world, server, script(asking(None, STATE), nothing))
    world.nursery.start_soon(reply.receive)
    await wait_all_tasks_blocked()
    first, second = server.calls
    reply.close()
    assert server.cancelled == [second]
    assert first.finished
    assert world.multiplexer.in_flight == 0


async def test_a_legacy_call_without_questions_can_not_be_answered(world: World, server: Server):
    reply = await call(world, server, nothing)
    assert not reply.answer(Response("onemcp-1", raw({})))
    reply.close()
    with pytest.raises(ProtocolError):
        await send(world.view("alpha"), "tools/call", {"name": "nobody"}, legacy())
