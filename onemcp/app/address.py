"""Where to listen, as the configuration and the command line say."""

from __future__ import annotations

import socket
from typing import Final

import attrs

from onemcp.config import Configuration


@attrs.frozen
class Address:
    """Where to listen.

    Attributes:
        host: The address or name.
        port: The port; 0 chooses a free one.
    """

    host: str
    port: int


@attrs.frozen
class Overrides:
    """What is said about the address elsewhere, whatever the configuration says.

    Attributes:
        host: The address or name, or None; from the command line.
        port: The port, or None; from there too.
        listener: A socket that listens already, or None; from the service manager.
    """

    host: str | None = None
    port: int | None = None
    listener: socket.socket | None = None

    def address(self, configuration: Configuration) -> Address:
        """Return where to listen."""
        server = configuration.server
        return Address(self.host or server.host, server.port if self.port is None else self.port)


NO_OVERRIDES: Final = Overrides()
