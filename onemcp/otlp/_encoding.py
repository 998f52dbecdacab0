"""Spans and metrics as messages of OTLP (opentelemetry-proto 1.x)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from onemcp.config import Signal
from onemcp.telemetry import Attributes, Family, Histogram, Sample, Span, scrub_text

NANOSECONDS: Final = 1_000_000_000
LONGEST_WORDS: Final = 200
"""How much is told of what a collector says, in characters."""

_KINDS: Final = {
    "server": trace_pb2.Span.SpanKind.SPAN_KIND_SERVER,
    "client": trace_pb2.Span.SpanKind.SPAN_KIND_CLIENT,
}
_CUMULATIVE: Final = metrics_pb2.AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_UNITS: Final = {"seconds": "s", "duration": "s", "bytes": "By"}
_REMOTE: Final = (
    trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    | trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
)
_LOCAL: Final = trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK


@attrs.frozen
class Refusal:
    """What a collector has not taken of something (Partial Success).

    Attributes:
        count: How many spans or points.
        reason: Why, in its own words.
    """

    count: int
    reason: str


@attrs.frozen
class Sent:
    """Who sends, as every message says it.

    Attributes:
        resource: What is told of the gateway.
        version: The version of the program.
    """

    resource: Mapping[str, str]
    version: str

    def traces(self, spans: Iterable[trace_pb2.Span]) -> bytes:
        """Return the message that exports spans."""
        request = ExportTraceServiceRequest()
        of_resource = request.resource_spans.add(resource=self._resource())
        of_resource.scope_spans.add(scope=self._scope(), spans=spans)
        return request.SerializeToString()

    def metrics(self, metrics: Iterable[metrics_pb2.Metric]) -> bytes:
        """Return the message that exports metrics."""
        request = ExportMetricsServiceRequest()
        of_resource = request.resource_metrics.add(resource=self._resource())
        of_resource.scope_metrics.add(scope=self._scope(), metrics=metrics)
        return request.SerializeToString()

    def _resource(self) -> Resource:
        return Resource(attributes=_attributes(self.resource))

    def _scope(self) -> InstrumentationScope:
        return InstrumentationScope(name="onemcp", version=self.version)


def encode_span(span: Span) -> trace_pb2.Span:
    """Return a span that is over, and part of a trace, as OTLP has it."""
    context = span.context
    assert context is not None  # noqa: S101  (for mypy)
    flags = context.flags | (_REMOTE if span.has_remote_parent else _LOCAL)
    encoded = trace_pb2.Span(
        trace_id=bytes.fromhex(context.trace_id),
        span_id=bytes.fromhex(context.span_id),
        parent_span_id=bytes.fromhex(span.parent_id or ""),
        trace_state=context.state,
        flags=flags,
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.started,
        end_time_unix_nano=span.started + int((span.seconds or 0.0) * NANOSECONDS),
        attributes=_attributes(span.attributes),
    )
    if span.failure is not None:
        encoded.status.code = trace_pb2.Status.StatusCode.STATUS_CODE_ERROR
    return encoded


def encode_family(family: Family, begun: int, now: int) -> metrics_pb2.Metric:
    """Return a family of metrics as OTLP has it.

    Args:
        family: The family.
        begun: Since when its counters count, in nanoseconds since the epoch.
        now: When it was looked at.
    """
    metric = metrics_pb2.Metric(
        name=family.name, description=family.help, unit=_unit_of(family.name)
    )
    for sample in family.samples:
        if isinstance(sample.value, Histogram):
            metric.histogram.aggregation_temporality = _CUMULATIVE
            metric.histogram.data_points.append(_distribution(sample, sample.value, begun, now))
            continue
        point = metrics_pb2.NumberDataPoint(
            time_unix_nano=now, attributes=_attributes(sample.labels), as_double=sample.value
        )
        if family.kind == "counter":
            metric.sum.aggregation_temporality = _CUMULATIVE
            metric.sum.is_monotonic = True
            point.start_time_unix_nano = begun
            metric.sum.data_points.append(point)
        else:
            metric.gauge.data_points.append(point)
    return metric


def read_answer(signal: Signal, body: bytes) -> Refusal | None:
    """Read what a collector says to a request that it has taken."""
    try:
        if signal == "traces":
            of_spans = ExportTraceServiceResponse.FromString(body).partial_success
            count, said = of_spans.rejected_spans, of_spans.error_message
        else:
            of_points = ExportMetricsServiceResponse.FromString(body).partial_success
            count, said = of_points.rejected_data_points, of_points.error_message
    except DecodeError:
        return None  # it has taken it, whatever it says
    return Refusal(count, scrub_text(said[:LONGEST_WORDS])) if count or said else None


def _distribution(
    sample: Sample, histogram: Histogram, begun: int, now: int
) -> metrics_pb2.HistogramDataPoint:
    return metrics_pb2.HistogramDataPoint(
        start_time_unix_nano=begun,
        time_unix_nano=now,
        attributes=_attributes(sample.labels),
        count=sum(histogram.counts),
        sum=histogram.total,
        bucket_counts=histogram.counts,
        explicit_bounds=histogram.bounds,
    )


def _attributes(values: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in values.items()]


def _value(value: str | int) -> AnyValue:
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(string_value=value.encode(errors="replace").decode())


def _unit_of(name: str) -> str:
    """Return the unit that a name ends in (UCUM), as OpenTelemetry writes units."""
    return _UNITS.get(name.removesuffix("_total").replace(".", "_").rpartition("_")[2], "")
