"""The context of a trace travels from clients to backends, in whichever way it comes."""

from __future__ import annotations

import pytest

from onemcp.multiplexer import Watcher
from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from onemcp.telemetry import Span, Tracer
from tests.frontend.site import CALL, modern_headers, open_site, request, with_meta
from tests.multiplexer.fakes import Server, resource, tool

PARENT = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
HEADERS = {"traceparent": PARENT, "tracestate": "a=1"}


@pytest.mark.parametrize("backend", [LATEST_MODERN, LATEST_LEGACY])
async def test_the_context_of_a_request_reaches_the_backend_untouched(backend):
    server = Server(revision=backend, tools=[tool("t")])
    async with open_site(server) as site:
        message = with_meta(CALL, traceparent=OTHER, tracestate="b=2", baggage="c=3")
        await site.ask("POST", "/mcp", modern_headers(CALL) | HEADERS, message)
        meta = server.sent[-1]["_meta"]
        assert (meta["traceparent"], meta["tracestate"], meta["baggage"]) == (OTHER, "b=2", "c=3")


@pytest.mark.parametrize("backend", [LATEST_MODERN, LATEST_LEGACY])
async def test_the_context_of_http_is_the_request_s_own_where_it_has_none(backend):
    server = Server(revision=backend, tools=[tool("t")])
    async with open_site(server) as site:
        await site.ask("POST", "/mcp", modern_headers(CALL) | HEADERS, with_meta(CALL))
        assert server.sent[-1]["_meta"].items() >= HEADERS.items()
        session = await site.open()
        await session.post(CALL, **HEADERS)
        assert server.sent[-1]["_meta"].items() >= HEADERS.items()
        await session.post(CALL)
        assert "traceparent" not in server.sent[-1].get("_meta", {})


async def test_what_a_session_is_asked_about_itself_has_spans_too():
    offers = {"resources": {"subscribe": True}}
    server = Server(tools=[tool("t")], resources=[resource("db://x/a")], capabilities=offers)
    async with open_site(server) as site:
        spans: list[Span] = []
        tracer = Tracer()
        tracer.take = spans.append
        site.world.multiplexer.watcher = Watcher(tracer)
        session = await site.open()
        await session.post(request("logging/setLevel", {"level": "debug"}), **HEADERS)
        await session.post(request("logging/setLevel", {"level": "loud"}))
        await session.post(request("resources/subscribe", {"uri": "db://x/a?token=secret"}))
        await session.post(request("tools/list"))
    opened, level, loud, subscribed, listed = (span for span in spans if span.kind == "server")
    assert [each.name for each in (opened, level, subscribed, listed)] == [
        "initialize", "logging/setLevel", "resources/subscribe", "tools/list",
    ]  # fmt: skip
    assert len({each.attributes["mcp.session.id"] for each in spans}) == 1
    assert opened.attributes["mcp.protocol.version"] == LATEST_LEGACY
    assert (level.context.trace_id, level.failure) == (PARENT[3:35], None)
    assert loud.attributes["rpc.response.status_code"] == "-32602"
    assert loud.failure is None  # it is the client's fault
    assert "secret" not in repr(subscribed.attributes)
