"""Requests of the modern era: JSON or a stream, silence, disconnects, subscriptions."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from onemcp.admission import Limits
from onemcp.frontend.resumable import KEEP_ALIVE
from onemcp.protocol import meta
from onemcp.protocol.errors import MISSING_CLIENT_CAPABILITY, BackendLost
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Notification
from tests.frontend.site import (
    CALL,
    Client,
    Site,
    call,
    modern_headers,
    open_site,
    request,
    until,
    wait_for,
    with_meta,
)
from tests.multiplexer.fakes import Server, failure, nothing, resource, result, tool

finish = partial(result, era_fields=True)
PROGRESS = "notifications/progress"


def say(site: Site, text: str) -> None:
    params = {"progressToken": site.server.last.id, "message": text}
    site.server.last.deliver(Notification(PROGRESS, raw(params)))


@pytest.mark.requirement(
    "basic/index#result-responses-1", "basic/transports/streamable-http#sending-messages-9"
)
async def test_a_result_that_comes_first_is_json(site: Site):
    answer = await site.post_modern(call("the id"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["id"] == "the id"
    assert "mcp-session-id" not in answer.headers


@pytest.mark.requirement("basic/index#meta-12")
@pytest.mark.parametrize(
    ("code", "status"), [(-32602, 400), (-32601, 404), (MISSING_CLIENT_CAPABILITY, 400), (7, 200)]
)
async def test_the_status_goes_with_the_error_whoever_raises_it(site: Site, code: int, status: int):
    site.server.handlers["tools/call"] = failure(code, data={"more": 1})
    answer = await site.post_modern(CALL)
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error"]["data"] == {"more": 1}


async def test_unknown_tools_are_refused_by_their_id(site: Site):
    message = request("tools/call", {"name": "none"}, 9)
    answer = await site.post_modern(message)
    assert (answer.status, answer.code, answer.json["id"]) == (400, -32602, 9)


@pytest.mark.requirement(
    "basic/transports/streamable-http#sending-messages-9",
    "basic/transports/streamable-http#receiving-messages-3",
    "basic/transports/streamable-http#receiving-messages-4",
)
async def test_a_notification_that_comes_first_opens_a_stream(site: Site):
    site.server.handlers["tools/call"] = nothing
    client = await site.begin_modern(CALL, progressToken="p")
    await wait_for(site.server)
    say(site, "one")
    await client.stream_begins()
    event = await client.event()
    assert event is not None
    assert event.id is None
    say(site, "two")
    assert (await client.message())["params"]["message"] == "two"
    finish({"said": "x"})(site.server.last)
    assert (await client.message())["result"]["said"] == "x"
    assert await client.message() is None
    assert (await client.ask("GET")).status == 405  # the connection lives on


@pytest.mark.requirement("basic/transports/streamable-http#receiving-messages-1")
async def test_nothing_but_its_own_comes_on_the_stream_of_a_call(site: Site):
    site.server.handlers["tools/call"] = nothing
    client = await site.begin_modern(CALL, progressToken="p")
    await wait_for(site.server)
    for method in ("tools/list_changed", "resources/list_changed", "message", "unheard_of"):
        site.server.announce(f"notifications/{method}", level="error", data="x")
    site.server.announce("notifications/resources/updated", uri="x://r")
    say(site, "one")
    await client.stream_begins()
    assert (await client.message())["params"]["message"] == "one"
    finish({"said": "x"})(site.server.last)
    assert (await client.message())["result"]["said"] == "x"


@pytest.mark.requirement("basic/index#statelessness-3", "server/tools#capabilities-3")
async def test_the_list_is_the_same_for_every_connection(site: Site):
    listing = request("tools/list")
    first = await site.post_modern(listing)
    await site.open()
    client = await site.connect()
    for message in (CALL, call(2), listing):
        headers, body = modern_headers(message), with_meta(message)
        answer = await client.ask("POST", "/mcp", headers, body)
    assert answer.json == first.json


@pytest.mark.requirement("basic/transports/streamable-http#receiving-messages-3")
async def test_an_error_can_end_a_stream(site: Site):
    site.server.handlers["tools/call"] = nothing
    client = await site.begin_modern(CALL, progressToken="p")
    await wait_for(site.server)
    say(site, "one")
    await client.stream_begins()
    await client.message()
    failure(-32602)(site.server.last)
    assert (await client.message())["error"]["code"] == -32602
    assert await client.message() is None


@pytest.mark.requirement(
    "basic/transports/streamable-http#cancellation-1",
    "basic/transports/streamable-http#cancellation-2",
    "basic/transports/streamable-http#cancellation-3",
)
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("when", ["waiting", "streaming"])
async def test_a_disconnect_cancels_through_to_the_backend(site: Site, how: str, when: str):
    site.server.handlers["tools/call"] = nothing
    client = await site.begin_modern(CALL, progressToken="p")
    await wait_for(site.server)
    if when == "streaming":
        say(site, "one")
        await client.stream_begins()
        await client.message()
    if how == "close":
        await client.close()
    else:
        client.abort()
    await until(lambda: site.server.cancelled == site.server.calls)
    await until(lambda: site.world.multiplexer.in_flight == 0)
    assert site.events == []


@pytest.mark.requirement("basic/transports/streamable-http#cancellation-3")
async def test_a_disconnect_ends_the_wait_for_a_backend_that_is_starting(site: Site):
    site.server.crash()
    await until(lambda: not site.world.multiplexer.backends["alpha"].is_up)
    client = await site.begin_modern(CALL)
    await until(lambda: site.world.multiplexer.in_flight == 1)
    await client.close()
    await until(lambda: site.world.multiplexer.in_flight == 0)
    site.server.gate.set()
    assert site.server.calls == []


async def test_after_silence_comes_a_sign_of_life_and_then_still_the_answer(
    autojump_clock: trio.abc.Clock,
):
    async with open_site() as site:
        site.server.handlers["tools/call"] = nothing
        client = await site.begin_modern(CALL)
        await wait_for(site.server)
        begun = trio.current_time()
        await client.stream_begins()
        for count in range(1, 4):
            await client.comment()
            assert trio.current_time() - begun == pytest.approx(count * KEEP_ALIVE, abs=1)
        finish({"said": "late"})(site.server.last)
        assert (await client.message())["result"]["said"] == "late"
        assert await client.message() is None


# --- subscriptions ---------------------------------------------------------------------------


def listen(request_id: Any = 5, **wanted: Any) -> dict[str, Any]:
    return request("subscriptions/listen", {"notifications": wanted}, request_id)


async def subscribe(site: Site, message: dict[str, Any]) -> tuple[Client, Any]:
    client = await site.begin_modern(message)
    await client.stream_begins()
    return client, await client.message()


@pytest.mark.requirement("basic/patterns/subscriptions#opening-a-stream-1")
async def test_a_subscription_is_acknowledged_and_hears_what_it_asked_for():
    async with open_site(Server(tools=[tool("t")], resources=[resource("x://r")])) as site:
        client, ack = await subscribe(
            site, listen(toolsListChanged=True, resourceSubscriptions=["x://r"])
        )
        assert ack["method"] == "notifications/subscriptions/acknowledged"
        assert ack["params"]["notifications"] == {
            "toolsListChanged": True,
            "resourceSubscriptions": ["x://r"],
        }
        site.server.announce("notifications/prompts/list_changed")
        site.server.announce("notifications/resources/updated", uri="x://r")
        heard = await client.message()
        assert heard["params"]["uri"] == "x://r"
        assert heard["params"]["_meta"][meta.SUBSCRIPTION_ID] == 5
        await client.close()
        await until(lambda: site.server.subscribed == set())
        view = site.world.multiplexer.view()
        assert view is not None
        assert not view._audience


@pytest.mark.requirement("basic/patterns/subscriptions#cancellation-1")
async def test_a_subscription_ends_with_an_answer_when_the_gateway_stops(
    autojump_clock: trio.abc.Clock,
):
    async with open_site(grace=30.0) as site:
        client, _ = await subscribe(site, listen("s", toolsListChanged=True))
        begun = trio.current_time()
        site.scope.cancel()
        answer = await client.message()
        assert answer["id"] == "s"
        assert answer["result"]["_meta"][meta.SUBSCRIPTION_ID] == "s"
        assert await client.message() is None
        await site.stopped.wait()
        assert trio.current_time() - begun < 2


@pytest.mark.parametrize("wanted", [None, 7, {"toolsListChanged": 1}])
async def test_a_malformed_subscription_is_refused(site: Site, wanted: Any):
    message = request("subscriptions/listen", {"notifications": wanted})
    assert (await site.post_modern(message)).status == 400


async def test_a_stopping_gateway_says_so(site: Site):
    site.world.multiplexer.stop()
    answer = await site.post_modern(CALL)
    assert (answer.status, answer.code) == (200, -33008)


@pytest.mark.requirement(
    "basic/transports/streamable-http#server-behavior-for-custom-headers-3",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-4",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-10",
)
async def test_mirrored_parameters_are_checked_against_the_tools_schema():
    schema = {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    }
    async with open_site(Server(tools=[tool("t") | {"inputSchema": schema}])) as site:
        message = call(region="eu")
        headers = modern_headers(message)
        for more, status in [({}, 400), ({"mcp-param-region": "us"}, 400)]:
            answer = await site.ask("POST", headers=headers | more, body=with_meta(message))
            assert (answer.status, answer.code) == (status, -32020)


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-10")
async def test_a_tool_with_invalid_annotations_is_none_for_modern_clients_over_http_alone():
    schema = {"properties": {"region": {"type": "array", "x-mcp-header": "Region"}}}
    bad, lists = tool("bad") | {"inputSchema": schema}, request("tools/list")
    async with open_site(Server(tools=[tool("t"), bad, tool("u")])) as site:
        seen = (await site.post_modern(lists)).json["result"]["tools"]
        assert [each["name"] for each in seen] == ["alpha__t", "alpha__u"]
        refused = await site.post_modern(request("tools/call", {"name": "alpha__bad"}))
        assert (refused.status, refused.code) == (400, -32602)
        assert "x-mcp-header of region needs type string, integer or boolean" in refused.message
        assert site.server.calls == []

        client = await site.open()
        seen = (await client.post(lists)).json["result"]["tools"]
        assert [each["name"] for each in seen] == ["alpha__t", "alpha__bad", "alpha__u"]
        await client.post(request("tools/call", {"name": "alpha__bad"}, 2))
        assert len(site.server.calls) == 1


async def test_a_backend_that_fails_again_and_again_is_refused_with_a_time_to_come_back(
    site: Site,
):
    breaker = site.world.multiplexer.backends["alpha"].breaker
    site.server.handlers["tools/call"] = lambda exchange: exchange.fail(BackendLost("it broke"))
    while breaker.is_closed:
        assert (await site.post_modern(CALL)).code == -33002
    answer = await site.post_modern(CALL)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, -33011, "1")
    assert answer.json["error"]["data"] == {"backend": "alpha", "retryAfter": 1}
    client = await site.open()
    assert (await client.post(CALL)).code == -33011


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(in_flight=0, queued=0), 503),
        (Limits(in_flight_per_principal=1, queued_per_principal=0), 429),
    ],
)
async def test_what_is_too_much_is_refused_with_a_time_to_come_back(
    site: Site, limits: Limits, status: int
):
    site.server.handlers["tools/call"] = nothing
    multiplexer = site.world.multiplexer
    multiplexer.reconfigure(multiplexer.identity, separator="__", limits=limits)
    if status == 429:
        await site.begin_modern(CALL)
        await wait_for(site.server)
    answer = await site.post_modern(CALL)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (status, -33004, "1")
    assert answer.json["error"]["data"] == {"retryAfter": 1}
    client = await site.open()
    told = (await client.post(CALL)).json["error"]
    assert (told["code"], told["data"]) == (-33004, {"retryAfter": 1})


async def test_a_client_that_goes_away_waits_for_no_place(site: Site):
    multiplexer = site.world.multiplexer
    multiplexer.reconfigure(multiplexer.identity, separator="__", limits=Limits(in_flight=0))
    client = await site.begin_modern(CALL)
    await until(lambda: multiplexer.admission.queued == 1)
    client.abort()
    await until(lambda: multiplexer.admission.queued == 0)


@pytest.mark.requirement("basic/index#statelessness-2", "basic/index#statelessness-4")
async def test_two_hundred_requests_leave_nothing_behind(site: Site):
    site.server.handlers["tools/call"] = nothing
    before = len(trio.lowlevel.current_root_task().child_nurseries)
    async with trio.open_nursery() as nursery:

        async def come_and_go(number: int) -> None:
            client = await site.begin_modern(call(number))
            await wait_for(site.server, 1 + number % 5)
            client.abort()

        for number in range(200):
            nursery.start_soon(come_and_go, number)
    await until(lambda: site.world.multiplexer.in_flight == 0)
    await until(lambda: len(site.server.cancelled) == len(site.server.calls))
    assert len(trio.lowlevel.current_root_task().child_nurseries) == before
    assert site.events == []


async def test_a_call_that_finds_no_room_for_a_stream_is_answered_all_the_same():
    async with open_site(streams=1) as site:
        site.server.handlers["tools/call"] = nothing
        listening = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        stream = await site.begin_modern(listening)
        await stream.stream_begins()
        client = await site.begin_modern(CALL, progressToken="p")
        await wait_for(site.server)
        say(site, "nobody hears this")
        finish({"said": "x"})(site.server.last)
        answer = await client.answer()
        assert (answer.status, answer.json["result"]["said"]) == (200, "x")
        assert (await site.post_modern(listening)).status == 503
