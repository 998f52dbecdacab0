"""Start a gateway, onemcp or any other that reads ``mcpServers`` from a JSON file, and find it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.faults.wire import Client, WireError, connect
from tests.support.process_tree import alive, marked

BACKEND = Path(__file__).with_name("backend.py")
MARKER = "FAULTS_RUN"
START = 60.0
"""Seconds until a gateway must answer."""


def backend(label: str, mode: str = "steady") -> dict[str, Any]:
    """Return the settings of a backend."""
    return {"command": sys.executable, "args": ["-S", "-E", str(BACKEND), label, mode]}


@dataclass(frozen=True)
class Kind:
    """A gateway that can be measured.

    Attributes:
        command: What starts it; ``{config}`` and ``{port}`` are filled in.
        path: Where it serves streamable HTTP.
        headers: What its clients have to send.
        is_onemcp: Whether settings that only onemcp knows may stand in the configuration.
    """

    command: str
    path: str = "/mcp"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_onemcp: bool = False


@dataclass
class Gateway:
    """A running gateway.

    Attributes:
        kind: What it is.
        pid: Its process.
        port: Where it listens on loopback.
        headers: What its clients have to send.
        config: Its configuration file.
        marker: What the environment of its backends carries.
    """

    kind: Kind
    pid: int
    port: int
    headers: dict[str, str]
    config: Path
    marker: str

    async def client(self) -> Client:
        """Open a session."""
        return await connect(self.port, self.kind.path, self.headers)

    def rewrite(self, servers: Mapping[str, Any], **settings: Any) -> None:
        """Change the configuration, as editors do: a new file takes the place of the old."""
        write(self.config, document(self.kind, servers, settings, self.marker))

    def processes(self, sign: str) -> set[int]:
        """Return the processes of backends with an argument."""
        return {pid for pid in self.family() if sign in arguments(pid)}

    def family(self) -> set[int]:
        """Return all living processes of the gateway but itself."""
        return marked(self.marker) - {self.pid}

    def kill(self) -> None:
        """End it as the kernel does."""
        os.kill(self.pid, signal.SIGKILL)


def arguments(pid: int) -> list[str]:
    """Return the command line of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []


def document(
    kind: Kind, servers: Mapping[str, Any], settings: Mapping[str, Any], marker: str
) -> dict[str, Any]:
    """Return a configuration; what only onemcp knows is left out for others."""
    marked_servers = {
        name: {**server, "env": {MARKER: marker.partition("=")[2]}}
        for name, server in servers.items()
    }
    if not kind.is_onemcp:
        return {"mcpServers": marked_servers}
    return {"mcpServers": marked_servers, "log": {"level": "error"}, **settings}


def write(path: Path, content: Mapping[str, Any] | str) -> None:
    """Write a file in one step."""
    fresh = path.with_name(".fresh")
    text = content if isinstance(content, str) else json.dumps(content)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def free_port() -> int:
    """Return a port that nobody listens on: other gateways can't choose one and tell."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(
    kind: Kind, servers: Mapping[str, Any], *, wait_for: Iterable[str] = (), **settings: Any
) -> AsyncIterator[Gateway]:
    """Run a gateway for as long as the block runs.

    Arguments:
        kind: Which.
        servers: Its backends.
        wait_for: The labels of backends that must be listed before the block is entered.
        settings: Further sections of onemcp's configuration.

    Raises:
        WireError: It doesn't answer, or doesn't list a backend, within `START` seconds.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, port, marker = folder / "gateway.json", free_port(), f"{MARKER}={name}"
        write(config, document(kind, servers, settings, marker))
        environment = {**os.environ, "XDG_STATE_HOME": name, "XDG_RUNTIME_DIR": name}
        headers = dict(kind.headers) or _credentials(kind, environment)
        marked_environment = {**environment, MARKER: name}
        with (folder / "output").open("wb") as output:
            process = await trio.lowlevel.open_process(
                shlex.split(kind.command.format(config=config, port=port)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=marked_environment,
            )
        gateway = Gateway(kind, process.pid, port, headers, config, marker)
        try:
            with trio.move_on_after(START) as patience:
                await _until_listed(gateway, set(wait_for))
            if patience.cancelled_caught:
                said = (folder / "output").read_text(encoding="utf-8", errors="replace")
                raise WireError(f"no answer in {START} s; the gateway said: {said[-2000:]}")
            yield gateway
        finally:
            await _stop(process, gateway)


def _credentials(kind: Kind, environment: Mapping[str, str]) -> dict[str, str]:
    if not kind.is_onemcp:
        return {}
    command = [sys.executable, "-m", "onemcp", "token"]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return {"Authorization": f"Bearer {said.stdout.strip()}"}


async def _until_listed(gateway: Gateway, labels: set[str]) -> None:
    while True:
        try:
            async with await gateway.client() as client:
                if labels <= set(await client.tools()):
                    return
        except (OSError, WireError, trio.BrokenResourceError):
            pass  # it doesn't listen yet
        await trio.sleep(0.01)


async def _stop(process: trio.Process, gateway: Gateway) -> None:
    """End the gateway and whatever it has left behind: the next measurement starts clean."""
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
            with trio.move_on_after(20):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        for pid in marked(gateway.marker):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
