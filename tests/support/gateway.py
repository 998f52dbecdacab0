"""Run onemcp as a process, as users do: a configuration file, a state directory, a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.processes import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.processes import Server

TOKEN_TIMEOUT = 30
"""Seconds to issue a token; the first one makes the keys."""
ONEMCP = (sys.executable, "-m", "onemcp")


@dataclass(frozen=True)
class GatewayProcess:
    """A running onemcp.

    Attributes:
        server: Its process and its endpoint.
        config: Its configuration file, which it watches.
        token: What it lets clients in with.
    """

    server: Server
    config: Path
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def url(self, backend: str | None = None) -> str:
        """Return the endpoint of everything, or of one backend."""
        return self.server.url if backend is None else f"{self.server.url}/{backend}"

    def configure(self, servers: Mapping[str, Any], **options: Any) -> None:
        """Put another configuration in the place of the present one, atomically."""
        _write(self.config, servers, options)


@contextmanager
def gateway(folder: Path, servers: Mapping[str, Any], **options: Any) -> Iterator[GatewayProcess]:
    """Run onemcp with some backends for as long as the block runs.

    Args:
        folder: An empty folder for its configuration and its state.
        servers: The `mcpServers` of its configuration.
        options: The other sections of its configuration.
    """
    config = folder / "onemcp.json"
    _write(config, servers, options)
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    token = subprocess.run(
        [*ONEMCP, "token"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=TOKEN_TIMEOUT,
    ).stdout.strip()
    command = [*ONEMCP, "run", "--config", str(config), "--port", "0"]
    with serving(command, environment=environment) as server:
        yield GatewayProcess(server, config, token)


def _write(path: Path, servers: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"mcpServers": servers, **options}))
    new.replace(path)
