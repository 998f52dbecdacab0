"""How long sessions lasted.

Implements the metrics ``mcp.server.session.duration`` and ``mcp.client.session.duration`` of the
semantic conventions of OpenTelemetry for MCP (semantic-conventions-genai, ``docs/gen-ai/mcp.md``,
Metrics). Only the legacy era has sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from onemcp.telemetry import REVISION, Attributes, Family, OfSession, SpanKind

from ._durations import ERROR, Durations

_BOUNDED: Final = (REVISION, "network.transport", "network.protocol.name")
_TELLING: Final = (*_BOUNDED, ERROR, "server.address", "server.port", "onemcp.backend")
_ABOUT: Final[dict[SpanKind, str]] = {
    "server": "How long sessions lasted, as observed by the server.",
    "client": "How long sessions lasted, as observed by the client.",
}


class Sessions:
    """Measures sessions by their ends."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._durations = {
            side: Durations(f"mcp.{side}.session.duration", about, _TELLING, _BOUNDED)
            for side, about in _ABOUT.items()
        }

    def over(self, session: OfSession) -> None:
        """Take note of a session that is over."""
        failed: Attributes = {} if session.failure is None else {ERROR: session.failure}
        known = {REVISION: session.revision, **session.way, **failed}
        self._durations[session.side].observe(session.seconds, known)

    def families(self) -> Iterator[Family]:
        """Return what was measured."""
        for durations in self._durations.values():
            yield from durations.families()

    def __repr__(self) -> str:
        return f"<Sessions series={sum(map(len, self._durations.values()))}>"
