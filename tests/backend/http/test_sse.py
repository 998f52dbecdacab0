from __future__ import annotations

import pytest
import trio

from onemcp.backend.connection import ConnectionLost, HandshakeFailed, LoginRequired
from onemcp.backend.handshake import EraMemory, answer_of
from onemcp.backend.http import SessionLost, _sse
from onemcp.config import BackendLimits
from onemcp.protocol.errors import BackendLost, BackendProtocolError
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Request, Response
from onemcp.protocol.revisions import Era
from tests.backend.http.servers import (
    Legacy,
    Modern,
    Server,
    Sse,
    Visit,
    caller,
    connected,
    connecting,
    failure_of,
    refusal,
    serving,
    talking,
)

SAMPLER = caller(capabilities=raw({"sampling": {}}))


async def test_messages_go_to_the_endpoint_and_answers_come_on_the_stream() -> None:
    server = Sse()
    async with connected(server, kind="sse", headers={"X-Key": "k"}) as live:
        assert live.connection.server is not None
        assert live.connection.server.revision == "2024-11-05"
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.memory == EraMemory(Era.LEGACY, sse=True)
        assert "DuplexConnection" in repr(live.connection)
    opened, *posts = server.visits
    assert opened.verb == "GET"
    assert [visit.what for visit in posts] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
    ]
    assert {(visit.path, visit.query) for visit in posts} == {("/messages", b"key=1")}
    assert all(visit.headers["x-key"] == "k" for visit in server.visits)


async def test_the_order_of_messages_is_kept() -> None:
    server = Sse()
    async with connected(server, kind="sse") as live:
        exchanges = [live.open(f"m{n}") for n in range(50)]
        for exchange in exchanges:
            await answer_of(exchange)
    sent = [visit.what for visit in server.visits if visit.what.startswith("m")]
    assert sent == [f"m{n}" for n in range(50)]


async def test_questions_and_cancellation_work_over_the_stream() -> None:
    async def ask(visit: Visit) -> None:
        await visit.answer(202)
        server.say({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage"})

    server = Sse(**{"tools/call": ask})
    async with connected(server, kind="sse") as live:
        exchange = live.open("tools/call", SAMPLER, name="t")
        question = await exchange.receive()
        assert isinstance(question, Request)
        exchange.reply(Response(question.id, raw({"said": "yes"})))
        assert (await server.seen("answer")).message["result"] == {"said": "yes"}
        exchange.close()
        cancelled = await server.seen("notifications/cancelled")
        assert cancelled.message["params"] == {"requestId": exchange.id}


async def test_a_request_that_is_refused_over_http_fails_alone() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(413, b"Too much", "text/plain")

    server = Sse(**{"tools/call": refuse, "notifications/x": refuse, "answer": refuse})
    async with connected(server, kind="sse") as live:
        error = await live.error("tools/call", name="t")
        assert error["code"] == BackendProtocolError.code
        assert "HTTP 413 (text/plain): Too much" in error["message"]
        live.connection.notify("notifications/x", {})
        server.say({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await server.seen("answer")
        assert await live.result("tools/list") == {"did": "tools/list"}


async def test_the_end_of_the_stream_ends_the_connection() -> None:
    server = Sse(**{"tools/call": lambda visit: visit.answer(202)})
    async with connected(server, kind="sse") as live:
        exchange = live.open("tools/call", name="t")
        await server.seen("tools/call")
        server.hang_up()
        assert failure_of(await answer_of(exchange))["code"] == BackendLost.code
        await live.over.wait()
        assert live.lost is not None
        assert live.lost.reason == "it closed its stream"
        assert live.memory.sse


async def test_a_broken_stream_ends_the_connection() -> None:
    class Broken(Sse):
        async def get(self, visit: Visit) -> None:
            await visit.stream()
            await visit.event(b"/messages", event="endpoint")
            await visit.write(await self._out.receive())
            await self.seen("tools/list")
            raise ConnectionError

    async with connected(Broken(), kind="sse") as live:
        assert (await live.error("tools/list"))["code"] == BackendLost.code
        await live.over.wait()
        assert live.lost is not None
        assert "broke" in live.lost.reason


async def test_an_event_over_the_limit_ends_the_connection() -> None:
    server = Sse()
    limits = BackendLimits(message_bytes=1024)
    async with connected(server, kind="sse", limits=limits) as live:
        server.say({"x": "x" * 2000})
        await live.over.wait()
        assert live.lost is not None
        assert "too much" in live.lost.reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, SessionLost), (410, SessionLost), (401, LoginRequired), (403, LoginRequired)],
)
async def test_a_session_that_is_over_ends_the_connection(
    status: int, kind: type[ConnectionLost]
) -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(status)

    async with connected(Sse(**{"tools/call": refuse}), kind="sse") as live:
        assert (await live.error("tools/call", name="t"))["code"] == BackendLost.code
        await live.over.wait()
        assert type(live.lost) is kind


async def test_a_backend_that_takes_no_message_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_sse, "SEND_TIMEOUT", 0.1)
    async with connected(Sse(**{"tools/call": Visit.gone}), kind="sse") as live:
        assert (await live.error("tools/call", name="t"))["code"] == BackendLost.code
        await live.over.wait()
        assert "take" in str(live.lost)


async def test_a_backend_that_cuts_a_message_off_ends_the_connection() -> None:
    async def cut(stream: trio.SocketStream) -> None:
        request = await stream.receive_some()
        while request.startswith(b"POST") and not request.endswith(b"}"):
            request += await stream.receive_some()
        if request.startswith(b"GET"):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
            await stream.send_all(head + b"event: endpoint\ndata: /m\n\n")
            await trio.sleep_forever()

    async with talking(cut) as url:
        reason = await refusal(url, kind="sse")
    assert "broke off" in reason.reason


# --- opening -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("https://evil.example/messages?key=1", "another origin: https://evil.example/messages"),
        ("//127.0.0.1:1/messages", "another origin: http://127.0.0.1:1/messages"),
        ("http://[::1", "no URL"),
        ("/" + "x" * 9000, "no URL"),
    ],
)
async def test_an_endpoint_of_another_origin_is_refused(endpoint: str, words: str) -> None:
    server = Sse(endpoint)
    async with serving(server) as url:
        reason = await refusal(url, kind="sse", headers={"Authorization": "Bearer x"})
    assert words in reason.reason
    assert "key=1" not in reason.reason
    assert len(server.visits) == 1


async def test_an_endpoint_may_be_absolute() -> None:
    server = Sse()
    async with serving(server) as url:
        server.endpoint = url.replace("/mcp", "/messages")
        async with connecting(url, kind="sse") as live:
            assert await live.result("tools/list") == {"did": "tools/list"}


async def _no_endpoint(visit: Visit) -> None:
    await visit.stream()
    await visit.event(b"{}")
    await visit.end()


async def _only_other_events(visit: Visit) -> None:
    await visit.stream()
    for _ in range(_sse.MAX_BEFORE_ENDPOINT + 1):
        await visit.event(b"{}")
    await visit.gone()


async def _endless_endpoint(visit: Visit) -> None:
    await visit.stream()
    await visit.write(b"event: endpoint\ndata: " + b"x" * 5000)
    await visit.gone()


async def _html(visit: Visit) -> None:
    await visit.answer(200, b"<p>Hello", "text/html")


async def _missing(visit: Visit) -> None:
    await visit.answer(404)


async def _cut(visit: Visit) -> None:
    await visit.stream()
    await visit.write(b"event: endpoint\n")
    raise ConnectionError


async def _login(visit: Visit) -> None:
    await visit.answer(401)


@pytest.mark.parametrize(
    ("handler", "kind", "words"),
    [
        (_no_endpoint, HandshakeFailed, "named no endpoint"),
        (_only_other_events, HandshakeFailed, "named no endpoint"),
        (_endless_endpoint, HandshakeFailed, "too much"),
        (_html, HandshakeFailed, "no event stream: it answered with HTTP 200 (text/html): Hello"),
        (_missing, HandshakeFailed, "HTTP 404"),
        (_cut, ConnectionLost, "broke"),
        (_login, LoginRequired, "login or a token"),
    ],
)
async def test_a_stream_that_cannot_be_opened_has_one_clear_reason(
    handler: object, kind: type[ConnectionLost], words: str
) -> None:
    limits = BackendLimits(message_bytes=1024)
    async with serving(Sse(GET=handler)) as url:  # type: ignore[arg-type]
        reason = await refusal(url, kind="sse", limits=limits)
    assert type(reason) is kind
    assert words in reason.reason


# --- which transport ---------------------------------------------------------------------------


async def test_an_old_server_is_found_after_the_newer_transports() -> None:
    server = Sse()
    async with connected(server) as live:
        assert await live.result("tools/list") == {"did": "tools/list"}
        assert live.memory == EraMemory(Era.LEGACY, sse=True)
        assert live.connection.inbound.last_violation is None
    assert [(visit.what, visit.path) for visit in server.visits[:4]] == [
        ("server/discover", "/mcp"),
        ("initialize", "/mcp"),
        ("GET", "/mcp"),
        ("initialize", "/messages"),
    ]


async def test_a_remembered_transport_is_tried_first() -> None:
    server = Sse()
    async with connected(server, memory=EraMemory(Era.LEGACY, sse=True)):
        pass
    assert [visit.what for visit in server.visits[:2]] == ["GET", "initialize"]


async def test_a_remembered_transport_that_is_gone_is_forgotten() -> None:
    server = Modern()
    memory = EraMemory(Era.LEGACY, sse=True)
    async with connected(server, memory=memory) as live:
        assert live.connection.server is not None
        assert live.connection.server.revision == "2026-07-28"
    assert memory == EraMemory(Era.MODERN, sse=False)


async def test_a_server_that_speaks_neither_is_told_so() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(404, b"Not found", "text/plain")

    server = Server(**dict.fromkeys(("server/discover", "initialize", "GET"), refuse))
    async with serving(server) as url:
        reason = await refusal(url)
    assert "it refused initialize: it answered with HTTP 404" in reason.reason
    assert "over HTTP+SSE: it opened no event stream" in reason.reason


async def test_neither_the_remembered_transport_nor_the_other_one() -> None:
    async def refuse(visit: Visit) -> None:
        await visit.answer(404)

    server = Server(**dict.fromkeys(("server/discover", "initialize", "GET"), refuse))
    memory = EraMemory(Era.LEGACY, sse=True)
    async with serving(server) as url:
        reason = await refusal(url, memory=memory)
    assert "over streamable HTTP" in reason.reason
    assert memory == EraMemory()


@pytest.mark.parametrize("options", [{"kind": "streamable-http"}, {"pin": "2026-07-28"}])
async def test_older_transports_are_not_tried_where_that_is_ruled_out(
    options: dict[str, str],
) -> None:
    server = Sse()
    async with serving(server) as url:
        await refusal(url, **options)
    assert server.of("GET") == []


@pytest.mark.parametrize("pin", ["legacy", "2024-11-05"])
async def test_a_pinned_legacy_era_includes_the_oldest_transport(pin: str) -> None:
    server = Sse()
    async with connected(server, pin=pin) as live:
        assert live.memory.sse
    asked = server.of("initialize")[-1].message["params"]["protocolVersion"]
    assert asked == ("2024-11-05" if pin == "2024-11-05" else "2025-11-25")


async def test_a_failing_server_is_no_old_server() -> None:
    async def fail(visit: Visit) -> None:
        await visit.answer(500)

    server = Legacy(initialize=fail)
    async with serving(server) as url:
        await refusal(url)
    assert server.of("GET") == []
