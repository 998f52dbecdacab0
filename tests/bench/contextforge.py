"""ContextForge, which has to be told of its backends while it runs.

Its backend is reached over HTTP: by the bridge to stdio that comes with it, calls in flight
together got each other's answers when this was written, which the check of every answer refuses.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from load import Address
from peers import START_SECONDS, NotInstalled, Peer, Running
from processes import http_backend

ADMINISTRATOR = "admin@example.com"


@dataclass(frozen=True)
class ContextForge(Peer):
    """A peer that is set up over its own API."""

    @contextmanager
    def running(self, cache: Path, backend: list[str], folder: Path) -> Iterator[Running]:
        """Run it in front of a backend."""
        settings = _settings(folder)
        token = self._token(cache, settings)
        gateway = replace(self, environment=settings)
        with http_backend() as url, Peer.running(gateway, cache, backend, folder) as started:
            headers = {"Authorization": f"Bearer {token}"}
            _register(started.address.port, headers, url)
            yield replace(started, address=Address(started.address.port, "/mcp/", headers))

    def _token(self, cache: Path, settings: dict[str, str]) -> str:
        python = cache / f"{self.kind}-{self.package}" / "bin" / "python"
        options = ["--username", ADMINISTRATOR, "--admin", "--exp", "600"]
        command = [python, "-m", "mcpgateway.utils.create_jwt_token", *options]
        environment = {**os.environ, **settings}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if made.returncode:
            raise NotInstalled("it made no token")
        return made.stdout.split()[-1]


def _settings(folder: Path) -> dict[str, str]:
    """Return what it needs to start, with nothing on that a call doesn't need."""
    password = f"Xy1!{secrets.token_hex(16)}"
    off = ("MCPGATEWAY_UI_ENABLED", "MCPGATEWAY_ADMIN_API_ENABLED", "PLUGINS_ENABLED")
    return {
        "AUTH_ENCRYPTION_SECRET": f"Ab!{secrets.token_hex(24)}",
        "BASIC_AUTH_PASSWORD": password,
        "CACHE_TYPE": "memory",
        "DATABASE_URL": f"sqlite:///{folder / 'contextforge.db'}",
        "DEFAULT_USER_PASSWORD": password,
        "ENVIRONMENT": "development",
        "JWT_SECRET_KEY": f"Xy!{secrets.token_hex(24)}",
        "LOG_LEVEL": "ERROR",
        "PLATFORM_ADMIN_EMAIL": ADMINISTRATOR,
        "PLATFORM_ADMIN_PASSWORD": password,
        "RATE_LIMITING_ENABLED": "false",
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        **dict.fromkeys(off, "false"),
    }


def _register(port: int, headers: dict[str, str], url: str) -> None:
    """Tell it of the backend, once it has made its database.

    Raises:
        NotInstalled: It takes none.
    """
    body = json.dumps({"name": "bench", "url": url, "transport": "STREAMABLEHTTP"})
    latest = time.perf_counter() + START_SECONDS
    while time.perf_counter() < latest:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
        try:
            connection.request(
                "POST", "/gateways", body, {**headers, "Content-Type": "application/json"}
            )
            if connection.getresponse().status in {200, 201}:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise NotInstalled("it took no backend")


CONTEXTFORGE = ContextForge(
    "ContextForge",
    "mcp-contextforge-gateway",
    "pip",
    "mcpgateway",
    lambda _backend, port, _folder: ["--host", "127.0.0.1", "--port", str(port)],
)
