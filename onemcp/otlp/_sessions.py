"""How long sessions lasted.

Implements the metrics ``mcp.server.session.duration`` and ``mcp.client.session.duration`` of the
semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai, ``docs/gen-ai/mcp.md``,
Metrics). Only the legacy era has sessions.
"""

from __future__ import annotations

from typing import Final

from onemcp.telemetry import REVISION, Attributes, OfSession, SpanKind

from ._durations import ERROR, BothSides

_BOUNDED: Final = (REVISION, "network.transport", "network.protocol.name")
_TELLING: Final = (*_BOUNDED, ERROR, "server.address", "server.port", "onemcp.backend")
_ABOUT: Final[dict[SpanKind, str]] = {
    "server": "How long sessions lasted, as observed by the server.",
    "client": "How long sessions lasted, as observed by the client.",
}


class Sessions(BothSides):
    """Measures sessions by their ends."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__("session", _ABOUT, _TELLING, _BOUNDED)

    def over(self, session: OfSession) -> None:
        """Take note of a session that is over."""
        failed: Attributes = {} if session.failure is None else {ERROR: session.failure}
        known = {REVISION: session.revision, **session.way, **failed}
        self.observe(session.side, session.seconds, known)
