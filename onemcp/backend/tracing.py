"""What is said between onemcp and a backend, and where that is, for whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import attrs

from onemcp import config
from onemcp.protocol.framing import Oversized
from onemcp.telemetry import Attributes

from .duplex import Channel

Trace: TypeAlias = Callable[[str, bytes | str], object]
"""Takes who says something, `ONEMCP` or `SERVER`, and what; must not block or raise."""

_PORTS: Final = {"http": 80, "https": 443}

ONEMCP: Final = "onemcp"
SERVER: Final = "server"


@attrs.frozen
class TracedChannel:
    """A channel that tells what goes over it; see :class:`.duplex.Channel`.

    Attributes:
        channel: The channel.
        trace: Takes what goes over it.
    """

    channel: Channel
    trace: Trace

    async def send(self, lines: bytes) -> None:
        """Write whole lines."""
        self.trace(ONEMCP, lines)
        await self.channel.send(lines)

    def send_nowait(self, lines: bytes) -> bytes:
        """Write nothing: `send` tells of it."""
        return lines

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for lines."""
        lines = await self.channel.receive()
        for line in lines:
            self.trace(SERVER, line if isinstance(line, bytes) else "[a line over the limit]")
        return lines


def attributes_of(transport: config.Transport) -> Attributes:
    """Return what spans tell of the way to a backend (OpenTelemetry, Recording MCP transport)."""
    if isinstance(transport, config.StdioTransport):
        return {"network.transport": "pipe"}
    if transport.socket is not None:
        return {"network.transport": "unix", "server.address": str(transport.socket)}
    url = urlsplit(transport.url)
    return {
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "server.address": url.hostname or "",
        "server.port": url.port or _PORTS.get(url.scheme.lower(), 0),
    }
