"""Run the suite's scenarios of authorization, with onemcp as the client under test."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.conformance.client_mode import NOTHING, ClientRun, run_suite
from tests.conformance.client_runs import CLIENTS
from tests.conformance.client_scenarios import PREFIX, Drive
from tests.conformance.login_scenarios import EXTENSIONS, LOGINS, Answer, Visit, settings_of
from tests.interop.jobs import running as running_clients
from tests.support.running import configuration, running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.client_mode import Report
    from tests.interop.jobs import Client
    from tests.support.npm import Installation
    from tests.support.running import Gateway

BROWSER = Path(__file__).with_name("browser.py")

Key = tuple[str, str]
"""A version and a scenario."""


def run_logins(npm: Installation, folder: Path) -> dict[Key, Report]:
    """Run every scenario of every version, one at a time, with one gateway."""
    reports: dict[Key, Report] = {}
    environ = {
        "XDG_STATE_HOME": str(folder / "state"),
        "BROWSER": shlex.join([sys.executable, "-I", "-S", str(BROWSER), "%s"]),
    }

    async def run(client: Client) -> None:
        config = folder / "onemcp.json"
        async with running(config, NOTHING, environ=environ, patience=math.inf) as gateway:
            for version, names in LOGINS.items():
                here = folder / version
                of_version = ("--spec-version", version)
                runs = {
                    name: _Run((version, name), client, gateway, folder, environ) for name in names
                }
                own = {name: run for name, run in runs.items() if name not in EXTENSIONS}
                await run_suite(npm, ("--suite", "all", *of_version), own, here)
                for name in sorted(runs.keys() & EXTENSIONS):
                    which = ("--scenario", name, "--force", *of_version)
                    await run_suite(npm, which, {name: runs[name]}, here)
                reports.update({(version, name): run.report for name, run in runs.items()})

    kinds = CLIENTS[:1]
    with running_clients(kinds, npm) as clients:
        (client,) = clients.values()
        trio.run(run, client)
    return reports


class _Run(ClientRun):
    """A run in which onemcp logs in as the scenario asks for."""

    def __init__(
        self, key: Key, client: Client, gateway: Gateway, folder: Path, environ: Mapping[str, str]
    ) -> None:
        super().__init__(*key, client, gateway)
        self.backend = f"{self.version}-{self.name.replace('/', '-')}"
        self._folder = folder
        self._environ = environ

    async def drive(self, url: str, context: dict[str, Any]) -> None:
        auth = settings_of(self.name, context, self._folder)
        settings = {"url": url, "prefix": PREFIX, **({} if auth is None else {"auth": auth})}
        self.gateway.rewrite(configuration({self.backend: settings}))
        drive = Drive(self.gateway, self.client, self.backend, context)
        await LOGINS[self.version][self.name](Visit(drive, self.name, self._log_in))

    async def _log_in(self) -> Answer:
        command = [sys.executable, "-m", "onemcp", "login", self.backend, "--timeout", "15"]
        ended = await trio.run_process(
            [*command, "--config", str(self.gateway.config)],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self._environ},
            check=False,
        )
        return ended.returncode, ended.stdout.decode()
