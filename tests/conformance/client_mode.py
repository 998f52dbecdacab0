"""Run one of the suite's scenarios for clients, with onemcp as the client or between.

The suite starts a server and a command; the command hands the server's URL to the tests, which
make it the only backend of a running onemcp and do what the scenario is about.
"""

from __future__ import annotations

import abc
import json
import shlex
import subprocess
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.conformance.client_scenarios import EXCEPTIONS
from tests.interop.jobs import ClientError
from tests.support.conformance import Scenario, results_in
from tests.support.running import configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.jobs import Client
    from tests.support.npm import Installation
    from tests.support.running import Gateway

RELAY = Path(__file__).with_name("client_relay.py")
TIMEOUT = 60
"""Seconds for one scenario; the suite itself gives the client 30."""
PATIENCE = 25
"""Seconds for the part of it that is the client's."""
NOTHING = configuration({"none": {"command": "none", "enabled": False}})
"""A configuration to start with."""


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


class ClientRun(abc.ABC):
    """One run of a scenario.

    Attributes:
        report: What it has found out so far.
        version: The revision of the protocol.
        name: The scenario's name.
        client: The official client that uses onemcp.
        gateway: onemcp.
    """

    options: tuple[str, ...] = ()
    """What the suite is asked for besides the scenario."""

    def __init__(self, version: str, name: str, client: Client, gateway: Gateway) -> None:
        self.report = Report(Scenario(name, ()))
        self.version = version
        self.name = name
        self.client = client
        self.gateway = gateway

    @abc.abstractmethod
    async def drive(self, url: str, context: dict[str, Any]) -> None:
        """Do what the scenario asks for, and raise what went wrong.

        Args:
            url: Where the suite's server listens.
            context: What the suite tells its clients.
        """

    async def run(self, npm: Installation, results: Path) -> None:
        """Have the suite run the scenario, and report."""
        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_tcp, host="127.0.0.1")
                (listener,) = await nursery.start(serve, self._answer, 0)
                port = listener.socket.getsockname()[1]
                relay = shlex.join([sys.executable, "-I", str(RELAY), str(port)])
                named = ("--scenario", self.name, "--spec-version", self.version)
                where = ("--command", relay, "--output-dir", str(results))
                ended = await trio.run_process(
                    npm.command("conformance", "client", *named, *where, *self.options),
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    env=npm.environment(),
                    check=False,
                )
                nursery.cancel_scope.cancel()
        self.report.output = ended.stdout.decode()
        # The suite makes folders of the slashes in a scenario's name.
        folder, _, name = self.name.rpartition("/")
        self.report.checks = results_in(results / folder).get(name, self.report.checks)

    async def _answer(self, door: trio.SocketStream) -> None:
        told = json.loads(await _line(door))
        self.report.complaint = await self._complaint(told["url"], told["context"])
        # The suite's server waits until all its connections are closed.
        self.gateway.rewrite(NOTHING)
        await door.send_all(json.dumps(self.report.complaint).encode() + b"\n")

    async def _complaint(self, url: str, context: dict[str, Any]) -> str | None:
        try:
            with trio.fail_after(PATIENCE):
                await self.drive(url, context)
        except (AssertionError, ClientError, trio.TooSlowError):
            return traceback.format_exc()
        return None


async def _line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (chunk := await stream.receive_some()):
        line += chunk
    return line
