"""Run the suite's scenarios of authorization, with onemcp as the client under test."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.conformance.client_runs import CLIENTS, NOTHING, RELAY, TIMEOUT, Report, _line
from tests.conformance.client_scenarios import PREFIX, Drive
from tests.conformance.login_scenarios import EXTENSIONS, LOGINS, Answer, Visit, settings_of
from tests.interop.jobs import ClientError
from tests.interop.jobs import running as running_clients
from tests.support.conformance import Scenario, results_in
from tests.support.running import configuration, running

if TYPE_CHECKING:
    from tests.interop.jobs import Client
    from tests.support.npm import Installation
    from tests.support.running import Gateway

BROWSER = Path(__file__).with_name("browser.py")
PATIENCE = 25
"""Seconds for the part that is onemcp's; the suite gives the client 30."""

Key = tuple[str, str]
"""A version and a scenario."""


def run_logins(npm: Installation, folder: Path) -> dict[Key, Report]:
    """Run every scenario of every version, one at a time, with one gateway."""
    reports: dict[Key, Report] = {}
    environ = {
        "XDG_STATE_HOME": str(folder / "state"),
        "BROWSER": shlex.join([sys.executable, "-I", str(BROWSER), "%s"]),
    }

    async def run(client: Client) -> None:
        config = folder / "onemcp.json"
        async with running(config, NOTHING, environ=environ, patience=math.inf) as gateway:
            for version, names in LOGINS.items():
                for name in names:
                    run = _Run((version, name), client, gateway, folder, environ)
                    await run.run(npm)
                    reports[version, name] = run.report

    kinds = CLIENTS[:1]
    with running_clients(kinds, npm) as clients:
        (client,) = clients.values()
        trio.run(run, client)
    return reports


class _Run:
    """One run of a scenario.

    Attributes:
        report: What it has found out.
    """

    def __init__(
        self,
        key: Key,
        client: Client,
        gateway: Gateway,
        folder: Path,
        environ: dict[str, str],
    ) -> None:
        version, name = self._version, self._name = key
        self.report = Report(Scenario(name, ()))
        self._client = client
        self._gateway = gateway
        self._folder = folder
        self._environ = environ
        self._backend = f"{version}-{name.replace('/', '-')}"

    async def run(self, npm: Installation) -> None:
        """Have the suite run the scenario, and report."""
        results = self._folder / self._backend
        with trio.fail_after(TIMEOUT):
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_tcp, host="127.0.0.1")
                (listener,) = await nursery.start(serve, self._answer, 0)
                port = listener.socket.getsockname()[1]
                relay = shlex.join([sys.executable, "-I", str(RELAY), str(port)])
                options = {
                    "--scenario": self._name,
                    "--spec-version": self._version,
                    "--command": relay,
                    "--output-dir": str(results),
                }
                words = [word for pair in options.items() for word in pair]
                words += ["--force"] * (self._name in EXTENSIONS)
                ended = await trio.run_process(
                    npm.command("conformance", "client", *words),
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    env=npm.environment(),
                    check=False,
                )
                nursery.cancel_scope.cancel()
        self.report.output = ended.stdout.decode()
        folder, _, name = self._name.rpartition("/")
        self.report.checks = results_in(results / folder).get(name, self.report.checks)

    async def _answer(self, door: trio.SocketStream) -> None:
        told = json.loads(await _line(door))
        self.report.complaint = await self._drive(told["url"], told["context"])
        self._gateway.rewrite(NOTHING)  # the suite waits until all connections are closed
        await door.send_all(json.dumps(self.report.complaint).encode() + b"\n")

    async def _drive(self, url: str, context: dict[str, Any]) -> str | None:
        """Do what the scenario asks for, and return what went wrong, or None."""
        auth = settings_of(self._name, context, self._folder)
        settings = {"url": url, "prefix": PREFIX, **({} if auth is None else {"auth": auth})}
        self._gateway.rewrite(configuration({self._backend: settings}))
        drive = Drive(self._gateway, self._client, self._backend, context)
        try:
            with trio.fail_after(PATIENCE):
                await LOGINS[self._version][self._name](Visit(drive, self._name, self._log_in))
        except (AssertionError, ClientError, trio.TooSlowError):
            return traceback.format_exc()
        return None

    async def _log_in(self) -> Answer:
        command = [sys.executable, "-m", "onemcp", "login", self._backend, "--timeout", "15"]
        ended = await trio.run_process(
            [*command, "--config", str(self._gateway.config)],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._environ},
            check=False,
        )
        return ended.returncode, ended.stdout.decode()
