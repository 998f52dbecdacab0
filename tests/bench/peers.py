"""The gateways that are measured, and how each is installed and run.

Each has an environment of its own in a folder that is kept, so that only the first run installs.
A peer that can't be had is said to be so, and left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from load import Address

START_SECONDS = 60.0
INSTALL_SECONDS = 600.0


class NotInstalled(Exception):
    """A peer that can't be had here."""


@dataclass(frozen=True)
class Running:
    """A running gateway.

    Attributes:
        pids: Its processes.
        address: Where it is called.
        transport: ``streamable`` or ``sse``.
        begun: When it was started.
    """

    pids: tuple[int, ...]
    address: Address
    transport: str = "streamable"
    begun: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Peer:
    """Another gateway.

    Attributes:
        name: What it is called in the tables.
        package: What is installed.
        kind: ``pip`` or ``npm``.
        program: What is run, as it is named once installed.
        arguments: Makes its arguments of the backend's command, a port, and a folder of its own.
        path: Where its MCP endpoint is.
        transport: ``streamable`` or ``sse``.
    """

    name: str
    package: str
    kind: str
    program: str
    arguments: Callable[[list[str], int, Path], list[str]]
    path: str = "/mcp"
    transport: str = "streamable"
    environment: Mapping[str, str] = field(default_factory=dict)

    def install(self, cache: Path) -> str:
        """Install it where it isn't, and return its version.

        Raises:
            NotInstalled: That doesn't work here.
        """
        folder = cache / f"{self.kind}-{self.package}"
        if not self._program(cache).exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                for command in self._installing(folder):
                    subprocess.run(
                        command,
                        check=True,
                        cwd=folder,
                        stdout=subprocess.DEVNULL,
                        timeout=INSTALL_SECONDS,
                    )
            except (OSError, subprocess.SubprocessError) as error:
                raise NotInstalled(str(error)) from error
        return self._version(folder)

    def _installing(self, folder: Path) -> list[list[str]]:
        if self.kind == "npm":
            return [["npm", "install", "--silent", "--no-audit", "--no-fund", self.package]]
        uv = shutil.which("uv")
        if uv is not None:
            make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, "."]
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", "."]
            return [make, [*install, self.package]]
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", self.package]
        return [[sys.executable, "-m", "venv", "."], pip]

    def _version(self, folder: Path) -> str:
        if self.kind == "npm":
            manifest = folder / "node_modules" / self.package / "package.json"
            return str(json.loads(manifest.read_text(encoding="utf-8"))["version"])
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        command = [str(folder / "bin" / "python"), "-c", code]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        return found.stdout.strip()

    def _program(self, cache: Path) -> Path:
        folder = cache / f"{self.kind}-{self.package}"
        inside = "bin" if self.kind == "pip" else "node_modules/.bin"
        return folder / inside / self.program

    @contextmanager
    def running(self, cache: Path, backend: list[str], folder: Path) -> Iterator[Running]:
        """Run it in front of a backend."""
        port = free_port()
        program = self._program(cache).resolve()
        interpreter = ["node"] if self.kind == "npm" else []
        command = [*interpreter, str(program), *self.arguments(backend, port, folder)]
        environment = {**os.environ, **self.environment, "HOME": str(folder)}
        begun = time.perf_counter()
        with subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield Running((process.pid,), Address(port, self.path), self.transport, begun)
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configured(backend: list[str], folder: Path) -> str:
    path = folder / "mcp.json"
    servers = {"bench": {"command": backend[0], "args": backend[1:]}}
    path.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    return str(path)


def _fastmcp(backend: list[str], port: int, folder: Path) -> list[str]:
    config = _configured(backend, folder)
    options = ["--no-banner", "--log-level", "ERROR"]
    return ["run", config, "--transport", "http", "--port", str(port), *options]


def _python_mcp_proxy(backend: list[str], port: int, folder: Path) -> list[str]:
    del folder
    return ["--port", str(port), "--log-level", "ERROR", "--", *backend]


def _npm_mcp_proxy(backend: list[str], port: int, folder: Path) -> list[str]:
    del folder
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [*where, "--server", "stream", "--", *backend]


def _supergateway(backend: list[str], port: int, folder: Path) -> list[str]:
    del folder
    transport = ["--outputTransport", "streamableHttp", "--stateful", "--logLevel", "none"]
    return ["--stdio", " ".join(backend), *transport, "--port", str(port)]


def _mcp_hub(backend: list[str], port: int, folder: Path) -> list[str]:
    return ["--port", str(port), "--config", _configured(backend, folder)]


PEERS = (
    Peer("FastMCP proxy", "fastmcp", "pip", "fastmcp", _fastmcp),
    Peer("mcp-proxy (PyPI)", "mcp-proxy", "pip", "mcp-proxy", _python_mcp_proxy),
    Peer("mcp-proxy (npm)", "mcp-proxy", "npm", "mcp-proxy", _npm_mcp_proxy),
    Peer("supergateway", "supergateway", "npm", "supergateway", _supergateway),
    Peer("mcp-hub", "mcp-hub", "npm", "mcp-hub", _mcp_hub, transport="sse"),
)
"""Those that are installed and measured."""


@contextmanager
def onemcp(
    servers: Mapping[str, object], folder: Path, *, mode: str | None = None
) -> Iterator[Running]:
    """Run onemcp in front of some backends, with its own authentication unless told otherwise."""
    settings: dict[str, object] = {
        "mcpServers": dict(servers),
        "log": {"level": "error"},
        "limits": {"sessions": 20_000, "notificationsPerPrincipal": 100_000},
    }
    if mode is not None:
        settings["auth"] = {"mode": mode}
    config = folder / "onemcp.json"
    config.write_text(json.dumps(settings), encoding="utf-8")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    program = [sys.executable, "-m", "onemcp"]
    headers = {}
    if mode != "none":
        token = subprocess.run(
            [*program, "token"], env=environment, check=True, capture_output=True, text=True
        )
        headers = {"Authorization": f"Bearer {token.stdout.strip()}"}
    command = [*program, "run", "--config", str(config), "--port", "0"]
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = None
            while found is None:
                line = process.stdout.readline()
                assert line, "onemcp did not start"
                found = re.search(r"http://127\.0\.0\.1:(\d+)/mcp", line)
            address = Address(int(found[1]), headers=headers)
            yield Running((process.pid,), address, begun=begun)
        finally:
            process.terminate()
