"""What is said between onemcp and a backend, for whoever looks for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from onemcp.protocol.framing import Oversized

from .duplex import Channel

Trace: TypeAlias = Callable[[str, bytes | str], object]
"""Takes who says something, `ONEMCP` or `SERVER`, and what; must not block or raise."""

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

    async def receive(self) -> list[bytes | Oversized]:
        """Wait for lines."""
        lines = await self.channel.receive()
        for line in lines:
            self.trace(SERVER, line if isinstance(line, bytes) else "[a line over the limit]")
        return lines
