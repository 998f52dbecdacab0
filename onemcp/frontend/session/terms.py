"""What is agreed on when a session is opened."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import attrs
from msgspec import Raw

from onemcp.frontend.streams import EventLog
from onemcp.multiplexer import View
from onemcp.telemetry import Attributes

OVER_HTTP: Final[Attributes] = {"network.transport": "tcp", "network.protocol.name": "http"}
OVER_PIPES: Final[Attributes] = {"network.transport": "pipe"}
"""How messages of a session come (OpenTelemetry, Recording MCP transport)."""


@attrs.frozen
class Deadlines:
    """When sessions end by themselves.

    Attributes:
        idle: After so many seconds without a request or an open stream.
        lifetime: After so many seconds altogether.
    """

    idle: float
    lifetime: float


@attrs.frozen
class Opening:
    """What a client says when it opens a session.

    Attributes:
        view: What it sees.
        principal: Who it is.
        revision: The revision agreed on.
        capabilities: Its capabilities, undecoded.
        client_info: Its name and version, undecoded, or None.
        outbox: The stream that everything goes to, where the client has no other.
        grant: What its rights come from.
    """

    view: View
    principal: str
    revision: str
    capabilities: Raw
    client_info: Raw | None
    outbox: EventLog | None = None
    grant: Hashable = None
