"""What becomes of spans and metrics on their way to a collector that is not always there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest
import trio
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from trio.testing import MockClock

from onemcp.backend import BackendSessionEnded
from onemcp.config import Otlp
from onemcp.frontend import SessionEnded
from onemcp.otlp import Exporter, SpansLost, TelemetryDelivered, TelemetryUndelivered
from onemcp.otlp._durations import MOST as OPERATIONS
from onemcp.otlp._queue import BATCH
from onemcp.otlp._sender import LONGEST_PAUSE, Sender
from onemcp.otlp._sending import LINGER, PATIENCE, Sending
from onemcp.protocol.errors import RequestCancelled
from onemcp.telemetry import Family, Histogram, Sample, Span
from tests.otlp.collector import FakeCollector, collector, plain
from tests.support.eventually import eventually

TRACES = Otlp(signals=("traces",), endpoint="http://collector")
METRICS = Otlp(signals=("metrics",), endpoint="http://collector", interval=10.0)
DOWN = httpx.ConnectError("refused")
KINDS = ("server", "client")


def answered(status: int, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, headers=named, content=b"")


class World:
    """An exporter, and what it reports."""

    def __init__(self, *families: Family) -> None:
        self.events: list[Any] = []
        self.families = list(families)
        self.exporter = Exporter(self.look, "1.2.3", self.events.append)

    async def look(self) -> list[Family]:
        await trio.lowlevel.checkpoint()
        return self.families

    def end_spans(self, count: int = 1, name: str = "tools/call") -> None:
        tracer = self.exporter.tracer
        for _ in range(count):
            about: dict[str, str | int] = {"mcp.method.name": name}
            Span(name, "tools/call", tracer.begin(None), None, about, tracer=tracer).end()

    def counted(self, family: str = "onemcp_telemetry_spans_total") -> dict[str, float]:
        [found] = [each for each in self.exporter.families() if each.name == family]
        return {each.labels["outcome"]: each.value for each in found.samples}  # type: ignore[misc]


@contextlib.asynccontextmanager
async def sending(
    world: World, settings: Otlp, transport: FakeCollector
) -> AsyncIterator[trio.Event]:
    """Send through a transport, as long as the block runs."""
    world.exporter.reconfigure(settings)
    changed = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Sending(world.exporter, settings, Sender(settings, transport)).run, changed
        )
        await trio.testing.wait_all_tasks_blocked()
        yield changed
        changed.set()


async def test_spans_are_sent_together_after_a_moment(autojump_clock: MockClock):
    world, there = World(), FakeCollector()
    async with sending(world, TRACES, there):
        world.end_spans(2)
        await trio.sleep(LINGER / 2)
        assert not there.received
        await trio.sleep(LINGER)
        [received] = there.received
        assert received.path == "/v1/traces"
        assert len(there.spans) == 2
        assert received.resource.items() >= {
            "service.name": "onemcp", "service.version": "1.2.3",
        }.items()  # fmt: skip
        world.end_spans(BATCH)
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert len(there.received) == 2  # a whole batch does not wait
    assert world.counted()["exported"] == len(there.spans) == 2 + BATCH


async def test_a_span_arrives_as_it_was(autojump_clock: MockClock):
    world, there = World(), FakeCollector()
    before = time.time_ns()
    async with sending(world, TRACES, there):
        tracer = world.exporter.tracer
        context = tracer.begin(None)
        about: dict[str, str | int] = {"mcp.method.name": "tools/call", "server.port": 80}
        outer = Span(
            "tools/call t",
            "tools/call",
            context,
            "00f067aa0ba902b7",
            about,
            has_remote_parent=True,
            tracer=tracer,
        )
        inner = outer.to_backend("tools/call", {}, {"onemcp.backend": "b\ud800"})
        inner.end()
        outer.fail(RequestCancelled)
        outer.end()  # once is enough
        await trio.sleep(2 * LINGER)
    client, server = there.spans
    assert (server.name, server.kind, client.kind) == ("tools/call t", 2, 3)
    assert server.trace_id == client.trace_id == bytes.fromhex(context.trace_id)
    assert server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert client.parent_span_id == server.span_id
    assert plain(server.attributes) == {**about, "error.type": "cancelled"}
    assert plain(client.attributes)["onemcp.backend"] == "b?"
    assert (server.status.code, client.status.code) == (2, 0)
    assert before <= server.start_time_unix_nano <= client.start_time_unix_nano
    assert client.end_time_unix_nano <= server.end_time_unix_nano
    assert server.flags & 0x300 == 0x300  # its parent is elsewhere
    assert client.flags & 0x300 == 0x100


async def test_requests_are_measured_by_their_spans(autojump_clock: MockClock):
    world, there = World(), FakeCollector()
    async with sending(world, METRICS, there):
        tracer = world.exporter.tracer
        assert tracer.take is None
        for number in range(OPERATIONS + 10):
            told = {"mcp.method.name": "tools/call", "gen_ai.tool.name": f"t{number}"}
            span = Span("tools/call", "tools/call", None, None, told, tracer=tracer)
            span.to_backend("tools/list", {}, {"server.port": 80}).end()
            span.end("cancelled" if number % 2 else None)
        await trio.sleep(METRICS.interval + 1)
    served, asked = (there.metrics[f"mcp.{kind}.operation.duration"] for kind in KINDS)
    assert (served.unit, asked.unit) == ("s", "s")
    [point] = asked.histogram.data_points
    assert plain(point.attributes) == {"mcp.method.name": "tools/list", "server.port": 80}
    assert point.count == OPERATIONS + 10
    assert list(point.explicit_bounds) == [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300,
    ]  # fmt: skip
    points = served.histogram.data_points
    assert len(points) == OPERATIONS + 2  # what is beyond is told apart by little
    assert [(plain(each.attributes), each.count) for each in points[OPERATIONS:]] == [
        ({"mcp.method.name": "tools/call"}, 5),
        ({"mcp.method.name": "tools/call", "error.type": "_OTHER"}, 5),
    ]


def client_session(seconds: float = 1.0, **about: Any) -> SessionEnded:
    way = {"network.transport": "tcp", "network.protocol.name": "http"}
    return SessionEnded("ann", "s", revision="2025-06-18", seconds=seconds, way=way, **about)


def backend_session(backend: str = "b", **about: Any) -> BackendSessionEnded:
    way = {"network.transport": "pipe", "onemcp.backend": backend}
    return BackendSessionEnded(backend, revision="2025-11-25", seconds=0.1, way=way, **about)


async def test_sessions_are_measured_by_their_ends(autojump_clock: MockClock):
    world, there = World(), FakeCollector()
    async with sending(world, METRICS, there):
        await trio.sleep(METRICS.interval + 1)
        assert not any("session" in name for name in there.metrics)
        world.exporter.happened("anything else")
        for seconds in (0.5, 3600.0):
            world.exporter.happened(client_session(seconds))
        world.exporter.happened(backend_session(failure="connection_lost"))
        await trio.sleep(METRICS.interval)
    served, asked = (there.metrics[f"mcp.{kind}.session.duration"] for kind in KINDS)
    assert (served.unit, asked.unit) == ("s", "s")
    [point] = served.histogram.data_points
    assert plain(point.attributes) == {
        "mcp.protocol.version": "2025-06-18",
        "network.transport": "tcp",
        "network.protocol.name": "http",
    }
    assert (point.count, point.sum, point.bucket_counts[-1]) == (2, 3600.5, 1)
    [point] = asked.histogram.data_points
    assert plain(point.attributes) == {
        "mcp.protocol.version": "2025-11-25",
        "network.transport": "pipe",
        "onemcp.backend": "b",
        "error.type": "connection_lost",
    }


def test_sessions_of_ever_new_backends_are_put_together():
    exporter = World().exporter
    for number in range(OPERATIONS + 5):
        exporter.happened(backend_session(f"b{number}"))
    [family] = exporter.sessions.families()
    *_, last = family.samples
    assert dict(last.labels) == {
        "mcp.protocol.version": "2025-11-25",
        "network.transport": "pipe",
    }
    assert isinstance(last.value, Histogram)
    assert sum(last.value.counts) == 5
    assert repr(exporter.sessions) == f"<Sessions series={OPERATIONS + 1}>"


async def test_a_collector_that_is_away_costs_no_more_than_the_queue(autojump_clock: MockClock):
    settings = Otlp(signals=("traces",), queue=10)
    world, there = World(), FakeCollector(*[DOWN] * 50)
    async with sending(world, settings, there):
        world.end_spans(4)
        await trio.sleep(LINGER + 0.1)
        world.end_spans(25)  # these wait behind them
        assert world.counted()["dropped"] == 15
        await trio.sleep(LINGER + PATIENCE)
        assert world.counted()["undelivered"] == 4
        there.answers.clear()
        await trio.sleep(PATIENCE)
        world.end_spans()
        await trio.sleep(2 * LINGER)
    pauses = [later - before for before, later in zip(there.times, there.times[1:], strict=False)]
    assert all(0.5 <= pause <= LONGEST_PAUSE for pause in pauses[:4])
    assert pauses[3] > pauses[0]
    assert world.counted()["exported"] == 11
    troubles = [event for event in world.events if isinstance(event, TelemetryUndelivered)]
    assert [(each.signal, each.reason) for each in troubles] == [
        ("traces", "it can't be reached: ConnectError")
    ]
    assert world.events[-1] == TelemetryDelivered("traces")


@pytest.mark.parametrize("date", [False, True])
async def test_a_collector_that_wants_to_be_left_alone_is(autojump_clock: MockClock, date):
    wish = formatdate(time.time() + 21, usegmt=True) if date else "20"
    world = World()
    there = FakeCollector(answered(429, retry_after=wish), answered(503, retry_after="nonsense"))
    async with sending(world, TRACES, there):
        world.end_spans()
        await trio.sleep(LINGER + 30)
    first, second, third = there.times
    assert 18 <= second - first <= 21
    assert third - second <= 2
    assert world.counted()["exported"] == 1
    assert [event.reason for event in world.events[:1]] == ["it answers 429"]


async def test_a_collector_that_refuses_is_not_asked_again(autojump_clock: MockClock):
    world, there = World(), FakeCollector(answered(400))
    async with sending(world, TRACES, there):
        world.end_spans(3)
        await trio.sleep(2 * LINGER)
    assert len(there.times) == 1
    assert world.counted()["rejected"] == 3
    assert world.events == [TelemetryUndelivered("traces", "it answers 400")]


async def test_what_is_taken_in_part_is_counted_so(autojump_clock: MockClock):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too\nold token=hunter2 " + "x" * 1000
    answers = [httpx.Response(200, content=answer.SerializeToString()), answered(200)]
    world, there = World(), FakeCollector(*answers, httpx.Response(200, content=b"\xff"))
    async with sending(world, TRACES, there):
        for _ in range(3):
            world.end_spans(3)
            await trio.sleep(2 * LINGER)
    assert world.counted() == {"exported": 7, "rejected": 2, "undelivered": 0, "dropped": 0}
    [trouble, better] = world.events
    assert "2 are refused: too" in trouble.reason
    assert "hunter2" not in trouble.reason
    assert len(trouble.reason) < 300
    assert better == TelemetryDelivered("traces")


async def test_a_collector_that_never_answers_is_given_up(autojump_clock: MockClock):
    world, there = World(), FakeCollector(trio.Event())
    async with sending(world, TRACES, there):
        world.end_spans()
        await trio.sleep(LINGER + TRACES.timeout + 2)
    assert len(there.times) == 2
    assert world.events[0].reason == "no answer within 10 s"
    assert world.counted()["exported"] == 1


@pytest.mark.parametrize("ends", ["changed", "cancelled"])
async def test_what_is_left_at_the_end_is_sent(autojump_clock: MockClock, ends):
    world, there = World(), FakeCollector()
    with trio.CancelScope() as scope:
        async with sending(world, TRACES, there):
            world.end_spans(3)
            if ends == "cancelled":
                scope.cancel()
    assert len(there.spans) == 3


async def test_the_last_try_takes_no_longer_than_the_gateway_has(autojump_clock: MockClock):
    world, there = World(), FakeCollector(trio.Event())
    begun = trio.current_time()
    with trio.CancelScope() as scope:
        async with sending(world, TRACES, there):
            world.end_spans(3)
            world.exporter.flush = 1.5
            scope.cancel()
    assert trio.current_time() - begun <= 1.6
    assert len(world.exporter.queue) == 3  # as the exporter itself reports


async def test_metrics_are_the_same_as_those_for_prometheus(autojump_clock: MockClock):
    lag = Histogram((0.1, 1.0))
    for value in (0.05, 0.5, 5.0):
        lag.observe(value)
    families = [
        Family("onemcp_things_total", "Things.", "counter", [Sample(3, {"kind": "a"})]),
        Family("onemcp_cpu_seconds_total", "Time.", "counter", [Sample(1.5)]),
        Family.single("onemcp_memory_bytes", "Memory.", 7),
        Family("onemcp_lag_seconds", "Lag.", "histogram", [Sample(lag, {"b": "x"})]),
    ]
    world, there = World(*families), FakeCollector()
    async with sending(world, METRICS, there):
        await trio.sleep(25)
        assert [each.path for each in there.received] == ["/v1/metrics"] * 2
    found = there.metrics
    assert list(found) == [family.name for family in families]
    assert {name: metric.unit for name, metric in found.items()} == {
        "onemcp_things_total": "",
        "onemcp_cpu_seconds_total": "s",
        "onemcp_memory_bytes": "By",
        "onemcp_lag_seconds": "s",
    }
    things = found["onemcp_things_total"]
    assert things.description == "Things."
    assert things.sum.is_monotonic
    assert things.sum.aggregation_temporality == 2
    [point] = things.sum.data_points
    assert (point.as_double, plain(point.attributes)) == (3, {"kind": "a"})
    assert point.start_time_unix_nano == world.exporter.begun <= point.time_unix_nano
    [point] = found["onemcp_memory_bytes"].gauge.data_points
    assert point.as_double == 7
    [point] = found["onemcp_lag_seconds"].histogram.data_points
    assert list(point.explicit_bounds) == [0.1, 1.0]
    assert list(point.bucket_counts) == [1, 1, 1]
    assert (point.count, point.sum) == (3, 5.55)


async def test_metrics_that_come_too_late_are_given_up_for_new_ones(autojump_clock: MockClock):
    answer = ExportMetricsServiceResponse()
    answer.partial_success.rejected_data_points = 1
    refusal = httpx.Response(200, content=answer.SerializeToString())
    world, there = World(), FakeCollector(*[DOWN] * 4, refusal)
    async with sending(world, METRICS, there):
        await trio.sleep(50)
    assert world.counted("onemcp_telemetry_exports_total")["failed"] == 4
    assert world.counted("onemcp_telemetry_exports_total")["delivered"] >= 2
    assert world.events[0] == TelemetryUndelivered("metrics", "it can't be reached: ConnectError")
    assert world.events[-1] == TelemetryDelivered("metrics")


def test_what_is_off_costs_and_says_nothing():
    world = World()
    assert world.exporter.tracer.take is None
    assert list(world.exporter.families()) == []
    world.exporter.reconfigure(TRACES)
    assert world.exporter.tracer.take is not None
    world.exporter.reconfigure(METRICS)
    assert world.exporter.tracer.take is None


async def test_a_real_collector_gets_everything_with_its_headers():
    world = World(Family.single("onemcp_ready", "Ready.", 1))
    with collector() as there, trio.fail_after(20):
        settings = Otlp(
            endpoint=there.url,
            headers={"Api-Key": "s3cret"},
            compression="gzip",
            resource={"deployment.environment.name": "test"},
        )
        async with trio.open_nursery() as nursery:
            world.exporter.reconfigure(settings)
            await nursery.start(world.exporter.run)
            world.end_spans(BATCH)
            await eventually(lambda: bool(there.spans), "spans arrive")
            world.end_spans(3)
            nursery.cancel_scope.cancel()
        assert len(there.spans) == BATCH + 3
        assert set(there.metrics) == {"onemcp_ready", "mcp.server.operation.duration"}
        for received in there.received:
            assert received.headers["api-key"] == "s3cret"
            assert received.headers["content-encoding"] == "gzip"
            assert received.resource["deployment.environment.name"] == "test"
    assert "s3cret" not in repr(settings)


async def test_a_real_collector_that_resets_or_is_gone_loses_spans_and_nothing_else():
    world = World()
    with collector() as there, trio.fail_after(20):
        there.manners = "resets"
        settings = Otlp(endpoint=there.url, signals=("traces",))
        async with trio.open_nursery() as nursery:
            world.exporter.reconfigure(settings)
            await nursery.start(world.exporter.run)
            world.end_spans(BATCH)
            await eventually(lambda: bool(world.events), "it is noticed")
            world.exporter.reconfigure(None)  # one last try, and then they are given up
            await eventually(lambda: len(world.events) == 2, "they are given up")
            nursery.cancel_scope.cancel()
    undelivered, lost = world.events
    assert undelivered.reason.startswith("it can't be reached")
    assert lost == SpansLost(BATCH)
