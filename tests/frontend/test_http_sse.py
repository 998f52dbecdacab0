"""The oldest transport: a stream that begins with an address, and messages sent there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio
from msgspec import Raw

from onemcp.auth import KeyStore, SigningKey
from onemcp.frontend import Deadlines, RequestFailed, http_sse
from onemcp.frontend.session import session as session_module
from onemcp.multiplexer import View
from onemcp.protocol.jsonrpc import Request, Response
from onemcp.protocol.revisions import LEGACY_REVISIONS, V2024_11_05, V2025_03_26
from tests.frontend.site import (
    LIMIT,
    Answer,
    Client,
    Site,
    call,
    notification,
    open_site,
    request,
    until,
    wait_for,
)
from tests.frontend.test_doors import bearer, gate_of
from tests.multiplexer.fakes import Server, decoded, nothing, tool

STREAM = {"accept": "text/event-stream"}
JSON = {"content-type": "application/json"}


def initialize(revision: str = V2024_11_05, **capabilities: Any) -> dict[str, Any]:
    params = {"protocolVersion": revision, "capabilities": capabilities}
    return request("initialize", params, "init")


@attrs.frozen
class Peer:
    """A client of this transport."""

    site: Site
    stream: Client
    address: str
    more: dict[str, str]

    async def post(self, message: Any, **headers: str) -> Answer:
        return await self.site.ask("POST", self.address, {**JSON, **self.more, **headers}, message)

    async def say(self, message: Any) -> None:
        answer = await self.post(message)
        assert answer.status == 202, answer
        assert answer.body == b""

    async def ask(self, message: Any) -> Any:
        await self.say(message)
        return await self.stream.message()

    async def begin(self, revision: str = V2024_11_05, **capabilities: Any) -> Any:
        answer = await self.ask(initialize(revision, **capabilities))
        assert answer["id"] == "init"
        await self.say(notification("notifications/initialized"))
        return answer["result"]


async def connect(site: Site, path: str = "/sse", **more: str) -> Peer:
    stream = await site.connect()
    await stream.begin("GET", path, {**STREAM, **more})
    await stream.stream_begins()
    event = await stream.event()
    assert event is not None
    assert event.event == "endpoint"
    address = event.data.decode()
    assert address.startswith("/messages?session=")
    return Peer(site, stream, address, more)


async def opened(site: Site, revision: str = V2024_11_05, **capabilities: Any) -> Peer:
    peer = await connect(site)
    await peer.begin(revision, **capabilities)
    return peer


# --- the way it goes -------------------------------------------------------------------------


@pytest.mark.parametrize("revision", LEGACY_REVISIONS)
async def test_a_call_is_answered_on_the_stream(site: Site, revision: str):
    peer = await connect(site)
    described = await peer.begin(revision)
    assert described["protocolVersion"] == revision
    answer = await peer.ask(call(7))
    assert answer == {"jsonrpc": "2.0", "id": 7, "result": {"said": "alpha"}}


async def test_events_have_the_type_and_no_id_to_come_back_to(site: Site):
    peer = await connect(site)
    await peer.say(initialize())
    event = await peer.stream.event()
    assert event is not None
    assert (event.event, event.id) == ("message", None)


async def test_an_unknown_revision_gets_the_latest_legacy_one(site: Site):
    peer = await connect(site)
    assert (await peer.begin("2026-07-28"))["protocolVersion"] == LEGACY_REVISIONS[-1]


async def test_one_backend_alone_has_its_bare_names():
    async with open_site(Server(tools=[tool("t")]), Server("beta", tools=[tool("u")])) as site:
        peer = await connect(site, "/sse/beta")
        await peer.begin()
        listed = await peer.ask(request("tools/list"))
        assert [each["name"] for each in listed["result"]["tools"]] == ["u"]


async def test_calls_go_on_side_by_side(site: Site):
    peer = await opened(site)
    site.server.handlers["tools/call"] = nothing
    await peer.say(call(1))
    await peer.say(call(2))
    await wait_for(site.server, 2)
    del site.server.handlers["tools/call"]
    assert (await peer.ask(call(3)))["id"] == 3


async def test_a_question_is_asked_on_the_stream_and_answered_by_a_post():
    server = Server(revision=V2024_11_05, tools=[tool("t")])
    server.handlers["tools/call"] = lambda exchange: exchange.deliver(
        Request(99, "roots/list", Raw(b"{}"))
    )
    async with open_site(server) as site:
        peer = await opened(site, roots={})
        question = await peer.ask(call(1))
        assert question["method"] == "roots/list"
        await peer.say({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}})
        await until(lambda: bool(server.answers))
        assert decoded(server.answers[0].result) == {"roots": []}  # type: ignore[union-attr]


async def test_changes_are_told(site: Site):
    peer = await opened(site)
    site.server.lists["tools"] = [tool("t"), tool("new")]
    site.server.announce("notifications/tools/list_changed")
    assert (await peer.stream.message())["method"] == "notifications/tools/list_changed"


async def test_a_cancelled_call_is_cancelled_at_the_backend_and_not_answered(site: Site):
    peer = await opened(site)
    site.server.handlers["tools/call"] = nothing
    await peer.say(call(1))
    await wait_for(site.server)
    await peer.say(notification("notifications/cancelled", {"requestId": 1}))
    await until(lambda: bool(site.server.cancelled))
    assert (await peer.ask(request("ping", request_id=2)))["id"] == 2


@pytest.mark.requirement("basic/patterns/cancellation#error-handling-1")
@pytest.mark.parametrize("params", [{}, {"requestId": None}, {"requestId": True}, {"requestId": 9}])
async def test_cancellations_of_nothing_are_ignored(site: Site, params: Any):
    peer = await opened(site)
    await peer.say(notification("notifications/cancelled", params))
    assert (await peer.ask(request("ping", request_id=1)))["result"] == {}


async def test_a_ping_may_come_first(site: Site):
    peer = await connect(site)
    assert (await peer.ask(request("ping")))["result"] == {}


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_sse, "KEEP_ALIVE", 0.01)
    async with open_site() as site:
        peer = await opened(site)
        with trio.fail_after(30):
            await peer.stream.comment()


# --- how it ends -----------------------------------------------------------------------------


async def test_the_end_of_the_stream_is_the_end_of_all_of_it(site: Site):
    peer = await opened(site)
    site.server.handlers["tools/call"] = nothing
    await peer.say(call(1))
    await wait_for(site.server)
    assert len(site.sessions) == len(site.application.http_sse) == 1
    await peer.stream.close()
    await until(lambda: not len(site.sessions) and not len(site.application.http_sse))
    await until(lambda: bool(site.server.cancelled))
    assert (await peer.post(call(2))).status == 404


async def test_the_end_of_the_session_is_the_end_of_the_stream():
    async with open_site(deadlines=Deadlines(3600.0, 0.05)) as site:
        peer = await opened(site)
        with trio.fail_after(30):
            assert await peer.stream.message() is None


async def test_whoever_says_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch):
    async with open_site() as site:
        talking = await opened(site)  # before that: on a busy machine it may take its time
        monkeypatch.setattr(http_sse, "KEEP_ALIVE", 0.01)
        monkeypatch.setattr(http_sse, "PATIENCE", 0.03)
        silent = await connect(site)
        with trio.fail_after(30):
            assert await silent.stream.message() is None
        assert (await talking.ask(request("ping")))["result"] == {}


async def test_when_the_gateway_stops_calls_in_flight_are_answered_first():
    async with open_site(grace=10.0) as site:
        peer = await opened(site)
        site.server.handlers["tools/call"] = nothing
        await peer.say(call(1))
        await wait_for(site.server)
        site.scope.cancel()
        await until(lambda: site.world.multiplexer._stopping)
        await trio.sleep(0.05)
        site.server.last.finish(Response(site.server.last.id, Raw(b"{}")))
        with trio.fail_after(60):
            assert (await peer.stream.message())["id"] == 1
            assert await peer.stream.message() is None
            await site.stopped.wait()


async def test_a_stream_that_ends_while_its_session_is_opened_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
):
    subscribe, asked, go_on = View.subscribe, trio.Event(), trio.Event()

    async def slowly(*args: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await subscribe(*args, **options)

    monkeypatch.setattr(View, "subscribe", slowly)
    async with open_site() as site, trio.open_nursery() as nursery:
        peer = await connect(site)
        nursery.start_soon(peer.say, initialize())
        await asked.wait()
        assert (await peer.ask(initialize()))["error"]["code"] == -32600
        await peer.stream.close()
        await until(lambda: not len(site.application.http_sse))
        go_on.set()
    await until(lambda: not len(site.sessions))


# --- bounds and bad input --------------------------------------------------------------------


async def test_the_number_of_streams_is_bounded():
    async with open_site(streams=1) as site:
        first = await connect(site)
        refused = await site.ask("GET", "/sse", STREAM)
        assert refused.status == 503
        assert refused.headers["retry-after"] == "5"
        await first.stream.close()
        await until(lambda: not len(site.application.http_sse))
        await connect(site)


async def test_the_number_of_sessions_is_bounded_and_the_client_may_try_again():
    async with open_site(sessions=1) as site:
        first, second = await opened(site), await connect(site)
        assert (await second.ask(initialize()))["error"]["code"] == -33004
        await first.stream.close()
        await until(lambda: not len(site.sessions))
        await second.begin()


async def test_the_number_of_calls_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session_module, "MAX_IN_FLIGHT", 1)
    async with open_site() as site:
        peer = await opened(site)
        site.server.handlers["tools/call"] = nothing
        await peer.say(call(1))
        answer = await peer.ask(call(2))
        assert (answer["id"], answer["error"]["code"]) == (2, -33004)


async def test_an_id_in_use_is_refused_where_the_first_request_does_not_hear_of_it(site: Site):
    peer = await opened(site)
    site.server.handlers["tools/call"] = nothing
    await peer.say(call(1))
    refused = await peer.post(call(1))
    assert (refused.status, refused.json["id"], refused.code) == (400, 1, -32600)
    assert "in use" in refused.message


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "HEAD"])
async def test_streams_are_opened_with_get_alone(site: Site, method: str):
    client = await site.connect()
    await client.begin(method, "/sse", {**STREAM, **JSON})
    head = await client.head()
    assert head.status_code == 405
    assert dict(head.headers)[b"allow"] == b"GET"


async def test_streams_are_for_those_who_take_them(site: Site):
    assert (await site.ask("GET", "/sse", {"accept": "application/json"})).status == 406


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_messages_are_sent_with_post_alone(site: Site, method: str):
    peer = await opened(site)
    answer = await site.ask(method, peer.address, JSON)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "query", ["", "?", "?session=", "?session=x", "?other=x", "?" + "&".join(["a=1"] * 99), "?%ff"]
)
async def test_messages_to_no_stream_are_not_found(site: Site, query: str):
    answer = await site.ask("POST", f"/messages{query}", JSON, call())
    assert answer.status == 404
    assert "GET /sse" in answer.message


async def test_two_addresses_at_once_are_none(site: Site):
    peer = await opened(site)
    answer = await site.ask("POST", f"{peer.address}&session=x", JSON, call())
    assert answer.status == 404


async def test_the_address_is_no_session_of_the_newer_transport(site: Site):
    peer = await opened(site)
    name = peer.address.partition("=")[2]
    headers = {**JSON, "accept": "*/*", "mcp-session-id": name}
    assert (await site.ask("POST", "/mcp", headers, call())).status == 404
    assert name not in site.sessions._sessions


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"[" * 50_000, -32700),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, -32600),
        ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": "none-such", "result": {}}, -32600),
        ([request("ping")], -32600),
    ],
)
@pytest.mark.parametrize("begun", [False, True])
async def test_what_is_no_message_is_refused_at_once(
    site: Site, body: Any, code: int, *, begun: bool
):
    peer = await connect(site)
    if begun:
        await peer.begin()
    answer = await peer.post(body)
    assert (answer.status, answer.code) == (400, code)
    assert (await peer.ask(request("ping", request_id=2)))["id"] == 2


async def test_a_body_that_is_too_large_is_refused(site: Site):
    peer = await opened(site)
    assert (await peer.post(b" " * (LIMIT + 1))).status == 413
    assert (await peer.post(call(), **{"content-type": "text/plain"})).status == 415
    assert (await peer.ask(call()))["result"] == {"said": "alpha"}


@pytest.mark.parametrize(
    "message",
    [
        call(1),
        request("tools/list"),
        request("server/discover"),
        request("initialize"),
        request("initialize", {"protocolVersion": 1}),
        request("initialize", {"protocolVersion": V2024_11_05, "capabilities": []}),
    ],
)
async def test_what_comes_too_early_is_answered_with_an_error_and_may_be_put_right(
    site: Site, message: Any
):
    peer = await connect(site)
    answer = await peer.ask(message)
    assert answer["id"] == 1
    assert answer["error"]["code"] in {-32600, -32602}
    await peer.begin()


async def test_initialize_is_sent_once(site: Site):
    peer = await opened(site)
    assert (await peer.ask(initialize()))["error"]["code"] == -32600
    assert (await peer.ask(request("ping")))["result"] == {}


async def test_an_unknown_method_is_an_error_of_its_request(site: Site):
    peer = await opened(site)
    answer = await peer.ask(request("no/such", request_id="x"))
    assert (answer["id"], answer["error"]["code"]) == ("x", -32601)


async def test_batches_of_the_one_revision_are_taken_apart(site: Site):
    peer = await opened(site, V2025_03_26)
    site.server.handlers["tools/call"] = nothing
    await peer.say(call(9))
    await wait_for(site.server)
    ping = request("ping", request_id="p")
    cancelled = notification("notifications/cancelled", {"requestId": 9})
    unasked = {"jsonrpc": "2.0", "id": "none-such", "result": {}}
    await peer.say([ping, cancelled, {"id": 3}, call(9), unasked])
    answers = [await peer.stream.message() for _ in range(3)]
    assert {answer.get("id") for answer in answers} == {"p", 3, None}
    await until(lambda: bool(site.server.cancelled))


async def test_a_bug_in_one_request_is_reported_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
):
    dispatch = View.dispatch

    async def buggy(self: View, message: Request, *args: Any) -> Any:
        if message.method == "tools/call":
            raise ZeroDivisionError
        return await dispatch(self, message, *args)

    monkeypatch.setattr(View, "dispatch", buggy)
    async with open_site() as site:
        peer = await opened(site)
        assert (await peer.ask(call(1)))["error"]["code"] == -32603
        assert (await peer.ask(request("ping")))["result"] == {}
        (event,) = site.events
        assert isinstance(event, RequestFailed)
        assert (event.path, event.request, event.principal) == ("tools/call", 1, "anonymous")
        assert event.session is not None


async def test_a_client_that_does_not_read_holds_up_nobody_else():
    size = 32 * 1024
    async with open_site() as site:
        deaf, other = await opened(site), await opened(site)
        site.server.handlers["tools/call"] = lambda exchange: exchange.finish(
            Response(exchange.id, Raw(b'{"x":"%b"}' % (b"x" * size)))
        )
        for number in range(200):
            await deaf.say(call(number))
        assert (await other.ask(call(1)))["id"] == 1
        for _ in range(200):
            await deaf.stream.message()
        outbox = next(iter(site.application.http_sse._doors.values())).conversation.outbox
        assert outbox.size < 2 * size  # nothing that was read is kept


# --- who may come in -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def guarded() -> AsyncIterator[tuple[Site, dict[str, str], dict[str, str]]]:
    keys = KeyStore((SigningKey.generate(time.time()),))
    async with open_site(gate=gate_of(keys)) as site:
        yield site, bearer(keys), bearer(keys, "bob")


async def test_streams_and_messages_need_a_token():
    async with guarded() as (site, ada, _):
        assert (await site.ask("GET", "/sse", STREAM)).status == 401
        peer = await connect(site, **ada)
        assert (await site.ask("POST", peer.address, JSON, call())).status == 401
        await peer.begin()


async def test_a_stream_takes_messages_of_its_principal_alone():
    async with guarded() as (site, ada, bob):
        peer = await connect(site, **ada)
        answer = await site.ask("POST", peer.address, {**JSON, **bob}, initialize())
        assert answer.status == 404
        await peer.begin()


@pytest.mark.parametrize("header", ["host", "origin"])
async def test_pages_of_others_are_kept_out(site: Site, header: str):
    peer = await opened(site)
    evil = {header: "http://evil.example" if header == "origin" else "evil.example"}
    assert (await site.ask("GET", "/sse", {**STREAM, **evil})).status == 403
    assert (await peer.post(call(), **evil)).status == 403
