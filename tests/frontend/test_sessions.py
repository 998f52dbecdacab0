"""Sessions of legacy clients: handshake to end, requests, questions, streams to come back to."""

from __future__ import annotations

import gc
import json
import tracemalloc
import weakref
from collections import Counter
from typing import Any

import pytest
import trio

from onemcp.admission import PlaceLimits
from onemcp.frontend import Deadlines, SessionEnded
from onemcp.frontend.resumable import KEEP_ALIVE, POLL, RETRY
from onemcp.frontend.session import Opening, Session
from onemcp.frontend.session import session as session_module
from onemcp.frontend.session import streams as streams_module
from onemcp.frontend.session.session import DEFAULT_LEVEL, MAX_IN_FLIGHT
from onemcp.frontend.session.streams import KEPT_STREAMS
from onemcp.multiplexer import View
from onemcp.multiplexer.routed import RoutedCall
from onemcp.protocol import meta
from onemcp.protocol.errors import Overloaded, RequestCancelled
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification, Request
from onemcp.protocol.revisions import LATEST_LEGACY, LEGACY_REVISIONS
from tests.frontend.site import (
    CALL,
    Client,
    SessionClient,
    Site,
    call,
    notification,
    open_site,
    request,
    until,
    wait_for,
)
from tests.multiplexer.fakes import Server, failure, nothing, resource, result, tool

BEFORE_PRIMING = LEGACY_REVISIONS[:-1]
PROGRESS = "notifications/progress"


@pytest.fixture
async def session(site: Site) -> SessionClient:
    site.server.handlers["tools/call"] = nothing
    return await site.open(capabilities={"elicitation": {}, "sampling": {}, "roots": {}})


def say(site: Site, text: str) -> None:
    site.server.last.deliver(Notification(PROGRESS, raw({"message": text})))


def cancelled(request_id: Any) -> dict[str, Any]:
    return notification("notifications/cancelled", {"requestId": request_id})


async def said(client: Client) -> str:
    return (await client.message())["params"]["message"]


# --- requests --------------------------------------------------------------------------------


async def test_an_answer_that_comes_first_is_json(site: Site):
    session = await site.open()
    answer = await session.post(request("ping", None, "p"))
    assert answer.json == {"jsonrpc": "2.0", "id": "p", "result": {}}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.requirement("basic/index#notifications-1")
async def test_notifications_are_accepted_without_a_body(session: SessionClient):
    for method in ("initialized", "roots/list_changed", "unheard/of"):
        answer = await session.post(notification(f"notifications/{method}"))
        assert (answer.status, answer.body) == (202, b"")


async def test_changed_roots_are_told_to_the_backend_that_serves_their_client():
    async with open_site(Server(revision=LATEST_LEGACY, tools=[tool("t")])) as site:
        changed = notification("notifications/roots/list_changed")
        ann = await site.open(capabilities={"roots": {"listChanged": True}})
        bob = await site.open(capabilities={"roots": {"listChanged": True}})
        rootless = await site.open()
        await ann.post(changed)
        assert site.server.told == [], "it doesn't serve anybody yet"
        for each in (bob, rootless, ann):
            await each.post(CALL)
        for each in (bob, rootless):
            await each.post(changed)
            assert site.server.told == []
        await ann.post(changed)
        assert site.server.told == ["notifications/roots/list_changed"]


async def test_what_becomes_of_a_clients_task_is_told(
    session: SessionClient, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    monkeypatch.setattr(View, "task_status", lambda *told_of: told.append(told_of[1].method))
    await session.post(notification("notifications/tasks/status", {"taskId": "t"}))
    assert told == ["notifications/tasks/status"]


async def test_requests_of_nobody_and_of_the_dead_are_told_apart(site: Site):
    session = await site.open()
    without = {key: value for key, value in session.headers.items() if "session" not in key}
    assert (await site.ask("POST", headers=without, body=request("ping"))).status == 400
    assert (await session.delete()).status == 204
    await until(lambda: len(site.sessions) == 0)
    for message in (request("ping"), notification("notifications/x"), [request("ping")]):
        answer = await session.post(message)
        assert answer.status == (400 if isinstance(message, list) else 404)
    assert (await session.delete()).status == 404
    assert (await (await session.get()).answer()).status == 404


async def test_ids_can_be_used_again_but_not_while_in_flight(site: Site, session: SessionClient):
    first = await session.begin(call("a"))
    await wait_for(site.server)
    refused = await session.post(call("a"))
    assert (refused.status, refused.code) == (200, -32600)
    result({"said": 1})(site.server.last)
    assert (await first.answer()).json["result"] == {"said": 1}
    again = await session.begin(call("a"))
    await wait_for(site.server, 2)
    result({"said": 2})(site.server.last)
    assert (await again.answer()).json["result"] == {"said": 2}


async def test_a_session_has_so_many_requests_in_flight_and_no_more(
    site: Site, session: SessionClient, monkeypatch: pytest.MonkeyPatch
):
    assert MAX_IN_FLIGHT >= 16
    monkeypatch.setattr(session_module, "MAX_IN_FLIGHT", 2)
    for number in (1, 2):
        await session.begin(call(number))
    await wait_for(site.server, 2)
    assert (await session.post(call(3))).code == -33004


@pytest.mark.requirement("basic/index#meta-9", "client/elicitation#capabilities-1")
async def test_a_modern_backend_is_told_who_the_client_is_and_what_it_can_do(site: Site):
    session = await site.open(capabilities={"roots": {}})
    await session.post(CALL)
    about = site.server.sent[-1]["_meta"]
    assert about[meta.CLIENT_INFO] == {"name": "test", "version": "1"}
    assert about[meta.CLIENT_CAPABILITIES] == {"roots": {}}


async def test_the_log_level_belongs_to_the_session(site: Site, session: SessionClient):
    other = await site.open()
    assert (await session.post(request("logging/setLevel", {"level": "debug"}))).json == {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {},
    }
    for wrong in ({}, {"level": "loud"}, {"level": 7}):
        assert (await session.post(request("logging/setLevel", wrong))).code == -32602
    assert (session.session.level, other.session.level) == ("debug", DEFAULT_LEVEL)
    for each, level in ((session, "debug"), (other, DEFAULT_LEVEL)):
        client = await each.begin(call())
        await wait_for(site.server, 1 if each is session else 2)
        assert site.server.last.call.caller.log_level == level
        result({})(site.server.last)
        await client.answer()
    assert session.session.in_flight == 0


async def test_what_is_subscribed_to_is_heard_on_the_standalone_stream():
    server = Server(tools=[tool("t")], resources=[resource("x://r")], revision=LATEST_LEGACY)
    async with open_site(server) as site:
        session = await site.open()
        subscribe = request("resources/subscribe", {"uri": "x://r"})
        assert (await session.post(subscribe)).json["result"] == {}
        assert (await session.post(request("resources/subscribe", {}))).code == -32602
        site.server.handlers["resources/subscribe"] = failure(-32002)
        refused = await session.post(request("resources/subscribe", {"uri": "x://other"}))
        assert (refused.status, refused.code) == (200, -32002)
        del site.server.handlers["resources/subscribe"]
        assert site.server.subscribed == {"x://r"}
        stream = await session.listen()
        site.server.announce("notifications/resources/updated", uri="x://r")
        assert (await stream.message())["params"]["uri"] == "x://r"
        unsubscribe = request("resources/unsubscribe", {"uri": "x://r"})
        assert (await session.post(unsubscribe)).json["result"] == {}
        assert (await session.post(unsubscribe)).json["result"] == {}
        await until(lambda: site.server.subscribed == set())
        site.server.lists["tools"] = []
        site.server.announce("notifications/tools/list_changed")
        assert (await stream.message())["method"] == "notifications/tools/list_changed"


async def test_a_bug_while_waiting_for_an_answer_ends_the_request_alone(
    site: Site, session: SessionClient, monkeypatch: pytest.MonkeyPatch
):
    async def broken(_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(RoutedCall, "receive", broken)
        assert (await session.post(CALL)).status == 500
    assert session.session.in_flight == site.world.multiplexer.in_flight == 0
    assert (await session.post(request("ping"))).status == 200
    assert len(site.events) == 1
    assert repr(session.session) == "<Session 2025-11-25 in_flight=0>"


# --- cancellation and the end of sessions ----------------------------------------------------


async def test_a_call_in_flight_is_cancelled_by_notification(site: Site, session: SessionClient):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    for unknown in ("y", 7, None, {}, [], True):
        assert (await session.post(cancelled(unknown))).status == 202
    malformed = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}}
    assert (await session.post(malformed)).status == 202
    assert site.server.cancelled == []
    assert (await session.post(cancelled("x"))).status == 202
    assert (await client.answer()).code == RequestCancelled.code
    assert len(site.server.cancelled) == 1
    assert session.session.in_flight == 0


async def test_a_call_is_cancelled_before_it_has_reached_a_backend(
    site: Site, session: SessionClient
):
    site.server.crash()
    await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
    client = await session.begin(call("x"))
    await until(lambda: session.session.in_flight == 1)
    assert (await session.post(cancelled("x"))).status == 202
    assert (await client.answer()).code == RequestCancelled.code
    site.server.gate.set()
    await until(lambda: site.world.multiplexer.backends["alpha"].is_up)
    assert site.server.calls == []
    assert site.world.multiplexer.in_flight == session.session.in_flight == 0


async def test_delete_ends_streams_and_cancels_calls(site: Site, session: SessionClient):
    stream = await session.listen()
    waiting, streaming = await session.begin(call("a")), await session.begin(call("b"))
    await wait_for(site.server, 2)
    say(site, "x")
    kept = session.session
    assert (await session.delete()).status == 204
    assert await stream.message() is None
    answers = [await waiting.head(), await streaming.head()]
    assert {head.status_code for head in answers} == {200}
    await until(lambda: len(site.server.cancelled) == 2)
    await until(lambda: len(site.sessions) == 0)
    assert site.world.multiplexer.in_flight == kept.in_flight == 0
    assert kept.subscriber is None
    assert [type(event) for event in site.events] == [SessionEnded]


async def test_delete_ends_the_wait_for_a_backend(site: Site, session: SessionClient):
    site.server.crash()
    await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
    client = await session.begin(call("x"))
    await until(lambda: site.world.multiplexer.in_flight == 1)
    await session.delete()
    assert (await client.answer()).code == RequestCancelled.code
    assert site.world.multiplexer.in_flight == 0


async def test_a_disconnect_does_not_cancel_and_the_answer_waits(
    site: Site, session: SessionClient
):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    say(site, "one")
    await client.stream_begins()
    prime = await client.event()
    assert prime is not None
    assert (prime.data, prime.retry) == (b"", RETRY)
    assert prime.id == session.event_id("1", 0)
    assert await said(client) == "one"
    client.abort()
    await until(lambda: not session.session.streams.find("1").is_read)
    say(site, "two")
    result({"said": "late"})(site.server.last)
    await until(lambda: session.session.in_flight == 0)
    back = await session.listen(session.event_id("1", 1))
    assert await said(back) == "two"
    assert (await back.message())["result"] == {"said": "late"}
    assert await back.event() is None
    assert site.server.cancelled == []
    again = await session.listen(prime.id)
    assert await said(again) == "one"


async def test_a_disconnect_before_the_first_message_does_not_cancel_either(
    site: Site, session: SessionClient
):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    client.abort()
    await until(lambda: session.session.streams.find("1") is not None)
    assert not session.session.streams.find("1").is_read
    result({"said": "late"})(site.server.last)
    back = await session.listen(session.event_id("1", 0))
    assert (await back.message())["result"] == {"said": "late"}
    assert site.events == []


@pytest.mark.parametrize("revision", BEFORE_PRIMING)
async def test_older_revisions_are_not_primed(site: Site, revision: str):
    site.server.handlers["tools/call"] = nothing
    session = await site.open(revision)
    client = await session.begin(call("x"))
    await wait_for(site.server)
    say(site, "one")
    await client.stream_begins()
    event = await client.event()
    assert event is not None
    assert json.loads(event.data)["params"]["message"] == "one"
    assert event.retry is None


async def test_legacy_calls_in_silence_get_a_stream_with_signs_of_life(
    autojump_clock: trio.abc.Clock,
):
    async with open_site() as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        client = await session.begin(CALL)
        await client.stream_begins()
        await client.comment()
        stream = await session.listen()
        begun = trio.current_time()
        await stream.comment()
        assert trio.current_time() - begun == pytest.approx(KEEP_ALIVE, abs=1)


# --- questions -------------------------------------------------------------------------------


def ask(site: Site, number: int = 3) -> None:
    site.server.last.deliver(Request(number, "elicitation/create", raw({"message": "?"})))


async def test_a_question_is_answered_by_its_id_and_by_no_other(site: Site, session: SessionClient):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    ask(site)
    await client.stream_begins()
    question = await client.message()
    assert question["method"] == "elicitation/create"
    answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
    other = await site.open()
    for who, message in (
        (session, answer | {"id": 3}),
        (session, answer | {"id": "none"}),
        (other, answer),
        (session, {"jsonrpc": "2.0", "error": {"code": 1, "message": "x"}}),
    ):
        refused = await who.post(message)
        assert (refused.status, refused.code) == (400, -32600)
    assert (await session.post(answer)).status == 202
    assert (await session.post(answer)).status == 400
    (given,) = site.server.answers
    assert given.id == 3
    result({})(site.server.last)
    assert "result" in await client.message()


async def test_a_refusal_is_an_answer(site: Site, session: SessionClient):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    ask(site)
    await client.stream_begins()
    question = await client.message()
    refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}}
    assert (await session.post(refusal)).status == 202
    assert len(site.server.answers) == 1


# --- streams ---------------------------------------------------------------------------------


async def test_a_second_get_takes_the_first_ones_place(site: Site, session: SessionClient):
    first = await session.listen()
    site.server.change()
    assert (await first.event()) is not None
    second = await session.listen()
    assert await first.event() is None
    site.server.change()
    event = await second.event()
    assert event is not None
    assert event.id == session.event_id("0", 2)


async def test_what_came_while_nobody_listened_is_told_once(site: Site, session: SessionClient):
    site.server.change()
    await until(lambda: session.session.streams.standalone.last == 1)
    for expected in ([1], []):
        stream = await session.listen()
        for number in expected:
            event = await stream.event()
            assert event is not None
            assert event.id == session.event_id("0", number)
        stream.abort()
        await until(lambda: not session.session.streams.standalone.is_read)
    site.server.change()
    event = await (await session.listen()).event()
    assert event is not None
    assert event.id == session.event_id("0", 2)


NO_EVENTS = ["", "x", "1", "1-", "-1", "1-1-1", "7-0", "0-99", "0-1", "0--1", "9" * 99, "0-9" * 9]


@pytest.mark.parametrize("last", NO_EVENTS)
async def test_events_that_never_were_cannot_be_come_back_to(session: SessionClient, last: str):
    answer = await (await session.get(last)).answer()
    assert (answer.status, answer.code) == (400, -32600)
    assert not session.session.streams.standalone.is_read


async def test_events_of_another_session_cannot_be_come_back_to(site: Site, session: SessionClient):
    client = await session.begin(call("x"))
    await wait_for(site.server)
    say(site, "secret")
    await client.stream_begins()
    other = await site.open()
    assert (await (await other.get(session.event_id("1", 0))).answer()).status == 400


async def test_get_must_accept_streams(session: SessionClient):
    headers = session.headers | {"accept": "application/json"}
    assert (await session.site.ask("GET", headers=headers)).status == 406


async def test_a_bounded_number_of_finished_streams_is_kept(site: Site, session: SessionClient):
    first = None
    for number in range(1, KEPT_STREAMS + 4):
        client = await session.begin(call(number))
        await wait_for(site.server, number)
        say(site, "x")
        result({})(site.server.last)
        await client.stream_begins()
        first = first or await client.event()
        while await client.event():
            pass
        await client.close()
    assert len(session.session.streams._of_requests) == KEPT_STREAMS
    assert session.session.streams.find("1") is None
    assert (await (await session.get(first.id)).answer()).status == 400


async def test_large_finished_streams_make_way_for_others(
    site: Site, session: SessionClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams_module, "KEPT_BYTES", 1000)
    for number in (1, 2, 3):
        client = await session.begin(call(number))
        await wait_for(site.server, number)
        say(site, "x")
        result({"said": "x" * 700})(site.server.last)
        await client.stream_begins()
        while await client.event():
            pass
    assert list(session.session.streams._of_requests) == ["3"]


async def test_clients_of_the_latest_legacy_revision_can_be_made_to_poll(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(poll_after=2.0) as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        begun = trio.current_time()
        client = await session.begin(call("x"))
        await client.stream_begins()
        prime = await client.event()
        assert prime is not None
        assert prime.retry == POLL
        assert await client.event() is None
        assert trio.current_time() - begun == pytest.approx(4.0, abs=0.5)
        back = await session.listen(prime.id)
        result({"said": "late"})(site.server.last)
        assert (await back.message())["result"] == {"said": "late"}
        older = await site.open("2025-06-18")
        waiting = await older.begin(call("x"))
        await waiting.stream_begins()
        await waiting.comment()


# --- how long sessions last ------------------------------------------------------------------


async def test_idle_sessions_end(autojump_clock: trio.abc.Clock):
    async with open_site(deadlines=Deadlines(100.0, 1000.0)) as site:
        idle, used = await site.open(), await site.open()
        for _ in range(3):
            await trio.sleep(60)
            assert (await used.post(request("ping"))).status == 200
        assert list(site.sessions._sessions) == [used.id]
        assert (await idle.post(request("ping"))).status == 404


async def test_a_session_is_not_idle_while_a_call_or_a_stream_is_open(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(deadlines=Deadlines(10.0, 1000.0)) as site:
        site.server.handlers["tools/call"] = nothing
        calling, listening = await site.open(), await site.open()
        client, stream = await calling.begin(CALL), await listening.listen()
        await trio.sleep(49.5)
        assert len(site.sessions) == 2
        result({})(site.server.last)
        await client.stream_begins()
        while await client.event():
            pass
        stream.abort()
        await trio.sleep(9)
        assert len(site.sessions) == 2  # the time begins when they end
        await trio.sleep(2)
        assert len(site.sessions) == 0


async def test_no_session_lives_forever(autojump_clock: trio.abc.Clock):
    async with open_site(deadlines=Deadlines(100.0, 30.0)) as site:
        stream = await (await site.open()).listen()
        begun = trio.current_time()
        assert await stream.event() is None
        assert trio.current_time() - begun == pytest.approx(30, abs=1)


async def test_there_are_so_many_sessions_and_no_more():
    async with open_site(sessions=2) as site:
        first, _ = await site.open(), await site.open()
        params = {"protocolVersion": "2025-11-25", "capabilities": {}}
        refused = await site.post(request("initialize", params))
        assert (refused.status, refused.code) == (503, -33004)
        assert int(refused.headers["retry-after"]) > 0
        await first.delete()
        await until(lambda: len(site.sessions) == 1)
        await site.open()


async def test_an_abandoned_session_makes_room_and_one_in_use_does_not(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(sessions=2) as site:
        used, abandoned = await site.open(), await site.open()
        stream = await used.listen()
        await trio.sleep(61)
        await site.open()
        assert (await abandoned.post(request("ping"))).status == 404
        assert (await used.post(request("ping"))).status == 200
        await stream.close()


async def test_there_are_so_many_streams_and_no_more():
    async with open_site(streams=1) as site:
        client = await site.open()
        stream = await client.listen()
        refused = await client.get()
        assert (await refused.answer()).status == 503
        assert (await client.post(request("ping"))).status == 200
        await stream.close()
        await until(lambda: site.application.bounds.streams.taken == 0)
        await client.listen()


async def test_no_session_is_opened_once_the_gateway_stops(site: Site):
    site.world.multiplexer.stop()
    params = {"protocolVersion": "2025-11-25", "capabilities": {}}
    assert (await site.post(request("initialize", params))).status == 503
    assert len(site.sessions) == 0


async def test_sessions_end_in_order_when_the_gateway_stops(autojump_clock: trio.abc.Clock):
    async with open_site(grace=30.0) as site:
        site.server.handlers["tools/call"] = nothing
        session = await site.open()
        stream, client = await session.listen(), await session.begin(CALL)
        await wait_for(site.server)
        say(site, "one")
        site.scope.cancel()
        assert await stream.message() is None
        result({"said": "bye"})(site.server.last)
        await client.stream_begins()
        assert await said(client) == "one"
        assert (await client.message())["result"] == {"said": "bye"}
        begun = trio.current_time()
        await site.stopped.wait()
        assert trio.current_time() - begun < 2
        assert len(site.sessions) == 0


@pytest.mark.parametrize("ticks", range(8))
async def test_a_request_that_meets_the_end_of_a_stopped_session_gets_the_session_anew(
    ticks: int, site: Site
):
    session = await site.open()
    view = session.session.opening.view
    site.world.multiplexer.end_subscriptions()
    for _ in range(ticks):
        await trio.lowlevel.checkpoint()
    found = await site.sessions.find(session.id, "anonymous", view)
    assert found is not None
    found.reserve(1, trio.CancelScope())
    await trio.testing.wait_all_tasks_blocked()
    assert found.in_flight == 1
    assert session.session is found
    found.end(1)


def tasks_below(task: trio.lowlevel.Task) -> int:
    below = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return len(below) + sum(map(tasks_below, below))


async def test_two_hundred_abandoned_sessions_leave_nothing_behind(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(deadlines=Deadlines(100.0, 1000.0)) as site:
        site.server.handlers["tools/call"] = nothing
        root = trio.lowlevel.current_root_task()
        assert root is not None
        before = tasks_below(root)
        view = site.world.multiplexer.view()
        assert view is not None
        kept = []
        for number in range(200):
            session = await site.open()
            kept.append(weakref.ref(session.session))
            client = await (session.begin(CALL) if number % 2 else session.get())
            if number % 2:
                await wait_for(site.server, number // 2 + 1)
            client.abort()
        assert len(view._audience) == 200
        for exchange in site.server.calls:
            result({})(exchange)
        await trio.sleep(300)
        assert len(site.sessions) == len(site.sessions.supervisor.snapshot().children) == 0
        assert len(view._audience) == 0
        assert site.world.multiplexer.in_flight == 0
        await trio.sleep(100)  # for idle connections
        assert tasks_below(root) == before
        site.server.calls.clear()
        gc.collect()
        assert [each for each in kept if each() is not None] == []
        assert Counter(map(type, site.events)) == {SessionEnded: 200}


async def test_a_session_keeps_nothing_of_the_bodies_it_has_seen(site: Site):
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"roots": {}},
        "clientInfo": {"name": "test"},
        "padding": "x" * 60_000,
    }
    body = json.dumps(request("initialize", params)).encode()

    async def open_some() -> int:
        for _ in range(20):
            assert (await site.post(body)).status == 200
        site.clients.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await open_some()
        assert await open_some() - before < 10 * len(body)
    finally:
        tracemalloc.stop()


# --- batches ---------------------------------------------------------------------------------


@pytest.fixture
async def batching(site: Site) -> SessionClient:
    return await site.open("2025-03-26")


async def test_a_batch_is_answered_on_one_stream(site: Site, batching: SessionClient):
    batch = [
        request("ping", None, 1),
        notification("notifications/x"),
        call(2),
        request("none", None, 3),
        request("logging/setLevel", {"level": "error"}, 4),
        {"jsonrpc": "2.0", "id": "unknown", "result": {}},
    ]
    answer = await batching.post(batch)
    assert answer.headers["content-type"] == "text/event-stream"
    found = {message["id"]: message for message in answer.messages}
    assert found.keys() == {1, 2, 3, 4}
    assert found[2]["result"] == {"said": "alpha"}
    assert found[3]["error"]["code"] == -32601
    assert batching.session.level == "error"
    assert batching.session.in_flight == 0


async def test_what_is_no_message_in_a_batch_has_an_error_of_its_own(batching: SessionClient):
    batch = [request("ping"), 7, {"jsonrpc": "2.0", "id": 5}, {"jsonrpc": "1.0"}]
    messages = (await batching.post(batch)).messages
    assert sorted(str(message.get("id")) for message in messages) == ["1", "5", "None", "None"]
    assert sum("error" in message for message in messages) == 3


@pytest.mark.parametrize(
    "batch",
    [
        [notification("notifications/x")],
        [notification("notifications/x"), {"jsonrpc": "2.0", "id": 1, "result": {}}],
    ],
)
async def test_a_batch_that_wants_no_answer_is_accepted(batching: SessionClient, batch: list[Any]):
    answer = await batching.post(batch)
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("batch", [[], [request("ping", None, n) for n in range(101)]])
async def test_empty_and_endless_batches_are_refused(batching: SessionClient, batch: list[Any]):
    answer = await batching.post(batch)
    assert (answer.status, answer.code) == (400, -32600)
    assert answer.message == f"A batch holds 1 to 100 messages, this one {len(batch)}"


async def test_an_id_twice_in_a_batch_is_refused_the_second_time_only(
    site: Site, batching: SessionClient
):
    site.server.handlers["tools/call"] = nothing
    client = await batching.begin([call(1), call(1), request("ping", None, 2)])
    await wait_for(site.server)
    await client.stream_begins()
    first = [await client.message(), await client.message()]
    assert sorted(message.get("error", {}).get("code", 0) for message in first) == [-32600, 0]
    assert site.server.cancelled == []
    result({"said": "x"})(site.server.last)
    assert (await client.message())["result"] == {"said": "x"}
    assert await client.message() is None


async def test_a_slow_call_of_a_batch_holds_up_no_other(site: Site, batching: SessionClient):
    site.server.crash()
    await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
    client = await batching.begin([call(1), request("ping", None, 2)])
    await client.stream_begins()
    assert (await client.message())["id"] == 2
    site.server.gate.set()
    assert (await client.message())["id"] == 1
    assert await client.message() is None


async def test_a_batch_survives_a_disconnect(site: Site, batching: SessionClient):
    site.server.handlers["tools/call"] = nothing
    client = await batching.begin([call(1), call(2)])
    await wait_for(site.server, 2)
    client.abort()
    await until(lambda: not batching.session.streams.find("1").is_read)
    for exchange in site.server.calls:
        result({})(exchange)
    back = await batching.listen(batching.event_id("1", 0))
    assert {(await back.message())["id"], (await back.message())["id"]} == {1, 2}
    assert await back.message() is None


async def test_a_batch_ends_with_its_session(site: Site, batching: SessionClient):
    site.server.handlers["tools/call"] = nothing
    client = await batching.begin([call(1)])
    await wait_for(site.server)
    await client.stream_begins()
    await site.ask("DELETE", headers=batching.headers)
    await client.answer_body()
    await until(lambda: len(site.server.cancelled) == 1)


async def test_an_abandoned_session_makes_room_only_for_whoever_has_fewer(
    autojump_clock: trio.abc.Clock,
):
    async with open_site() as site:
        view = site.world.view("alpha")

        async def open_as(principal: str) -> Session:
            return await site.sessions.open(Opening(view, principal, "2025-11-25", raw({}), None))

        site.sessions.places.limits = PlaceLimits(3, 2)
        eves = [await open_as("eve"), await open_as("eve")]
        ada = await open_as("ada")
        with pytest.raises(Overloaded):
            await open_as("bob")
        await trio.sleep(61)
        ada.touch()
        bob = await open_as("bob")
        assert [each.is_over for each in (*eves, ada)] == [True, False, False]
        await trio.sleep(61)
        eve = await open_as("eve")
        assert eves[1].is_over, "her own makes room, for nobody has more than she has"
        assert [each.is_over for each in (ada, bob, eve)] == [False] * 3


async def test_a_session_that_nobody_waits_for_any_more_takes_no_place():
    async with open_site() as site:
        opening = Opening(site.world.view("alpha"), "eve", "2025-11-25", raw({}), None)
        with trio.CancelScope() as scope:
            scope.cancel()
            await site.sessions.open(opening)
        await until(lambda: len(site.sessions) == site.sessions.places.taken)
