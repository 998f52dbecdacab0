"""How long requests take, as other servers and clients of MCP measure it.

Implements the metrics ``mcp.server.operation.duration`` and ``mcp.client.operation.duration`` of
the semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai,
``docs/gen-ai/mcp.md``, Metrics). What is known of a request is what its span would tell, but for
what tells it from all others. There is no end to the names that tools may come to have, nor to the
codes of errors: once there are many series, others are told apart by little more than the method.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from onemcp.telemetry import Family, Histogram, Sample, Span, SpanKind

SECONDS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
)  # fmt: skip
"""Bounds of durations, in seconds, as the conventions have them."""

MOST: Final = 1000
"""How many series there are before others are put together."""

OTHER_ERROR: Final = "_OTHER"
"""Stands for every error where errors are put together (OpenTelemetry, ``error.type``)."""

_ERROR: Final = "error.type"
_BOUNDED: Final = ("mcp.method.name", "gen_ai.operation.name", "mcp.protocol.version")
_TELLING: Final = (
    *_BOUNDED,
    "gen_ai.tool.name",
    "gen_ai.prompt.name",
    _ERROR,
    "rpc.response.status_code",
    "network.transport",
    "network.protocol.name",
    "server.address",
    "server.port",
    "onemcp.backend",
)
_ABOUT: Final[dict[SpanKind, str]] = {
    "server": "How long requests took, as observed by who was asked.",
    "client": "How long requests took, as observed by who has asked.",
}

_Series: TypeAlias = tuple[tuple[str, str | int], ...]


class Operations:
    """Measures requests by their spans."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seen: dict[SpanKind, dict[_Series, Histogram]] = {"server": {}, "client": {}}

    def over(self, span: Span) -> None:
        """Take note of a request that is over."""
        seen, series = self._seen[span.kind], _told(span, _TELLING)
        if series not in seen and len(seen) >= MOST:
            failed = () if span.failure is None else ((_ERROR, OTHER_ERROR),)
            series = _told(span, _BOUNDED) + failed
        found = seen.get(series)
        if found is None:
            found = seen[series] = Histogram(SECONDS)
        found.observe(span.seconds or 0.0)

    def families(self) -> Iterator[Family]:
        """Return what was measured."""
        for kind, seen in self._seen.items():
            samples = [Sample(each, dict(series)) for series, each in seen.items()]
            if samples:
                name = f"mcp.{kind}.operation.duration"
                yield Family(name, _ABOUT[kind], "histogram", samples)

    def __repr__(self) -> str:
        return f"<Operations series={sum(map(len, self._seen.values()))}>"


def _told(span: Span, keys: tuple[str, ...]) -> _Series:
    return tuple((key, span.attributes[key]) for key in keys if key in span.attributes)
