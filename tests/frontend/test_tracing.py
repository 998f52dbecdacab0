"""The context of a trace travels from clients to backends, in whichever way it comes."""

from __future__ import annotations

import pytest

from onemcp.protocol.revisions import LATEST_LEGACY, LATEST_MODERN
from tests.frontend.site import CALL, modern_headers, open_site, with_meta
from tests.multiplexer.fakes import Server, tool

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
