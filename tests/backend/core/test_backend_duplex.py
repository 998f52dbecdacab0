"""Many exchanges over one channel: each gets what is its own, and nothing is lost or unbounded."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from onemcp.backend import ConnectionLost, Exchange
from onemcp.backend import duplex as module
from onemcp.backend.attribution import INTERNAL
from onemcp.backend.exchange import QUEUE_LIMIT
from onemcp.backend.inbound import LINGER, MAX_LINGERING, MAX_QUESTIONS, Inbound
from onemcp.protocol.errors import BackendUnavailable, InvalidParams, Overloaded
from onemcp.protocol.fields import raw
from onemcp.protocol.framing import Oversized
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from tests.backend.core.fakes import (
    EMPTY,
    EVERYTHING,
    Duplex,
    call,
    caller,
    content,
    error_of,
    unread,
)
from tests.support.turns import counting_turns

ANN = caller("ann", capabilities=EVERYTHING, log_level="debug")
BOB = caller("bob", capabilities=EVERYTHING, log_level="debug")


def asks(method: str = "elicitation/create", request_id: int | str = "q") -> dict:
    return {"id": request_id, "method": method, "params": {"message": "?"}}


LOGS = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked(0.001)


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.requirement("basic/index#requests-3", "basic/index#statelessness-4")
async def test_answers_find_their_exchanges_in_any_order(autojump_clock, legacy):
    first, second = (legacy.connection.open(call(params={"n": n})) for n in (1, 2))
    one, two = await legacy.peer.next(), await legacy.peer.next()
    assert (one["params"], two["params"]) == ({"n": 1}, {"n": 2})
    assert one["id"] != two["id"]
    assert legacy.connection.inbound.in_flight == 2
    legacy.peer.answer(two, {"n": 2})
    legacy.peer.refuse(one, -5)
    assert bytes((await second.receive()).result) == b'{"n": 2}'
    assert error_of(await first.receive()).code == -5
    assert legacy.connection.inbound.in_flight == 0


async def test_wrong_ids_are_noted_and_disturb_nobody(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    request = await legacy.peer.next()
    for wrong in (999, str(request["id"]), "x" * 10_000):
        legacy.peer.say({"id": wrong, "result": {}})
    legacy.peer.say({"id": None, "error": {"code": -32700, "message": "what?"}})
    legacy.peer.answer(request, 1)
    assert bytes((await exchange.receive()).result) == b"1"
    assert "nobody made" in legacy.connection.inbound.last_violation
    assert len(legacy.connection.inbound.last_violation) < 200


async def test_a_second_answer_is_ignored(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    request = await legacy.peer.next()
    legacy.peer.answer(request, 1)
    legacy.peer.answer(request, 2)
    await settle()
    assert [bytes(answer.result) for answer in unread(exchange)] == [b"1"]


@pytest.mark.requirement("basic/index#meta-6", "client/elicitation#capabilities-1")
async def test_calls_of_a_modern_connection_carry_their_client(autojump_clock, modern):
    modern.connection.open(call(caller=caller("ann", "2026-07-28", capabilities={"roots": {}})))
    meta = (await modern.peer.next())["params"]["_meta"]
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {"roots": {}}


# --- writing ---------------------------------------------------------------------------------


@pytest.mark.requirement("basic/transports/stdio#introduction-4")
async def test_the_order_of_writes_is_preserved_and_they_are_batched(autojump_clock, legacy):
    legacy.peer.reads = trio.Event()
    before = len(legacy.peer.writes)
    legacy.connection.open(call(params={"n": 0}))
    await settle()
    for number in range(1, 100):
        legacy.connection.open(call(params={"n": number}))
    legacy.connection.notify("notifications/roots/list_changed", {})
    legacy.peer.reads.set()
    await settle()
    sent = legacy.peer.rest()
    assert [message["params"].get("n") for message in sent] == [*range(100), None]
    assert len(legacy.peer.writes) - before == 2, "all that gathered was written at once"


async def test_a_line_that_comes_alone_is_written_at_once(autojump_clock, legacy):
    before = len(legacy.peer.writes)
    legacy.connection.open(call(params={"n": 0}))
    assert len(legacy.peer.writes) - before == 1, "nothing had to be waited for"
    legacy.connection.open(call(params={"n": 1}))
    legacy.connection.open(call(params={"n": 2}))
    assert len(legacy.peer.writes) - before == 1, "others are in flight: what comes may gather"
    await settle()
    assert [message["params"]["n"] for message in legacy.peer.rest()] == [0, 1, 2]
    assert len(legacy.peer.writes) - before == 2


@pytest.mark.parametrize("short", [0, 1, 2, 10])
async def test_what_a_channel_has_no_room_for_at_once_comes_later(autojump_clock, legacy, short):
    exchange = legacy.connection.open(call(params={"n": 0}))
    length = len(legacy.peer.writes[-1])
    legacy.peer.answer(await legacy.peer.next())
    await exchange.receive()
    legacy.peer.room = length - short
    legacy.connection.open(call(params={"n": 1}))
    legacy.connection.open(call(params={"n": 2}))
    await settle()
    assert [message["params"]["n"] for message in legacy.peer.rest()] == [1, 2]
    assert legacy.connection._queued == 0


@pytest.mark.requirement(
    "basic/transports/stdio#introduction-1", "basic/transports/stdio#introduction-4"
)
async def test_line_breaks_between_tokens_don_t_break_lines(autojump_clock, legacy):
    request = call()
    request.params["x"] = raw({"a": 1})
    request.params["y"] = type(EMPTY)(b'{\n"b":\r\n2}')
    legacy.connection.open(request)
    assert (await legacy.peer.next())["params"] == {"x": {"a": 1}, "y": {"b": 2}}


async def test_a_backend_that_never_reads_does_not_fill_the_memory(autojump_clock, duplex):
    under = duplex("legacy", queued=100_000)
    await under.peer.initialized()
    await under.wait_up()
    under.peer.reads = trio.Event()
    exchanges = []

    async def flood() -> None:
        while len(exchanges) < 1000:
            exchanges.append(under.connection.open(call(params={"x": "x" * 10_000})))
            await settle()

    with pytest.raises(Overloaded):
        await flood()
    assert 8 <= len(exchanges) <= 12
    assert under.connection.inbound.in_flight == len(exchanges), "what was refused is not in flight"
    under.connection.notify("notifications/x", {"x": raw("x" * 100_000)})
    assert under.connection.inbound.last_violation == "it doesn't read what it is sent"
    under.connection.inbound.last_violation = None
    under.peer.say(*({"id": number, "method": "p" * 60} for number in range(2000)))
    await settle()
    assert under.connection.inbound.last_violation == "it doesn't read what it is sent"
    assert under.connection._queued < 120_000
    under.peer.reads.set()
    await settle()
    assert under.connection._queued == 0
    under.connection.open(call())


async def test_one_message_may_exceed_the_queue(autojump_clock, duplex):
    under = duplex("legacy", queued=1000)
    await under.peer.initialized()
    await under.wait_up()
    under.connection.open(call(params={"x": "x" * 5000}))
    assert len((await under.peer.next())["params"]["x"]) == 5000


async def test_calls_in_flight_are_bounded(autojump_clock, duplex):
    under = duplex("legacy", in_flight=2)
    await under.peer.initialized()
    await under.wait_up()
    first = under.connection.open(call())
    under.connection.open(call(owner=INTERNAL))
    with pytest.raises(Overloaded):
        under.connection.open(call())
    assert under.connection.inbound.in_flight == 1, "onemcp's own don't count as calls"
    first.close()
    under.connection.open(call())


async def test_a_malformed_call_costs_nothing(autojump_clock, legacy):
    with pytest.raises(InvalidParams):
        legacy.connection.open(call(params={"_meta": []}))
    assert legacy.connection.inbound.in_flight == 0
    legacy.connection.open(call(params={"ok": 1}))
    assert (await legacy.peer.next())["params"] == {"ok": 1}


# --- progress --------------------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/patterns/progress#progress-flow-2", "basic/patterns/progress#behavior-requirements-1"
)
@pytest.mark.parametrize("token", [b'"abc"', b"7", b'"\\u00e9 \\/"', b"0", b'""', b'"1"'])
async def test_progress_tokens_are_mapped_back_byte_for_byte(autojump_clock, legacy, token):
    calls = [call(owner="ann"), call(owner="bob")]
    for each in calls:
        each.params["_meta"] = type(EMPTY)(b'{"progressToken":' + token + b"}")
    ann, bob = map(legacy.connection.open, calls)
    ours = [(await legacy.peer.next())["params"]["_meta"]["progressToken"] for _ in calls]
    assert ours == [ann.id, bob.id]
    legacy.peer.say_lines(
        b'{"jsonrpc":"2.0","method":"notifications/progress","params":'
        b'{"progress": 0.50, "progressToken":%d,"x":{ }}}' % ours[1]
    )
    note = await bob.receive()
    assert bytes(note.params) == b'{"progress":0.50,"progressToken":' + token + b',"x":{ }}'
    assert unread(ann) == []


@pytest.mark.requirement(
    "basic/patterns/progress#behavior-requirements-1",
    "basic/patterns/progress#implementation-notes-1",
)
@pytest.mark.parametrize("token", [99, "1", True, None, 1.0, [], {"a": 1}])
async def test_progress_of_nobody_goes_nowhere(autojump_clock, legacy, token):
    exchange = legacy.connection.open(call(params={"_meta": {"progressToken": "t"}}))
    exchange_too = legacy.connection.open(call())
    legacy.connection.inbound.exchanges[1] = exchange  # so that True would find it
    legacy.peer.say({"method": "notifications/progress", "params": {"progressToken": token}})
    await settle()
    assert unread(exchange) == unread(exchange_too) == []
    assert legacy.notes == []


@pytest.mark.requirement("basic/patterns/progress#behavior-requirements-1")
async def test_progress_that_was_not_asked_for_is_dropped(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    legacy.peer.say({"method": "notifications/progress", "params": {"progressToken": exchange.id}})
    await settle()
    assert unread(exchange) == []


# --- cancellation ----------------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/patterns/cancellation#introduction-1",
    "basic/patterns/cancellation#behavior-requirements-4",
    "basic/patterns/cancellation#timing-considerations-1",
    "basic/transports/stdio#cancellation-1",
)
async def test_a_cancelled_call_is_cancelled_at_the_backend_by_its_mapped_id(
    autojump_clock, legacy
):
    exchange = legacy.connection.open(call())
    request = await legacy.peer.next()
    exchange.close()
    exchange.close()
    assert await legacy.peer.next() == {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": request["id"]},
    }
    assert legacy.connection.inbound.in_flight == 0
    legacy.peer.answer(request)
    await settle()
    assert legacy.connection.inbound.last_violation is None, "it may have been too late"
    assert legacy.peer.rest() == []


@pytest.mark.requirement("basic/patterns/cancellation#behavior-requirements-1")
async def test_an_answered_call_is_not_cancelled(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    legacy.peer.answer(await legacy.peer.next())
    await settle()
    exchange.close()
    await settle()
    assert legacy.peer.rest() == []


async def test_a_question_that_the_backend_takes_back_is_taken_back(autojump_clock, legacy):
    exchange = legacy.connection.open(call(caller=ANN))
    legacy.peer.say(asks(request_id=5))
    legacy.peer.say(
        {"method": "notifications/cancelled", "params": {"requestId": 5, "reason": "r"}}
    )
    assert isinstance(await exchange.receive(), Request)
    note = await exchange.receive()
    assert content(note) == {"requestId": 5, "reason": "r"}
    await legacy.peer.next()
    exchange.reply(Response(5, EMPTY))
    await settle()
    assert legacy.peer.rest() == [], "the answer is not wanted any more"


async def test_ids_of_questions_are_not_ids_of_requests(autojump_clock, legacy):
    """Both sides count from one: a cancelled question must not end a call with an equal id."""
    exchange = legacy.connection.open(call())
    for request_id in (exchange.id, True, None, [], 999):
        params = {"requestId": request_id}
        legacy.peer.say({"method": "notifications/cancelled", "params": params})
    await settle()
    assert not exchange.finished
    assert legacy.notes == []


async def test_a_modern_backend_may_end_a_subscription(autojump_clock, modern):
    exchange = modern.connection.open(call("subscriptions/listen", INTERNAL))
    modern.peer.say({"method": "notifications/cancelled", "params": {"requestId": exchange.id}})
    assert error_of(await exchange.receive()).code == -33002
    assert modern.connection.inbound.in_flight == 0


# --- questions -------------------------------------------------------------------------------


async def test_ping_is_answered(autojump_clock, legacy):
    legacy.peer.say({"id": "p", "method": "ping"})
    assert await legacy.peer.next() == {"jsonrpc": "2.0", "id": "p", "result": {}}


async def test_an_unknown_request_is_refused(autojump_clock, legacy):
    legacy.connection.open(call(caller=ANN))
    await legacy.peer.next()
    legacy.peer.say({"id": 0, "method": "x" * 1000})
    refusal = await legacy.peer.next()
    assert (refusal["id"], refusal["error"]["code"]) == (0, -32601)
    assert len(refusal["error"]["message"]) < 200


@pytest.mark.requirement("basic/transports/stdio#sending-messages-1")
@pytest.mark.parametrize("method", ["ping", "elicitation/create", "roots/list", "x"])
async def test_requests_of_a_modern_backend_are_not_answered(autojump_clock, modern, method):
    ann = caller("ann", "2026-07-28", capabilities=EVERYTHING)
    exchange = modern.connection.open(call(caller=ann))
    request = await modern.peer.next()
    modern.peer.say(asks(method))
    await settle()
    assert modern.peer.rest() == []
    assert unread(exchange) == []
    assert "sent a request" in modern.connection.inbound.last_violation
    modern.peer.answer(request, 1)
    assert bytes((await exchange.receive()).result) == b"1"


@pytest.mark.parametrize("method", ["elicitation/create", "sampling/createMessage", "roots/list"])
async def test_a_question_goes_to_the_only_client_and_its_answer_back(
    autojump_clock, legacy, method
):
    exchange = legacy.connection.open(call(caller=ANN))
    await legacy.peer.next()
    legacy.peer.say(asks(method, 1))
    question = await exchange.receive()
    assert (question.method, question.id, content(question)) == (method, 1, {"message": "?"})
    exchange.reply(Response(1, raw({"action": "accept"})))
    exchange.reply(Response(1, raw({"action": "twice"})))
    exchange.reply(Failure(None, EMPTY))
    answer = await legacy.peer.next()
    assert (answer["id"], answer["result"]) == (1, {"action": "accept"})
    await settle()
    assert legacy.peer.rest() == []


@pytest.mark.parametrize("in_flight", [[], [ANN, BOB], [caller(INTERNAL, capabilities=EVERYTHING)]])
async def test_a_question_of_nobody_is_refused(autojump_clock, legacy, in_flight):
    exchanges = [legacy.connection.open(call(caller=who)) for who in in_flight]
    for _ in exchanges:
        await legacy.peer.next()
    legacy.peer.say(asks())
    refusal = await legacy.peer.next()
    assert (refusal["id"], refusal["error"]["code"]) == ("q", -33007)
    assert all(unread(exchange) == [] for exchange in exchanges)


async def test_whether_a_client_can_answer_is_for_its_call_to_say(autojump_clock, legacy):
    exchange = legacy.connection.open(call(caller=caller("mute")))
    await legacy.peer.next()
    legacy.peer.say(asks())
    assert isinstance(await exchange.receive(), Request)


@pytest.mark.requirement(
    "client/elicitation#security-considerations-1", "client/sampling#security-considerations-5"
)
async def test_nobody_answers_the_question_of_another(autojump_clock, legacy):
    ann = legacy.connection.open(call(caller=ANN))
    await legacy.peer.next()
    legacy.peer.say(asks())
    await ann.receive()
    bob = legacy.connection.open(call(caller=BOB))
    await legacy.peer.next()
    bob.reply(Response("q", EMPTY))
    await settle()
    assert legacy.peer.rest() == []
    ann.reply(Response("q", EMPTY))
    assert (await legacy.peer.next())["id"] == "q"


async def test_a_client_that_has_gone_may_still_be_meant(autojump_clock, legacy):
    """The backend may heed a cancellation late: until then a message may be of either client."""
    ann = legacy.connection.open(call(caller=ANN))
    cancelled = await legacy.peer.next()
    ann.close()
    bob = legacy.connection.open(call(caller=BOB))
    await settle()
    legacy.peer.rest()
    legacy.peer.say(asks(), LOGS)
    assert (await legacy.peer.next())["error"]["code"] == -33007
    assert unread(bob) == []
    legacy.peer.answer(cancelled)
    legacy.peer.say(asks(), LOGS)
    assert isinstance(await bob.receive(), Request)
    assert isinstance(await bob.receive(), Notification)


async def test_a_client_that_has_gone_is_not_meant_for_ever(autojump_clock, legacy):
    legacy.connection.open(call(caller=ANN)).close()
    bob = legacy.connection.open(call(caller=BOB))
    await trio.sleep(LINGER)
    legacy.peer.say(LOGS)
    assert isinstance(await bob.receive(), Notification)


async def test_a_client_that_has_gone_alone_gets_nothing(autojump_clock, legacy):
    legacy.connection.open(call(caller=ANN)).close()
    await settle()
    legacy.peer.rest()
    legacy.peer.say(asks())
    assert "No single client" in (await legacy.peer.next())["error"]["message"]


async def test_what_is_remembered_of_clients_that_have_gone_is_bounded(autojump_clock, legacy):
    for _ in range(MAX_LINGERING + 5):
        legacy.connection.open(call()).close()
    assert len(legacy.connection.inbound._lingering) == MAX_LINGERING


@pytest.mark.requirement("client/sampling#security-considerations-4")
async def test_unanswered_questions_are_bounded(autojump_clock, legacy):
    exchange = legacy.connection.open(call(caller=ANN))
    await legacy.peer.next()
    for number in range(MAX_QUESTIONS):
        legacy.peer.say(asks(request_id=number))
        await exchange.receive()
    legacy.peer.say(asks(request_id="more"))
    refusal = await legacy.peer.next()
    assert refusal["id"] == "more"
    assert "unanswered" in refusal["error"]["message"]


async def test_a_question_that_finds_a_full_queue_is_refused(autojump_clock, legacy):
    legacy.connection.open(call(caller=ANN))
    await legacy.peer.next()
    legacy.peer.say(*[LOGS] * QUEUE_LIMIT, asks())
    assert "unanswered" in (await legacy.peer.next())["error"]["message"]


async def test_questions_end_with_their_call(autojump_clock, legacy):
    exchange = legacy.connection.open(call(caller=ANN))
    request = await legacy.peer.next()
    legacy.peer.say(asks())
    legacy.peer.answer(request)
    await settle()
    exchange.reply(Response("q", EMPTY))
    await settle()
    assert legacy.peer.rest() == []
    assert repr(legacy.connection.inbound) == "<Inbound in_flight=0 questions=0>"


# --- notifications ---------------------------------------------------------------------------


@pytest.mark.requirement(
    "server/utilities/logging#per-request-log-level-2", "server/utilities/logging#security-2"
)
async def test_log_messages_reach_the_one_client_or_no_one(autojump_clock, legacy):
    ann = legacy.connection.open(call(caller=ANN))
    legacy.peer.say(LOGS)
    assert (await ann.receive()).method == "notifications/message"
    bob = legacy.connection.open(call(caller=BOB))
    legacy.peer.say(LOGS)
    await settle()
    assert unread(ann) == unread(bob) == legacy.notes == []


@pytest.mark.requirement("basic/index#notifications-1")
async def test_unknown_notifications_reach_the_one_client_or_are_handed_on(autojump_clock, legacy):
    completed = {"method": "notifications/elicitation/complete", "params": {"elicitationId": "e"}}
    ann = legacy.connection.open(call(caller=ANN))
    legacy.peer.say(completed)
    assert (await ann.receive()).method == completed["method"]
    legacy.connection.open(call(caller=BOB))
    legacy.peer.say(completed)
    await settle()
    assert unread(ann) == []
    assert [note.method for note in legacy.notes] == [completed["method"]]


@pytest.mark.requirement("basic/transports/streamable-http#receiving-messages-1")
async def test_changes_concern_everyone(autojump_clock, legacy):
    exchange = legacy.connection.open(call(caller=ANN))
    legacy.peer.say({"method": "notifications/tools/list_changed"})
    legacy.peer.say({"method": "notifications/resources/updated", "params": {"uri": "u"}})
    await settle()
    assert unread(exchange) == []
    assert [note.method for note in legacy.notes] == [
        "notifications/tools/list_changed",
        "notifications/resources/updated",
    ]


@pytest.mark.requirement("basic/transports/stdio#receiving-messages-1")
async def test_subscriptions_are_told_apart_by_their_ids(autojump_clock, modern):
    def updated(subscription: object) -> dict:
        meta = {"io.modelcontextprotocol/subscriptionId": subscription}
        return {"method": "notifications/resources/updated", "params": {"_meta": meta}}

    listening = modern.connection.open(call("subscriptions/listen", INTERNAL))
    calling = modern.connection.open(call(caller=ANN))
    modern.peer.say(updated(listening.id))
    assert (await listening.receive()).method == "notifications/resources/updated"
    acknowledged = updated(999) | {"method": "notifications/subscriptions/acknowledged"}
    modern.peer.say(*map(updated, (999, calling.id, True)), acknowledged)
    await settle()
    assert unread(listening) == unread(calling) == []
    assert len(modern.notes) == 4


async def test_a_malformed_notification_is_noted(autojump_clock, legacy):
    legacy.peer.say({"method": "notifications/x", "params": {"_meta": 5}})
    await settle()
    assert "malformed notifications/x" in legacy.connection.inbound.last_violation


async def test_on_its_own_stream_a_message_needs_no_guess():
    """What streamable HTTP tells: the exchange on whose stream a message came."""
    sent, notes = [], []
    inbound = Inbound(sent.append, notes.append)
    ann, bob, listening = (
        exchange_of(inbound, number, call(method, caller=who))
        for number, (method, who) in enumerate(
            [("tools/call", ANN), ("tools/call", BOB), ("subscriptions/listen", caller(INTERNAL))]
        )
    )
    inbound.take(Request("q", "roots/list"), ann)
    inbound.take(Notification("notifications/message", raw({"level": "info"})), bob)
    inbound.take(Notification("notifications/x"), ann)
    changed = Notification("notifications/tools/list_changed")
    inbound.take(changed, ann)
    inbound.take(changed, listening)
    assert [message.method for message in unread(ann)] == ["roots/list", "notifications/x"]
    assert [message.method for message in unread(bob)] == ["notifications/message"]
    assert unread(listening) == [changed]
    assert notes == [changed]
    assert inbound.in_flight == 2


def exchange_of(inbound, request_id, request):
    exchange = Exchange(request_id, request, None)
    inbound.add(exchange)
    return exchange


# --- what is no MCP --------------------------------------------------------------------------


async def test_garbage_is_passed_over(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    request = await legacy.peer.next()
    legacy.peer.say_lines(b"Listening on stdio...", b"{}", b"[]", b"\xff\xfe", b'{"jsonrpc":"1.0"}')
    legacy.peer.answer(request)
    assert isinstance(await exchange.receive(), Response)
    assert "something other than MCP" in legacy.connection.inbound.last_violation


async def test_a_thousand_lines_of_garbage_end_the_connection(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    legacy.peer.say_lines(*[b"noise " * 1000] * (module.MAX_NONSENSE - 1))
    legacy.peer.say({"id": "p", "method": "ping"})
    legacy.peer.say_lines(*[b"noise"] * (module.MAX_NONSENSE - 1))
    await settle()
    assert legacy.connection.server is not None, "not in a row"
    legacy.peer.say_lines(b"noise")
    lost = await legacy.wait_lost()
    assert lost.reason.startswith("1000 lines in a row were not MCP; it printed something other")
    assert len(lost.reason) < 300
    assert error_of(await exchange.receive()).code == -33002


async def test_batches_are_garbage_where_the_revision_has_none(autojump_clock, legacy):
    exchange = legacy.connection.open(call())
    legacy.peer.say_lines(b'[{"jsonrpc":"2.0","id":%d,"result":{}}]' % exchange.id)
    await settle()
    assert not exchange.finished


async def test_batches_are_taken_in_the_revision_that_has_them(autojump_clock, duplex):
    under = duplex("2025-03-26")
    await under.peer.initialized("2025-03-26")
    await under.wait_up()
    one, two = under.connection.open(call()), under.connection.open(call())
    answers = b",".join(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % each.id for each in (one, two))
    under.peer.say_lines(b" [5," + answers + b"]", b"[]", b"[1")
    assert isinstance(await one.receive(), Response)
    assert isinstance(await two.receive(), Response)
    assert "something other than MCP" in under.connection.inbound.last_violation


def oversized(head: str, tail: str = "") -> Oversized:
    return Oversized(50_000_000, head.encode(), tail.encode())


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ('{"jsonrpc":"2.0","id":%d,"result":{"id":1', ""),
        ('{ "id" : %d , "jsonrpc" : "2.0", "error" : {', ""),
        ('{"result":{"content":[{"id":99', '"}]},"jsonrpc":"2.0","id":%d}'),
        ('{"jsonrpc":"2.0","result":{"x":"', '"}, "id" : %d }\r'),
        ('{"result":{"x":"', '"},"id":%d,"jsonrpc":"2.0"}'),
    ],
)
async def test_an_oversized_answer_fails_its_own_call(autojump_clock, legacy, head, tail):
    other, mine = legacy.connection.open(call()), legacy.connection.open(call())
    head = head % mine.id if "%d" in head else head.replace("99", str(other.id))
    legacy.peer.say_lines(oversized(head, tail % mine.id if tail else ""))
    error = error_of(await mine.receive())
    assert error.code == -33006
    assert "50000000 bytes" in error.message
    assert not other.finished
    assert "over the limit" in legacy.connection.inbound.last_violation


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ('{"jsonrpc":"2.0","id":%d,"method":"sampling/createMessage","params":{', ""),
        ('{"method":"sampling/createMessage","params":{', '},"jsonrpc":"2.0","id":%d}'),
        ('{"jsonrpc":"2.0","method":"notifications/message","params":{"id":%d', "}}}"),
        ('{"jsonrpc":"2.0","id":"%d","result":{', ""),
        ("%d noise", ""),
    ],
)
async def test_an_oversized_message_that_is_no_answer_fails_no_call(
    autojump_clock, legacy, head, tail
):
    exchange = legacy.connection.open(call())
    legacy.peer.say_lines(
        oversized(head.replace("%d", str(exchange.id)), tail.replace("%d", str(exchange.id)))
    )
    await settle()
    assert not exchange.finished


async def test_an_oversized_answer_of_unknown_id_can_only_be_for_the_only_call(
    autojump_clock, legacy
):
    only = legacy.connection.open(call())
    answer = oversized('{"result":{"x":"', '"},"id":5,"extra":[]}')
    legacy.peer.say_lines(answer)
    assert error_of(await only.receive()).code == -33006
    one, two = legacy.connection.open(call()), legacy.connection.open(call())
    legacy.peer.say_lines(answer)
    legacy.peer.say_lines(oversized('{"jsonrpc":"2.0","id":12345,"result":{'))
    await settle()
    assert not one.finished
    assert not two.finished


# --- the end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "reason"), [(None, "it closed its output"), ("it broke", "it broke")]
)
async def test_everything_in_flight_fails_once_when_the_channel_ends(
    autojump_clock, legacy, end, reason
):
    exchanges = [legacy.connection.open(call()) for _ in range(3)]
    exchanges[0].close()
    answered = await legacy.peer.next()
    legacy.peer.answer(answered | {"id": exchanges[1].id})
    legacy.peer.end(end)
    assert (await legacy.wait_lost()).reason == reason
    assert unread(exchanges[0]) == []
    assert isinstance(await exchanges[1].receive(), Response)
    error = error_of(await exchanges[2].receive())
    assert error.code == -33002
    assert reason in error.message
    with pytest.raises(trio.EndOfChannel):
        await exchanges[2].receive()
    assert legacy.connection.inbound.in_flight == 0
    exchanges[2].close()
    exchanges[2].reply(Response(1, EMPTY))
    for open_it in (
        lambda: legacy.connection.open(call()),
        lambda: legacy.connection.open_as(call(), "2025-11-25"),
    ):
        with pytest.raises(BackendUnavailable):
            open_it()


async def test_calls_fail_at_once_even_where_the_program_takes_its_time_to_end(
    autojump_clock, legacy
):
    legacy.peer.teardown = 60
    exchange = legacy.connection.open(call())
    started = trio.current_time()
    legacy.peer.end()
    assert error_of(await exchange.receive()).code == -33002
    assert trio.current_time() - started < 1
    assert not legacy.ended.is_set()
    assert legacy.connection.server is None
    with pytest.raises(BackendUnavailable):
        legacy.connection.open(call())
    await legacy.wait_lost()
    assert trio.current_time() - started >= 60


async def test_a_lost_connection_is_never_taken_for_one_that_is_up(autojump_clock, legacy):
    legacy.peer.teardown = 60
    legacy.peer.end()
    for _ in range(50):
        assert (legacy.connection._lost is None) == (legacy.connection.server is not None)
        await trio.lowlevel.checkpoint()
    assert legacy.connection.server is None


async def test_a_channel_that_breaks_while_writing_ends_the_connection(autojump_clock, legacy):
    legacy.peer.closed = True
    exchange = legacy.connection.open(call())
    assert (await legacy.wait_lost()).reason == "it closed its input"
    assert error_of(await exchange.receive()).code == -33002


async def test_a_channel_that_can_t_be_opened_is_a_lost_connection(autojump_clock, duplex):
    @asynccontextmanager
    async def broken():
        await trio.lowlevel.checkpoint()
        raise ConnectionLost("cannot start")
        yield

    under = duplex()
    under.connection._open_channel = broken
    assert (await under.wait_lost()).reason == "cannot start"


async def test_being_stopped_fails_calls_and_is_no_loss(autojump_clock, duplex):
    under = Duplex("legacy")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(under.connection.run)
        await under.peer.initialized()
        await under.wait_up()
        exchange = under.connection.open(call())
        nursery.cancel_scope.cancel()
    error = error_of(await exchange.receive())
    assert "it is being stopped" in error.message


async def test_a_bug_is_not_swallowed(autojump_clock, legacy):
    under = Duplex("legacy")
    under.peer._said.send_nowait(ZeroDivisionError())
    with pytest.raises(ExceptionGroup) as caught:
        await under.connection.run()
    assert caught.group_contains(ZeroDivisionError)


async def test_it_shows_its_state(autojump_clock, duplex):
    under = duplex("legacy")
    assert repr(under.connection) == "<DuplexConnection connecting in_flight=0>"
    with pytest.raises(BackendUnavailable):
        under.connection.open(call())
    await under.peer.initialized()
    await under.wait_up()
    assert repr(under.connection) == "<DuplexConnection up in_flight=0>"
    under.peer.end()
    await under.wait_lost()
    assert repr(under.connection) == "<DuplexConnection lost in_flight=0>"


async def test_a_great_many_answers_in_one_read_all_arrive(autojump_clock, legacy):
    exchanges = [legacy.connection.open(call()) for _ in range(500)]
    legacy.peer.say_lines(
        *(
            json.dumps({"jsonrpc": "2.0", "id": exchange.id, "result": exchange.id}).encode()
            for exchange in reversed(exchanges)
        )
    )
    for exchange in exchanges:
        assert int(bytes((await exchange.receive()).result)) == exchange.id


async def test_others_have_their_turn_while_a_flood_is_taken(autojump_clock, legacy, monkeypatch):
    seen, take = [], legacy.connection._on_line
    async with counting_turns() as turns:
        monkeypatch.setattr(
            legacy.connection, "_on_line", lambda line: (seen.append(turns()), take(line))
        )
        legacy.peer.say(*[{"method": "notifications/tools/list_changed"}] * 500)
        while len(seen) < 500:
            await trio.lowlevel.checkpoint()
    assert max(seen.count(turn) for turn in seen) <= 2 * module.IN_A_ROW


async def test_what_has_come_is_taken_though_the_connection_is_stopped(autojump_clock):
    duplex = Duplex("legacy")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(duplex.run)
        await duplex.peer.initialized()
        await duplex.wait_up()
        exchanges = [duplex.connection.open(call()) for _ in range(100)]
        await settle()
        taken, take = [], duplex.connection._on_line

        def stop(line: bytes) -> None:
            take(line)
            taken.append(line)
            nursery.cancel_scope.cancel()

        duplex.connection._on_line = stop
        duplex.peer.say(*({"id": each.id, "result": {}} for each in exchanges))
    assert len(taken) == 100
    assert all(isinstance(unread(each)[-1], Response) for each in exchanges)
