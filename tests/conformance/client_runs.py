"""Run the suite's scenarios for clients with onemcp between its server and official clients.

The suite starts a server and a command; the command hands the server's URL to the tests, which
make it the only backend of a running onemcp and have an official client use that.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.conformance.client_scenarios import EXCEPTIONS, PREFIX, SCENARIOS, Drive
from tests.interop.jobs import CLIENTS as ALL_CLIENTS
from tests.interop.jobs import ClientError
from tests.interop.jobs import running as running_clients
from tests.support.conformance import Scenario, results_in
from tests.support.running import configuration, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.interop.jobs import Client
    from tests.support.npm import Installation
    from tests.support.running import Gateway

RELAY = Path(__file__).with_name("client_relay.py")
CLIENTS = [kind for kind in ALL_CLIENTS if kind.name != "client2-legacy"]
"""The clients; of those that would say the same, one is enough."""
TIMEOUT = 60
"""Seconds for one scenario; the suite itself gives the client 30."""
PATIENCE = 25
"""Seconds for the part of it that is the client's."""
NOTHING = configuration({"none": {"command": "none", "enabled": False}})
"""A configuration to start with."""

Key = tuple[str, str, str]
"""A client's name, a version and a scenario."""


@dataclass
class Report:
    """What one run of a scenario found out.

    Attributes:
        checks: What the suite says.
        complaint: What the client didn't get that it should, or None.
        output: What the suite printed.
    """

    checks: Scenario
    complaint: str | None = "the suite did not start the client"
    output: str = ""

    def problems(self) -> Iterator[str]:
        """Say what speaks against the scenario having passed, exceptions apart."""
        if self.complaint is not None:
            yield f"{self.complaint}\n{self.output}"
        excepted = EXCEPTIONS.get(self.checks.name, {})
        others = [each for each in self.checks.checks if each.name not in excepted]
        yield from Scenario(self.checks.name, tuple(others)).problems()

    def superfluous(self) -> set[str]:
        """Return the exceptions that need none."""
        failed = {each.name for each in self.checks.checks if not each.harmless}
        return EXCEPTIONS.get(self.checks.name, {}).keys() - failed


def run_all(npm: Installation, folder: Path) -> dict[Key, Report]:
    """Run every scenario of every version with every client; each program has one at a time."""
    reports: dict[Key, Report] = {}

    async def run_all_of(clients: Iterable[Client]) -> None:
        for client in clients:
            here = folder / client.kind.name
            here.mkdir()
            async with running(here / "onemcp.json", NOTHING, patience=math.inf) as gateway:
                for version, names in SCENARIOS.items():
                    for name in names:
                        run = _Run(version, name, client, gateway)
                        await run.run(npm, here / f"{version}-{name}")
                        reports[client.kind.name, version, name] = run.report

    async def run_programs() -> None:
        async with trio.open_nursery() as nursery:
            for program in {kind.program for kind in CLIENTS}:
                own = [each for each in clients.values() if each.kind.program == program]
                nursery.start_soon(run_all_of, own)

    with running_clients(CLIENTS, npm) as clients:
        trio.run(run_programs)
    return reports


class _Run:
    """One run of a scenario.

    Attributes:
        report: What it has found out so far.
    """

    def __init__(self, version: str, name: str, client: Client, gateway: Gateway) -> None:
        self.report = Report(Scenario(name, ()))
        self._version = version
        self._name = name
        self._client = client
        self._gateway = gateway

    async def run(self, npm: Installation, results: Path) -> None:
        """Have the suite run the scenario, and report."""
        options = {"--scenario": self._name, "--spec-version": self._version}
        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_tcp, host="127.0.0.1")
                (listener,) = await nursery.start(serve, self._answer, 0)
                port = listener.socket.getsockname()[1]
                relay = shlex.join([sys.executable, "-I", str(RELAY), str(port)])
                options |= {"--command": relay, "--output-dir": str(results)}
                words = [word for pair in options.items() for word in pair]
                ended = await trio.run_process(
                    npm.command("conformance", "client", *words),
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    env=npm.environment(),
                    check=False,
                )
                nursery.cancel_scope.cancel()
        self.report.output = ended.stdout.decode()
        self.report.checks = results_in(results).get(self._name, self.report.checks)

    async def _answer(self, door: trio.SocketStream) -> None:
        told = json.loads(await _line(door))
        self.report.complaint = await self._drive(told["url"], told["context"])
        # The suite's server waits until all its connections are closed.
        self._gateway.rewrite(NOTHING)
        await door.send_all(json.dumps(self.report.complaint).encode() + b"\n")

    async def _drive(self, url: str, context: dict[str, Any]) -> str | None:
        """Have the client do its part, and return what went wrong, or None."""
        backend = f"{self._version}-{self._name}"
        self._gateway.rewrite(configuration({backend: {"url": url, "prefix": PREFIX}}))
        try:
            with trio.fail_after(PATIENCE):
                await self._gateway.ready(backend)
                drive = Drive(self._gateway, self._client, backend, context)
                await SCENARIOS[self._version][self._name](drive)
        except (AssertionError, ClientError, trio.TooSlowError):
            return traceback.format_exc()
        return None


async def _line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (chunk := await stream.receive_some()):
        line += chunk
    return line
