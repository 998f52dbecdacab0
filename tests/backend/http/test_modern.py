from __future__ import annotations

import base64
import contextvars
import json
from typing import Any

import pytest
import trio

from onemcp.backend.handshake import answer_of
from onemcp.config import BackendLimits
from onemcp.protocol.errors import (
    BackendLost,
    BackendProtocolError,
    BackendUnavailable,
    InvalidParams,
    Overloaded,
)
from onemcp.protocol.fields import raw
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Notification, Response
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import (
    Catalogue,
    Modern,
    Visit,
    caller,
    connected,
    connecting,
    failure_of,
    plain,
    serving,
)

PREFIX = "io.modelcontextprotocol/"


@pytest.mark.requirement(
    "basic/transports/streamable-http#sending-messages-10", "server/discover#when-to-call-1"
)
async def test_a_modern_backend_is_found_by_discovery() -> None:
    server = Modern()
    async with connected(server) as live:
        assert live.connection.server is not None
        assert live.connection.server.revision == "2026-07-28"
        assert live.connection.server.has("tools", "listChanged")
        assert plain(live.connection.server.info) == {"name": "scripted", "version": "1"}
        assert live.memory.era is Era.MODERN
        assert not live.memory.sse
        assert await live.result("tools/list") == {"did": "tools/list"}
    assert [visit.what for visit in server.visits] == ["server/discover", "tools/list"]


@pytest.mark.requirement(
    "basic/index#meta-6",
    "basic/transports/streamable-http#sending-messages-1",
    "basic/transports/streamable-http#sending-messages-2",
    "basic/transports/streamable-http#sending-messages-3",
    "basic/transports/streamable-http#sending-messages-4",
    "basic/transports/streamable-http#protocol-version-header-1",
    "basic/transports/streamable-http#protocol-version-header-2",
    "basic/transports/streamable-http#standard-request-headers-1",
    "basic/transports/streamable-http#client-behavior-1",
)
async def test_a_modern_request_says_in_its_headers_what_its_body_says() -> None:
    server = Modern()
    who = caller(capabilities=raw({"sampling": {}}), log_level="info")
    async with connected(server, headers={"Authorization": "Bearer secret"}) as live:
        await live.result("tools/call", who, name="add", arguments={})
    visit = server.of("tools/call")[0]
    assert visit.headers["accept"] == "application/json, text/event-stream"
    assert visit.headers["content-type"] == "application/json"
    assert visit.headers["mcp-protocol-version"] == "2026-07-28"
    assert visit.headers["mcp-method"] == "tools/call"
    assert visit.headers["mcp-name"] == "add"
    assert visit.headers["authorization"] == "Bearer secret"
    assert "mcp-session-id" not in visit.headers
    meta = visit.message["params"]["_meta"]
    assert meta[f"{PREFIX}protocolVersion"] == "2026-07-28"
    assert meta[f"{PREFIX}clientCapabilities"] == {"sampling": {}}
    assert meta[f"{PREFIX}logLevel"] == "info"


async def test_names_that_headers_cannot_carry_are_encoded() -> None:
    server = Modern()
    async with connected(server) as live:
        await live.result("resources/read", uri="file:///ä")
        await live.result("prompts/get", name=" padded")
        await live.result("prompts/list", name="unnamed")
        await live.result("tasks/get", taskId="t-1")
    names = [visit.headers.get("mcp-name") for visit in server.visits[1:]]
    encoded = [base64.b64encode(name.encode()).decode() for name in ("file:///ä", " padded")]
    assert names == [*(f"=?base64?{name}?=" for name in encoded), None, "t-1"]


@pytest.mark.requirement(
    "basic/transports/streamable-http#custom-headers-from-tool-parameters-1",
    "basic/transports/streamable-http#custom-headers-from-tool-parameters-2",
    "basic/transports/streamable-http#client-behavior-1",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-5",
)
async def test_annotated_parameters_are_repeated_in_headers() -> None:
    server = Modern()
    parameters = (MirroredParameter(("where", "region"), "Region"), MirroredParameter(("x",), "X"))
    async with connected(server, tools=Catalogue({"sql": parameters})) as live:
        await live.result("tools/call", name="sql", arguments={"where": {"region": "eu"}, "x": 7})
        await live.result("tools/call", name="sql", arguments={"x": None})
        await live.result("prompts/get", name="sql")
    first, second, third = server.visits[1:]
    assert first.headers["mcp-param-region"] == "eu"
    assert first.headers["mcp-param-x"] == "7"
    assert not any(name.startswith("mcp-param") for name in second.headers)
    assert not any(name.startswith("mcp-param") for name in third.headers)


REGION = (MirroredParameter(("region",), "Region"),)


async def wants_region(visit: Visit) -> None:
    """Refuse a call that doesn't repeat its region, as a server does whose tool has changed."""
    region = visit.message["params"]["arguments"].get("region")
    if visit.headers.get("mcp-param-region") == region:
        await visit.result({"did": region})
    else:
        await visit.error(-32020, 400)


@pytest.mark.requirement("basic/transports/streamable-http#client-behavior-2")
async def test_a_call_whose_headers_are_outdated_is_made_again_once_the_tools_are_known() -> None:
    server = Modern(**{"tools/call": wants_region})
    tools = Catalogue(changed={"sql": REGION})
    async with connected(server, tools=tools) as live:
        outdated = await live.result("tools/call", name="sql", arguments={"region": "eu"})
        current = await live.result("tools/call", name="sql", arguments={"region": "us"})
    assert (outdated, current) == ({"did": "eu"}, {"did": "us"})
    sent = [visit.headers.get("mcp-param-region") for visit in server.of("tools/call")]
    assert sent == [None, "eu", "us"]
    assert tools.relisted == 1


@pytest.mark.requirement("basic/transports/streamable-http#client-behavior-2")
@pytest.mark.parametrize(("changed", "attempts"), [(None, 1), ({"sql": REGION}, 2)])
async def test_a_call_is_made_again_once_and_only_with_other_headers(
    changed: Any, attempts: int
) -> None:
    async def refuse(visit: Visit) -> None:
        await visit.error(-32020, 400)

    server = Modern(**{"tools/call": refuse, "prompts/get": refuse})
    tools = Catalogue(changed=changed)
    async with connected(server, tools=tools) as live:
        error = await live.error("tools/call", name="sql", arguments={"region": "eu"})
        assert error == {"code": -32020, "message": "as scripted"}
        await live.error("prompts/get", name="sql")
        assert live.lost is None
    assert len(server.of("tools/call")) == attempts
    assert len(server.of("prompts/get")) == tools.relisted == 1


async def test_a_call_that_is_cancelled_is_not_made_again() -> None:
    server = Modern(**{"tools/call": wants_region})
    waiting = trio.Event()

    class Slow(Catalogue):
        async def relist_tools(self) -> None:
            waiting.set()
            await trio.sleep_forever()

    async with connected(server, tools=Slow()) as live:
        exchange = live.open("tools/call", name="sql", arguments={"region": "eu"})
        await waiting.wait()
        exchange.close()
        assert await live.result("tools/list") == {"did": "tools/list"}
    assert len(server.of("tools/call")) == 1


async def test_configured_headers_never_replace_those_of_the_transport() -> None:
    server = Modern()
    headers = {
        "MCP-Protocol-Version": "1",
        "mcp-method": "2",
        "Mcp-Name": "3",
        "Mcp-Session-Id": "4",
        "Mcp-Param-Region": "5",
        "Accept": "text/html",
        "Accept-Encoding": "gzip",
        "Content-Type": "text/plain",
        "User-Agent": "mine",
        "X-Mine": "kept",
    }
    async with connected(server, headers=headers) as live:
        await live.result("tools/list")
    for visit in server.visits:
        assert visit.headers["mcp-protocol-version"] == "2026-07-28"
        assert visit.headers["mcp-method"] == visit.what
        assert visit.headers["accept-encoding"] == "identity"
        assert visit.headers["content-type"] == "application/json"
        assert visit.headers["user-agent"] == "mine"
        assert visit.headers["x-mine"] == "kept"
        assert not {"mcp-name", "mcp-session-id", "mcp-param-region"} & visit.headers.keys()


async def test_credentials_in_the_url_become_a_header() -> None:
    server = Modern()
    async with (
        serving(server) as url,
        connecting(url.replace("//", "//me:pa%20ss@") + "?key=v") as live,
    ):
        assert live.lost is None
    assert server.visits[0].query == b"key=v"
    expected = base64.b64encode(b"me:pa ss").decode()
    assert server.visits[0].headers["authorization"] == f"Basic {expected}"


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-10")
async def test_a_stream_brings_notifications_before_the_answer() -> None:
    async def stream(visit: Visit) -> None:
        token = visit.message["params"]["_meta"]["progressToken"]
        await visit.stream()
        await visit.write(b": keep-alive\r\n\r\n")
        await visit.note("notifications/progress", progressToken=token, progress=1)
        await visit.note("notifications/message", level="debug", data="too low")
        await visit.note("notifications/message", level="error", data="wanted")
        await visit.note("notifications/custom", x=1)
        await visit.event(visit.response({"ok": True}))
        await visit.end()

    server = Modern(**{"tools/call": stream})
    async with connected(server) as live:
        who = caller(log_level="warning")
        exchange = live.open("tools/call", who, name="t", _meta={"progressToken": "mine"})
        messages = [await exchange.receive() for _ in range(4)]
    assert [getattr(message, "method", None) for message in messages] == [
        "notifications/progress",
        "notifications/message",
        "notifications/custom",
        None,
    ]
    progress, log, custom, answer = messages
    assert isinstance(progress, Notification)
    assert isinstance(log, Notification)
    assert isinstance(custom, Notification)
    assert isinstance(answer, Response)
    assert plain(progress.params) == {"progressToken": "mine", "progress": 1}
    assert plain(log.params)["data"] == "wanted"
    assert plain(answer.result) == {"ok": True}
    assert live.notes == []


@pytest.mark.requirement("basic/transports/streamable-http#case-sensitivity-1")
async def test_answers_are_read_whatever_the_case_of_their_headers() -> None:
    async def shout(visit: Visit) -> None:
        await visit.begin(200, ("CONTENT-TYPE", "application/json"))
        await visit.write(json.dumps(visit.response({"ok": True})).encode(), more=False)

    async with connected(Modern(**{"tools/call": shout})) as live:
        answer = await live.open("tools/call", name="t").receive()
    assert isinstance(answer, Response)
    assert plain(answer.result) == {"ok": True}


async def test_changes_come_on_the_listen_stream_until_it_is_closed() -> None:
    gone = trio.Event()

    async def listen(visit: Visit) -> None:
        await visit.stream()
        meta = {f"{PREFIX}subscriptionId": visit.message["id"]}
        await visit.note("notifications/subscriptions/acknowledged", _meta=meta, notifications={})
        await visit.note("notifications/tools/list_changed", _meta=meta)
        await visit.note("notifications/tools/list_changed")  # the id left out
        await visit.gone()
        gone.set()

    async with connected(Modern(**{"subscriptions/listen": listen})) as live:
        exchange = live.open("subscriptions/listen", notifications={})
        seen = [(await exchange.receive()).method for _ in range(3)]  # type: ignore[union-attr]
        assert seen[0] == "notifications/subscriptions/acknowledged"
        assert seen[1:] == ["notifications/tools/list_changed"] * 2
        exchange.close()
        await gone.wait()
        assert live.notes == []


@pytest.mark.requirement(
    "basic/patterns/index#introduction-1", "basic/transports/streamable-http#sending-messages-6"
)
async def test_a_request_on_a_modern_stream_is_ignored() -> None:
    async def ask(visit: Visit) -> None:
        await visit.stream()
        await visit.event({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await visit.event(visit.response({}))
        await visit.end()

    server = Modern(**{"tools/call": ask})
    async with connected(server) as live:
        assert await live.result("tools/call", name="t") == {}
        assert "request" in str(live.connection.inbound.last_violation)
    assert server.of("answer") == []


async def test_closing_an_exchange_closes_its_stream() -> None:
    gone = trio.Event()

    async def hang(visit: Visit) -> None:
        await visit.stream()
        await visit.note("notifications/custom")
        await visit.gone()
        gone.set()

    server = Modern(**{"tools/call": hang})
    async with connected(server) as live:
        exchange = live.open("tools/call", name="t")
        await exchange.receive()
        assert live.connection.inbound.in_flight == 1
        exchange.close()
        assert live.connection.inbound.in_flight == 0
        await gone.wait()
        assert await live.result("tools/list") == {"did": "tools/list"}
    assert server.of("notifications/cancelled") == []


async def test_an_exchange_closed_at_once_sends_nothing() -> None:
    server = Modern()
    async with connected(server) as live:
        live.open("tools/call", name="t").close()
        await live.result("tools/list")
    assert server.of("tools/call") == []


async def test_notifications_are_dropped_for_there_are_none() -> None:
    server = Modern()
    async with connected(server) as live:
        live.connection.notify("notifications/roots/list_changed", {})
        await live.result("tools/list")
    assert [visit.what for visit in server.visits] == ["server/discover", "tools/list"]


@pytest.mark.requirement("basic/transports/streamable-http#sending-messages-1")
async def test_two_hundred_calls_are_under_way_at_once() -> None:
    arrived, everyone = [], trio.Event()

    async def wait(visit: Visit) -> None:
        arrived.append(visit.message["id"])
        if len(arrived) == 200:
            everyone.set()
        await everyone.wait()
        await visit.result({"n": visit.message["params"]["arguments"]["n"]})

    async with connected(Modern(**{"tools/call": wait})) as live:
        results: dict[int, int] = {}

        async def one(n: int) -> None:
            results[n] = (await live.result("tools/call", name="t", arguments={"n": n}))["n"]

        async with trio.open_nursery() as nursery:
            for n in range(200):
                nursery.start_soon(one, n)
        assert results == {n: n for n in range(200)}
        assert live.connection.inbound.in_flight == 0


async def test_connections_are_kept_and_used_again() -> None:
    peers = set()
    server = Modern()

    async def app(scope: dict, receive: object, send: object) -> None:
        peers.add(scope.get("client"))
        await server(scope, receive, send)

    async with connected(app) as live:
        for _ in range(10):
            await live.result("tools/list")
    assert len(peers) == 2  # one more for the lifespan, which has no client


async def test_requests_over_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onemcp.backend.http._streamable.BESIDES", 0)
    release = trio.Event()

    async def wait(visit: Visit) -> None:
        await release.wait()
        await visit.result({})

    server = Modern(**{"tools/call": wait})
    async with connected(server, limits=BackendLimits(in_flight=2)) as live:
        exchanges = [live.open("tools/call", name="t") for _ in range(2)]
        with pytest.raises(Overloaded):
            live.open("tools/call", name="t")
        release.set()
        for exchange in exchanges:
            await answer_of(exchange)
        await live.result("tools/list")


async def test_malformed_meta_is_refused_before_anything_is_sent() -> None:
    async with connected(Modern()) as live:
        with pytest.raises(InvalidParams):
            live.open("tools/list", _meta=[])
        assert live.connection.inbound.in_flight == 0


async def test_tasks_do_not_inherit_the_context_of_a_request() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    found = []

    async with connected(Modern()) as live:
        connection = live.connection._current  # type: ignore[attr-defined]
        carry = connection._carry

        async def spy(*args: object) -> None:
            found.append(variable.get())
            await carry(*args)

        connection._carry = spy
        variable.set("client")
        await live.result("tools/list")
    assert found == ["nobody"]


async def test_calls_in_flight_fail_when_the_connection_is_stopped() -> None:
    server = Modern(**{"tools/call": Visit.gone})
    async with serving(server) as url:
        async with connecting(url) as live:
            exchange = live.open("tools/call", name="t")
            await server.seen("tools/call")
        assert failure_of(await answer_of(exchange))["code"] == BackendLost.code
        with pytest.raises(BackendUnavailable):
            live.open("tools/list")
        assert live.connection.inbound.in_flight == 0


@pytest.mark.requirement(
    "basic/transports/streamable-http#backward-compatibility-1",
    "basic/versioning#protocol-version-negotiation-2",
)
async def test_the_backend_chooses_another_revision() -> None:
    versions = []

    async def discover(visit: Visit) -> None:
        versions.append(visit.headers["mcp-protocol-version"])
        supported = {"supported": ["2026-07-28"], "requested": "x"}
        if len(versions) == 1:
            await visit.error(-32022, 400, supported)
        else:
            await visit.result({"supportedVersions": ["2026-07-28"], "capabilities": {}})

    async with connected(Modern(**{"server/discover": discover})) as live:
        assert live.connection.server is not None
    assert versions == ["2026-07-28"] * 2


@pytest.mark.requirement("basic/transports/streamable-http#backward-compatibility-1")
async def test_a_modern_error_without_id_is_recognised() -> None:
    async def discover(visit: Visit) -> None:
        await visit.error(-32021, 400, id=None)

    server = Modern(**{"server/discover": discover})
    async with serving(server) as url, connecting(url) as live:
        assert live.lost is not None
        assert "refused server/discover" in live.lost.reason
    assert server.of("initialize") == []


async def test_a_modern_backend_that_forgets_its_era_is_probed_again() -> None:
    """A legacy server has taken the place of a modern one."""

    async def refuse(visit: Visit) -> None:
        await visit.error(-32000, 400, id="server-error")

    server = Modern()
    async with connected(server) as live:
        server.on("tools/call", refuse)
        server.on("server/discover", refuse)
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendProtocolError.code
        assert "HTTP 400" in error["message"]
        await live.over.wait()
        assert live.lost is not None
        assert "as agreed" in live.lost.reason
        assert live.memory.era is None


async def test_a_backend_that_drops_the_revision_is_agreed_with_anew() -> None:
    async def unsupported(visit: Visit) -> None:
        await visit.error(-32022, 400, {"supported": ["2025-11-25"], "requested": "2026-07-28"})

    server = Modern()
    async with connected(server) as live:
        server.on("tools/call", unsupported)
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendUnavailable.code  # the client may speak it all the same
        await server.seen("server/discover", 2)
        assert await live.result("tools/list") == {"did": "tools/list"}  # it was this call alone
        assert live.lost is None

        server.on("server/discover", unsupported)
        await live.error("tools/call", name="t")
        await live.over.wait()
        assert live.lost is not None
        assert "as agreed" in live.lost.reason
        assert live.memory.era is None


async def test_one_refused_request_ends_nothing() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(400, b"<html><body>Bad <b>request</b></body></html>", "text/html")

    server = Modern(**{"tools/call": refuse})
    async with connected(server) as live:
        error = await live.error("tools/call", name="t")
        assert error["message"] == "it answered with HTTP 400 (text/html): Bad request"
        await server.seen("server/discover", 2)  # it is asked whether it still is the same
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.lost is None


async def test_an_unknown_method_is_the_backends_own_error() -> None:
    async def unknown(visit: Visit) -> None:
        await visit.error(-32601, 404, {"why": "no such thing"})

    server = Modern(**{"tools/call": unknown})
    async with connected(server) as live:
        error = await live.error("tools/call", name="t")
        assert error == {
            "code": -32601,
            "message": "as scripted",
            "data": {"why": "no such thing"},
        }
        await live.result("tools/list")
    assert len(server.of("server/discover")) == 1


async def test_the_context_of_a_trace_is_in_the_headers_too() -> None:
    server = Modern()
    members = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}
    async with connected(server) as live:
        await live.result("tools/call", name="add", arguments={}, _meta=members)
        await live.result("tools/call", name="add", arguments={})
    traced, plain_one = server.of("tools/call")
    assert traced.headers["traceparent"] == members["traceparent"]
    assert traced.message["params"]["_meta"].items() >= members.items()
    assert "traceparent" not in plain_one.headers
