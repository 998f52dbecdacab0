"""Run the suite's scenarios for clients, with onemcp as the client or between.

The suite starts a server and a command for each scenario, all at once in one process, because its
start takes longer than most scenarios. The command hands the server's URL to the tests, which make
one server after the other the only backend of a running onemcp, and do what its scenario is about.
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
    from collections.abc import Iterator, Mapping

    from tests.interop.jobs import Client
    from tests.support.npm import Installation
    from tests.support.running import Gateway

RELAY = (sys.executable, "-I", "-S", str(Path(__file__).with_name("client_relay.py")))
TIMEOUT = 60
"""Seconds for each scenario that the suite runs."""
PATIENCE = 45
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

    async def meet(self, url: str, context: dict[str, Any]) -> str | None:
        """Do what the scenario asks for, and return what went wrong."""
        self.report.complaint = None
        try:
            with trio.fail_after(PATIENCE):
                await self.drive(url, context)
        except (AssertionError, ClientError, trio.TooSlowError):
            self.report.complaint = traceback.format_exc()
        # The suite's server waits until all its connections are closed.
        self.gateway.rewrite(NOTHING)
        return self.report.complaint

    def read(self, results: Path, output: str) -> None:
        """Take what the suite has found out into the report."""
        self.report.output = output
        # The suite makes folders of the slashes in a scenario's name.
        folder, _, name = self.name.rpartition("/")
        self.report.checks = results_in(results / folder).get(name, self.report.checks)


async def run_suite(
    npm: Installation, which: tuple[str, ...], runs: Mapping[str, ClientRun], results: Path
) -> None:
    """Have the suite run scenarios, and do what they ask for, one after the other.

    Args:
        npm: Where the suite is installed.
        which: What the suite is asked for.
        runs: Those that are wanted, by scenario; whatever else it runs has no client.
        results: Where the suite is to leave what it has found out.
    """
    turn = trio.Lock()

    async def answer(door: trio.SocketStream) -> None:
        told = json.loads(await _line(door))
        complaint: str | None = "this scenario is not wanted"
        if told["scenario"] in runs:
            async with turn:
                complaint = await runs[told["scenario"]].meet(told["url"], told["context"])
        await door.send_all(json.dumps(complaint).encode() + b"\n")

    seconds = TIMEOUT * len(runs)
    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
            relay = shlex.join([*RELAY, str(listener.socket.getsockname()[1])])
            patience = ("--timeout", str(1000 * seconds))
            ended = await trio.run_process(
                npm.command(
                    *("conformance", "client", *which, *patience),
                    *("--command", relay, "--output-dir", str(results)),
                ),
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                env=npm.environment(),
                check=False,
            )
            nursery.cancel_scope.cancel()
    for run in runs.values():
        run.read(results, ended.stdout.decode())


async def _line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (chunk := await stream.receive_some()):
        line += chunk
    return line
