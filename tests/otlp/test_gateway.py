"""A gateway that exports: official clients, real backends of both eras, a real collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
import trio
from mcp import Client
from opentelemetry import trace

from onemcp.config import ConfigurationRejected
from onemcp.otlp import TelemetryUndelivered
from tests.app.test_reload import DEMO, HANDSHAKE, HEADERS, IN_FORCE, SERVER, serving
from tests.otlp.collector import RealCollector, collector, plain
from tests.support.eventually import eventually
from tests.support.processes import serving as started
from tests.support.running import command, configuration
from tests.support.sdk import on_asyncio

NONE = {"mode": "none"}
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
PARENT = 0x00F067AA0BA902B7
SECRET = "hunter2-SEKRIT"
MODES = ("legacy", "2026-07-28")
BACKENDS = ("modern", "legacy")


@pytest.fixture(scope="module")
def there() -> Iterator[RealCollector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def url(there: RealCollector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway over another one: HTTP and stdio behind it, and spans of both of them."""
    folder = tmp_path_factory.mktemp("traced")
    otlp = {"endpoint": there.url, "service": "inner"}
    document = configuration({"demo": DEMO}, telemetry={"otlp": otlp})
    (folder / "inner.json").write_text(json.dumps(document))
    with started(command(folder / "inner.json")) as inner:
        backends = {
            "modern": {"url": inner.url},
            "legacy": {"url": inner.url, "protocol": "legacy"},
        }
        document = configuration(backends, telemetry={"otlp": {**otlp, "service": "outer"}})
        (folder / "outer.json").write_text(json.dumps(document))
        with started(command(folder / "outer.json")) as outer:
            yield outer.url


def spans_of(there: RealCollector, trace_id: int) -> list[Any]:
    return [span for span in there.spans if int(span.trace_id.hex(), 16) == trace_id]


def context(trace_id: int) -> trace.Span:
    """Return what the official SDK takes for the span it is called in."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    return trace.NonRecordingSpan(
        trace.SpanContext(trace_id, PARENT, is_remote=False, trace_flags=flags)
    )


@on_asyncio
async def call_all(url: str, traces: dict[tuple[str, str], int]) -> None:
    with anyio.fail_after(60):
        for mode in MODES:
            async with Client(url, mode=mode, cache=None) as client:
                for backend in BACKENDS:
                    with trace.use_span(context(traces[mode, backend])):
                        told = await client.call_tool(f"{backend}__demo__echo", {"message": SECRET})
                    assert told.content[0].text == SECRET


async def test_spans_of_clients_gateways_and_backends_make_one_trace(
    there: RealCollector, url: str
):
    traces = {
        (mode, backend): TRACE + number
        for number, (mode, backend) in enumerate((m, b) for m in MODES for b in BACKENDS)
    }
    await trio.to_thread.run_sync(lambda: call_all(url=url, traces=traces))

    def complete() -> bool:
        calls = [span for span in there.spans if span.name.startswith("tools/call")]
        return len(calls) == 4 * len(traces)

    await eventually(complete, "all spans arrive")
    for (mode, backend), trace_id in traces.items():
        calls = [span for span in spans_of(there, trace_id) if span.name.startswith("tools/call")]
        by_parent = {span.parent_span_id.hex(): span for span in calls}
        chain, parent = [], f"{PARENT:016x}"
        while parent in by_parent:
            chain.append(by_parent[parent])
            parent = chain[-1].span_id.hex()
        assert [(span.name, span.kind) for span in chain] == [
            (f"tools/call {backend}__demo__echo", 2),
            ("tools/call demo__echo", 3),
            ("tools/call demo__echo", 2),
            ("tools/call echo", 3),
        ]
        outer, to_inner, _, to_demo = (plain(span.attributes) for span in chain)
        assert ("mcp.session.id" in outer) == (mode == "legacy")
        assert to_inner["network.transport"] == "tcp"
        assert to_inner["server.address"] == "127.0.0.1"
        assert to_inner["onemcp.backend"] == backend
        assert to_demo["network.transport"] == "pipe"
    sent = b"".join(each.message.SerializeToString() for each in there.received)
    assert SECRET.encode() not in sent


async def open_and_end_session(url: str) -> None:
    async with httpx.AsyncClient(headers=HEADERS) as client:
        opened = await client.post(url, json=HANDSHAKE)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert (await client.delete(url, headers=session)).status_code == 204


async def test_export_is_switched_on_and_off_while_the_gateway_runs(tmp_path):
    with collector() as there:
        async with serving(tmp_path, auth=NONE) as world:
            exporter = world.gateway._observing.exporter
            assert world.gateway.multiplexer.watcher is None
            otlp = {"endpoint": there.url, "interval": 1}
            world.write(server=SERVER, auth=NONE, telemetry={"otlp": otlp})
            assert await world.reload() in IN_FORCE
            assert world.gateway.multiplexer.watcher is not None
            await eventually(lambda: "onemcp_backend_up" in there.metrics, "metrics arrive")
            assert "onemcp_telemetry_spans_total" in there.metrics
            await open_and_end_session(world.gateway.url)
            ended = "mcp.server.session.duration"
            await eventually(lambda: ended in there.metrics, "the session's duration arrives")
            world.write(server=SERVER, auth=NONE, telemetry={"otlp": {**otlp, "sampling": 2}})
            assert await world.reload() not in IN_FORCE
            [rejected] = world.of(ConfigurationRejected)
            assert rejected.problems[0].path == "telemetry.otlp.sampling"
            assert exporter.is_tracing
            world.write(server=SERVER, auth=NONE)
            assert await world.reload() in IN_FORCE
            assert not exporter.is_tracing
            assert world.gateway.multiplexer.watcher is None


async def test_a_gateway_whose_collector_is_away_serves_and_stops_as_always(tmp_path):
    with collector() as there:
        gone = there.url
    telemetry = {"otlp": {"endpoint": gone, "interval": 1}}
    async with serving(tmp_path, auth=NONE, telemetry=telemetry) as world:
        assert await world.status() == 200
        await eventually(lambda: bool(world.of(TelemetryUndelivered)), "it is told of")
        assert await world.status() == 200
