"""One gateway with all backends behind it, and every client beside it."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.interop.backends import BACKENDS, lists, prefixed, steps_for
from tests.interop.jobs import CLIENTS, ROOTS, running
from tests.support.gateway import GatewayProcess, gateway
from tests.support.processes import serving
from tests.support.references import DUAL, ONLY_2026

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.interop.backends import BackendKind, Fixture
    from tests.interop.jobs import Client, Outcome, Step, Target
    from tests.support.npm import Installation

OWN = Path(__file__).parent / "servers" / "own.py"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJ"
    "RU5ErkJggg=="
)
START_TIMEOUT = 60
"""Seconds until a server must accept connections, and all backends must be up."""


@dataclass
class World:
    """Everything that runs.

    Attributes:
        gateway: onemcp.
        servers: The `mcpServers` of its configuration.
        direct: How clients reach each server without it.
        folder: The folder that the filesystem servers may use.
        clients: The running clients, by name.
    """

    gateway: GatewayProcess
    servers: dict[str, dict[str, Any]]
    direct: dict[Fixture, Target]
    folder: Path
    clients: dict[str, Client]
    _known: dict[tuple[str, ...], list[Outcome]] = field(default_factory=dict)

    def target(self, backend: str | None = None) -> Target:
        """Return where clients reach everything, or one backend alone, through onemcp."""
        return {"url": self.gateway.url(backend), "headers": self.gateway.headers}

    def steps(self, client: Client, backend: BackendKind) -> list[Step]:
        """Return what a client does with a backend."""
        # A legacy backend that asks a modern client something is a matter of its own.
        questions = (client.kind.era, backend.era) != ("modern", "legacy")
        return self._steps(client, backend.fixture, questions=questions)

    def directly(self, client: Client, backend: BackendKind) -> list[Outcome]:
        """Return what a client gets from a server itself."""
        fixture = backend.fixture

        def run() -> list[Outcome]:
            steps = self._steps(client, fixture, questions=True)
            return self._run(client, fixture, self.direct[fixture], steps)

        # Tools that ask come last, so that the outcomes of the others are there for either use.
        outcomes = self._once(run, client.kind.name, fixture, "directly")
        return outcomes[: len(self.steps(client, backend))]

    def through(self, client: Client, backend: BackendKind, *, alone: bool) -> list[Outcome]:
        """Return what a client gets through onemcp, from the endpoint of all or of one backend."""

        def run() -> list[Outcome]:
            steps = self.steps(client, backend)
            if not alone:
                steps = [prefixed(step, backend.prefix) for step in steps if step["op"] != "list"]
            target = self.target(backend.name if alone else None)
            return self._run(client, backend.fixture, target, steps)

        return self._once(run, client.kind.name, backend.name, "alone" if alone else "among all")

    def listed(self, client: Client) -> list[Outcome]:
        """Return everything that is listed at the endpoint of all backends."""
        return self._once(lambda: client.run(self.target(), lists()), client.kind.name, "listed")

    def _steps(self, client: Client, fixture: Fixture, *, questions: bool) -> list[Step]:
        more = steps_for(fixture, client.kind.era, str(self.folder), questions=questions)
        return [{"op": "about"}, *lists(), *more]

    def _once(self, run: Callable[[], list[Outcome]], *key: str) -> list[Outcome]:
        if key not in self._known:
            self._known[key] = run()
        return self._known[key]

    def _run(
        self, client: Client, fixture: Fixture, target: Target, steps: list[Step]
    ) -> list[Outcome]:
        _clean(self.folder)
        # The filesystem server takes the roots of its client for the folders it may use.
        is_files = fixture == "filesystem"
        roots = [{"uri": self.folder.as_uri()}] if is_files else ROOTS
        return client.run(target, steps, roots=roots)


def _clean(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "pixel.png").write_bytes(base64.b64decode(PIXEL))


@contextmanager
def listening(command: list[str], path: str) -> Iterator[str]:
    """Run a server that takes its port from PORT and doesn't tell when it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}{path}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def new_world(folder: Path, npm: Installation) -> Iterator[World]:
    """Start everything, in an empty folder."""
    files = folder / "files"
    files.mkdir()
    everything = npm.command("mcp-server-everything")
    filesystem = [*npm.command("mcp-server-filesystem"), str(files)]
    memory = npm.command("mcp-server-memory")
    own, reference = [sys.executable, str(OWN)], DUAL.command(npm)
    # It bridges the eras itself, which is what onemcp is compared with.
    server2 = [*ONLY_2026.command(npm), "--stdio", "--dual"]
    with ExitStack() as stack:
        own_url = stack.enter_context(serving([*own, "--http", "0"])).url
        reference_url = stack.enter_context(serving([*reference, "--http", "0"])).url
        everything_url = stack.enter_context(listening([*everything, "streamableHttp"], "/mcp"))
        sse_url = stack.enter_context(listening([*everything, "sse"], "/sse"))
        legacy = {"protocol": "legacy"}
        servers = {
            "everything": stdio(everything),
            "everythinghttp": {"url": everything_url},
            "everythingsse": {"url": sse_url, "type": "sse"},
            "filesystem": stdio(filesystem),
            "memory": stdio(memory, MEMORY_FILE_PATH=str(folder / "through.jsonl")),
            "ref": stdio([*reference, "--stdio"]),
            "refhttp": {"url": reference_url},
            "reflegacy": stdio([*reference, "--stdio"]) | legacy,
            "refhttplegacy": {"url": reference_url} | legacy,
            "server2": stdio(server2),
            "own": stdio([*own, "--stdio"]),
            "ownhttp": {"url": own_url},
        }
        direct: dict[Fixture, Target] = {
            "everything": {"url": everything_url},
            "filesystem": {"command": filesystem},
            "memory": {
                "command": memory,
                "env": {"MEMORY_FILE_PATH": str(folder / "direct.jsonl")},
            },
            "reference": {"url": reference_url},
            "server2": {"command": server2},
            "own": {"url": own_url},
        }
        running_gateway = stack.enter_context(gateway(folder, servers))
        clients = stack.enter_context(running(CLIENTS, npm))
        world = World(running_gateway, servers, direct, files, clients)
        _wait_until_up(world)
        yield world


def stdio(command: list[str], **env: str) -> dict[str, Any]:
    program, *arguments = command
    return {"command": program, "args": arguments, "env": env}


def _wait_until_up(world: World) -> None:
    """Wait until every backend's tools are listed."""
    client = next(iter(world.clients.values()))
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        (outcome,) = client.run(world.target(), [{"op": "list", "kind": "tools"}])
        missing = missing_backends(outcome)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} did not come up:\n{world.gateway.server.said()}")
        time.sleep(0.2)


def missing_backends(outcome: Mapping[str, Any]) -> set[str]:
    names = [tool["name"] for tool in outcome["ok"]]
    return {
        backend.name
        for backend in BACKENDS
        if not any(name.startswith(backend.prefix) for name in names)
    }
