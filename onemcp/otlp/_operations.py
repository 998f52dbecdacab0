"""How long requests took.

Implements the metrics ``mcp.server.operation.duration`` and ``mcp.client.operation.duration`` of
the semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai,
``docs/gen-ai/mcp.md``, Metrics). What is known of a request is what its span would tell, but for
what tells it from all others. There is no end to the names that tools may come to have, nor to the
codes of errors: once there are many series, others are told apart by little more than the method.
"""

from __future__ import annotations

from typing import Final

from onemcp.telemetry import Span, SpanKind

from ._durations import ERROR, BothSides

_BOUNDED: Final = ("mcp.method.name", "gen_ai.operation.name", "mcp.protocol.version")
_TELLING: Final = (
    *_BOUNDED,
    "gen_ai.tool.name",
    "gen_ai.prompt.name",
    ERROR,
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


class Operations(BothSides):
    """Measures requests by their spans."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__("operation", _ABOUT, _TELLING, _BOUNDED)

    def over(self, span: Span) -> None:
        """Take note of a request that is over."""
        self.observe(span.kind, span.seconds or 0.0, span.attributes)
