"""A call on its way: both eras, notifications, and the questions of legacy backends."""

from __future__ import annotations

import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from onemcp.multiplexer import View
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from tests.multiplexer.fakes import (
    ANSWERING,
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
    result,
    send,
    tool,
)
from tests.support.eventually import eventually

CALL = ("tools/call", {"name": "alpha__t"})


@pytest.fixture
def old() -> Server:
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")], resources=[resource("x://1")])
    server.handlers["tools/call"] = nothing
    return server


def finish(server: Server, value: object = None) -> None:
    server.last.finish(Response(server.last.id, raw(value or {})))


def question(request_id: int | str = 1, method: str = "elicitation/create") -> Request:
    return Request(request_id, method, Raw(b'{"message": "Who?"}'))


async def calling(world: World, server: Server, **more):
    view = await world.show(server)
    return await send(view, *CALL, legacy(capabilities=ANSWERING, **more))


# --- results and errors ----------------------------------------------------------------------


@pytest.mark.requirement("basic/index#meta-13")
async def test_a_legacy_result_gets_what_a_modern_client_needs(world: World, old: Server):
    old.handlers = {}
    view = await world.show(old)
    info = {"io.modelcontextprotocol/serverInfo": {"name": "alpha"}}
    assert await ask(view, *CALL) == {"said": "alpha", "resultType": "complete", "_meta": info}
    read = await ask(view, "resources/read", {"uri": "x://1"})
    assert (read["ttlMs"], read["cacheScope"]) == (0, "private")


async def test_a_modern_result_loses_what_a_legacy_client_does_not_know(world: World):
    server = Server(tools=[tool("t")])
    body = {"resultType": "complete", "content": [], "unheardOf": [1]}
    server.handlers["tools/call"] = result(body)
    view = await world.show(server)
    assert await ask(view, *CALL, legacy()) == {"content": [], "unheardOf": [1]}


@pytest.mark.requirement("basic/index#resulttype-1")
@pytest.mark.parametrize(
    ("revision", "caller"),
    [(LATEST_LEGACY, legacy()), (LATEST_MODERN, modern())],
    ids=["legacy", "modern"],
)
async def test_within_an_era_results_and_errors_travel_byte_for_byte(
    world: World, revision: str, caller
):
    server = Server(revision=revision, tools=[tool("t")])
    body = Raw(rb'{ "resultType":"odd", "a":1.0e5,"a":"\u0041" }')
    server.handlers["tools/call"] = result(body)
    view = await world.show(server)
    (answer,) = await receive_all(await send(view, *CALL, caller))
    assert bytes(answer.result) == bytes(body)
    error = Raw(rb'{ "code":-1,"message":"\u0041","data":[1.0], "more":{} }')
    server.handlers["tools/call"] = lambda each: each.finish(Failure(each.id, error))
    (answer,) = await receive_all(await send(view, *CALL, caller))
    assert bytes(answer.error) == bytes(error)
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement("basic/patterns/mrtr#inputrequiredresult-1")
async def test_a_modern_input_request_passes_to_a_modern_client_untouched(world: World):
    server = Server(tools=[tool("t")])
    body = Raw(b'{"resultType":"input_required","inputRequests":{},"requestState":"s"}')
    server.handlers["tools/call"] = result(body)
    view = await world.show(server)
    (answer,) = await receive_all(await send(view, *CALL, modern(capabilities=ANSWERING)))
    assert bytes(answer.result) == bytes(body)
    server.handlers = {}
    retry = {"name": "alpha__t", "requestState": "s", "inputResponses": {"a": {}}}
    await ask(view, "tools/call", retry)
    assert server.sent[-1]["requestState"] == "s"
    assert server.sent[-1]["inputResponses"] == {"a": {}}


@pytest.mark.requirement(
    "basic/index#meta-11",
    "basic/patterns/mrtr#server-requirements-basic-workflow-8",
    "client/elicitation#capabilities-3",
)
@pytest.mark.parametrize(
    ("declared", "question", "missing"),
    [
        ("{}", {"method": "elicitation/create", "params": {}}, {"elicitation": {}}),
        ('{"elicitation":{}}', {"method": "roots/list"}, {"roots": {}}),
        (
            '{"elicitation":{}}',
            {"method": "elicitation/create", "params": {"mode": "url"}},
            {"elicitation": {"url": {}}},
        ),
        ("{}", {"method": "x/unheard-of"}, None),
        ("{}", 7, None),
        ('{"elicitation":{}}', {"method": "elicitation/create"}, None),
    ],
)
async def test_a_modern_client_is_asked_only_what_it_has_declared(
    world: World, declared: str, question: object, missing: object
):
    server = Server(tools=[tool("t")])
    body = raw({"resultType": "input_required", "inputRequests": {"a": question}})
    server.handlers["tools/call"] = result(body)
    caller = modern(capabilities=Raw(declared.encode()))
    (answer,) = await receive_all(await send(await world.show(server), *CALL, caller))
    if missing is None:
        assert bytes(answer.result) == bytes(body)
    else:
        error = decoded(answer.error)
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": missing}


@pytest.mark.requirement("basic/index#result-responses-2")
@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"7"])
async def test_a_result_that_is_no_object_is_the_backends_fault(world: World, body: bytes):
    server = Server(revision=LATEST_LEGACY, tools=[tool("t")])
    server.handlers["tools/call"] = result(Raw(body))
    error = await ask_for_error(await world.show(server), *CALL)
    assert error == {
        "code": -33005,
        "message": "backend 'alpha' answered tools/call with nonsense: "
        "the result must be a JSON object",
    }


@pytest.mark.requirement("basic/index#resulttype-1", "basic/index#resulttype-2")
@pytest.mark.parametrize("kind", ['"task"', '"odd"', "null", "7"])
async def test_a_result_of_an_unknown_type_is_no_result_for_a_legacy_client(
    world: World, kind: str
):
    server = Server(tools=[tool("t")])
    server.handlers["tools/call"] = result(Raw(b'{"resultType":%b}' % kind.encode()))
    error = await ask_for_error(await world.show(server), *CALL, legacy())
    assert error["code"] == -33005
    assert kind in error["message"]


@pytest.mark.parametrize("code", [-32000, -32603, -33001, -32021, 7])
async def test_an_error_of_a_tool_keeps_its_code_in_the_other_era(
    world: World, old: Server, code: int
):
    old.handlers["tools/call"] = failure(code, "gone", {"uri": "x:"})
    view = await world.show(old)
    assert await ask_for_error(view, *CALL) == {
        "code": code,
        "message": "gone",
        "data": {"uri": "x:"},
    }


@pytest.mark.requirement("basic/index#error-codes-6")
@pytest.mark.parametrize(("code", "new"), [(-32002, -32602), (-32042, -33005)])
async def test_codes_that_modern_servers_must_not_send_do_not_reach_modern_clients(
    world: World, old: Server, code: int, new: int
):
    old.handlers["tools/call"] = old.handlers["completion/complete"] = failure(
        code, "gone", {"a": 1}
    )
    old.lists["prompts"] = [{"name": "p"}]
    view = await world.show(old)
    completion = {"ref": {"type": "ref/prompt", "name": "alpha__p"}, "argument": {}}
    for request in (CALL, ("completion/complete", completion)):
        error = await ask_for_error(view, *request)
        assert error["code"] == new
        assert "gone" in error["message"]
        assert (await ask_for_error(view, *request, legacy()))["code"] == code


@pytest.mark.requirement("basic/index#error-codes-4")
@pytest.mark.parametrize("code", [-32020, -32022])
@pytest.mark.parametrize(
    ("revision", "caller"),
    [(LATEST_MODERN, modern()), (LATEST_MODERN, legacy()), (LATEST_LEGACY, modern())],
)
async def test_what_is_wrong_between_onemcp_and_a_backend_is_no_error_of_the_client(
    world: World, revision: str, caller, code: int
):
    """The client would correct its own request, or go back to an older revision."""
    server = Server(revision=revision, tools=[tool("t")])
    server.handlers["tools/call"] = failure(code, "wrong", {"supported": ["2025-11-25"]})
    error = await ask_for_error(await world.show(server), *CALL, caller)
    assert error == {
        "code": -33005,
        "message": f"backend 'alpha' answered tools/call with the error {code}, "
        "which is none of the client's: wrong",
    }


# --- notifications ---------------------------------------------------------------------------


@pytest.mark.requirement(
    "server/utilities/logging#per-request-log-level-1",
    "server/utilities/logging#per-request-log-level-2",
)
@pytest.mark.parametrize("make", [legacy, modern])
@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        (None, []),
        ("debug", ["debug", "warning", "emergency"]),
        ("warning", ["warning", "emergency"]),
        ("emergency", ["emergency"]),
    ],
)
async def test_log_messages_reach_those_who_want_their_level(
    world: World, make, wanted: str | None, heard: list[str]
):
    server = Server(tools=[tool("t")])
    server.handlers["tools/call"] = nothing
    reply = await send(await world.show(server), *CALL, make(log_level=wanted))
    for level in ("debug", "warning", "emergency", "shouting", 7):
        params = raw({"level": level, "data": {}})
        server.last.deliver(Notification("notifications/message", params))
    finish(server)
    *notes, _ = await receive_all(reply)
    assert [decoded(note.params)["level"] for note in notes] == heard


async def test_other_notifications_of_the_call_pass_as_they_are(world: World, old: Server):
    reply = await calling(world, old)
    progress = Notification("notifications/progress", Raw(b'{"progressToken":1,"progress": 2.0}'))
    unheard = Notification("notifications/unheard/of", Raw(b'{"a":1}'))
    old.last.deliver(progress)
    old.last.deliver(unheard)
    finish(old)
    assert (await receive_all(reply))[:2] == [progress, unheard]


# --- questions of legacy backends ------------------------------------------------------------


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
async def test_a_question_gets_an_id_of_onemcps_and_its_answer_the_backends(
    world: World, old: Server, method: str
):
    reply = await calling(world, old)
    old.last.deliver(question("q-1", method))
    asked = await reply.receive()
    assert isinstance(asked, Request)
    assert asked.method == method
    assert asked.id != "q-1"
    assert bytes(asked.params) == b'{"message": "Who?"}'
    assert reply.answer(Response(asked.id, Raw(b'{"action" : "accept"}')))
    assert old.answers == [Response("q-1", Raw(b'{"action" : "accept"}'))]
    finish(old)
    await receive_all(reply)


async def test_a_refusal_of_the_client_is_passed_on_as_it_is(world: World, old: Server):
    reply = await calling(world, old)
    old.last.deliver(question(5))
    asked = await reply.receive()
    assert isinstance(asked, Request)
    assert reply.answer(Failure(asked.id, Raw(b'{"code":-1,"message":"no"}')))
    assert old.answers == [Failure(5, Raw(b'{"code":-1,"message":"no"}'))]
    reply.close()


@pytest.mark.requirement("basic/index#requests-3")
async def test_questions_of_several_backends_never_share_an_id(world: World):
    servers = [Server(name, revision=LATEST_LEGACY, tools=[tool("t")]) for name in ("one", "two")]
    view = await world.show(*servers)
    replies, asked = [], []
    for server in servers:
        server.handlers["tools/call"] = nothing
        caller = legacy(capabilities=ANSWERING)
        replies.append(await send(view, "tools/call", {"name": f"{server.name}__t"}, caller))
        for request_id in (1, 2):
            server.last.deliver(question(request_id))
            asked.append(await replies[-1].receive())
    assert len({each.id for each in asked}) == 4
    assert not replies[0].answer(Response(asked[2].id, Raw(b"{}")))
    assert replies[1].answer(Response(asked[2].id, Raw(b"{}")))
    assert servers[0].answers == []
    assert [answer.id for answer in servers[1].answers] == [1]
    for reply in replies:
        reply.close()


async def test_an_answer_counts_once_and_only_if_something_was_asked(world: World, old: Server):
    reply = await calling(world, old)
    old.last.deliver(question())
    asked = await reply.receive()
    assert isinstance(asked, Request)
    assert not reply.answer(Response("made-up", Raw(b"{}")))
    assert not reply.answer(Failure(None, Raw(b"{}")))
    assert reply.answer(Response(asked.id, Raw(b"{}")))
    assert not reply.answer(Response(asked.id, Raw(b"{}")))
    assert len(old.answers) == 1
    reply.close()


async def test_an_answer_after_the_end_is_refused(world: World, old: Server):
    reply = await calling(world, old)
    old.last.deliver(question())
    asked = await reply.receive()
    assert isinstance(asked, Request)
    reply.close()
    assert not reply.answer(Response(asked.id, Raw(b"{}")))
    assert old.answers == []


async def test_a_question_that_is_withdrawn_is_withdrawn_from_the_client(world: World, old: Server):
    reply = await calling(world, old)
    for request_id in (1, "1"):
        old.last.deliver(question(request_id))
    first, second = await reply.receive(), await reply.receive()
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    withdrawn = Raw(b'{"requestId":"1","reason":"too late"}')
    old.last.deliver(Notification("notifications/cancelled", withdrawn))
    note = await reply.receive()
    assert isinstance(note, Notification)
    assert decoded(note.params) == {"requestId": second.id, "reason": "too late"}
    assert not reply.answer(Response(second.id, Raw(b"{}")))
    assert reply.answer(Response(first.id, Raw(b"{}")))
    reply.close()


@pytest.mark.requirement("basic/patterns/cancellation#introduction-3")
@pytest.mark.parametrize("params", [{}, {"requestId": 99}, {"requestId": None}, {"requestId": []}])
async def test_withdrawing_what_was_not_asked_reaches_nobody(world: World, old: Server, params):
    reply = await calling(world, old)
    old.last.deliver(question())
    await reply.receive()
    old.last.deliver(Notification("notifications/cancelled", raw(params)))
    finish(old)
    assert len(await receive_all(reply)) == 1


async def test_a_question_to_a_modern_client_is_refused_upstream_and_the_call_goes_on(
    world: World, old: Server
):
    view = await world.show(old)
    reply = await send(view, *CALL, modern(capabilities=ANSWERING))
    old.last.deliver(question("q"))

    async def answer_later() -> None:
        await eventually(lambda: bool(old.answers), "the question is refused")
        finish(old)

    world.nursery.start_soon(answer_later)
    (answer,) = await receive_all(reply)
    assert isinstance(answer, Response)
    (refused,) = old.answers
    assert isinstance(refused, Failure)
    assert refused.id == "q"
    error = decoded(refused.error)
    assert error["code"] == -33007
    assert error["message"] == "calls can't be parked now"


# --- cancellation and the end ----------------------------------------------------------------


async def test_closing_cancels_the_call_upstream_once(world: World, old: Server):
    reply = await calling(world, old)
    reply.close()
    reply.close()
    assert old.cancelled == old.calls
    assert world.multiplexer.in_flight == 0


async def test_closing_after_the_answer_cancels_nothing(world: World, old: Server):
    reply = await calling(world, old)
    finish(old)
    await reply.receive()
    reply.close()
    assert old.cancelled == []
    assert world.multiplexer.in_flight == 0
    again = await reply.receive()
    assert isinstance(again, Failure)


async def test_whoever_receives_is_told_when_another_task_closes(world: World, old: Server):
    reply = await calling(world, old)
    ended = []

    async def receive() -> None:
        ended.extend(await receive_all(reply))

    world.nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    reply.close()
    await wait_all_tasks_blocked()
    (failed,) = ended
    assert isinstance(failed, Failure)
    assert failed.id == 7
    assert decoded(failed.error)["code"] == -33009


async def test_receiving_can_be_cancelled_and_taken_up_by_another_task(world: World, old: Server):
    reply = await calling(world, old)
    with trio.move_on_after(0):
        await reply.receive()
    old.last.deliver(question())
    with trio.CancelScope() as scope:
        scope.cancel()
        await reply.receive()
    received = []

    async def take_over() -> None:
        received.extend(await receive_all(reply))

    world.nursery.start_soon(take_over)
    await wait_all_tasks_blocked()
    finish(old)
    await wait_all_tasks_blocked()
    assert [type(each) for each in received] == [Request, Response]


async def test_a_reply_shows_what_it_carries(world: World, old: Server):
    reply = await calling(world, old)
    assert repr(reply) == "<RoutedCall 7 tools/call to 'alpha'>"
    reply.close()
    assert isinstance(world.multiplexer.view(), View)
