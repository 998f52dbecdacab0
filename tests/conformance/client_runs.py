"""Run the suite's scenarios for clients with onemcp between its server and official clients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from tests.conformance.client_mode import NOTHING, ClientRun, run_suite
from tests.conformance.client_scenarios import PREFIX, SCENARIOS, Drive
from tests.interop.jobs import CLIENTS as ALL_CLIENTS
from tests.interop.jobs import running as running_clients
from tests.support.running import configuration, running

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.conformance.client_mode import Report
    from tests.interop.jobs import Client
    from tests.support.npm import Installation

CLIENTS = [kind for kind in ALL_CLIENTS if kind.name != "client2-legacy"]
"""The clients; of those that would say the same, one is enough."""

Key = tuple[str, str, str]
"""A client's name, a version and a scenario."""


def run_all(npm: Installation, folder: Path) -> dict[Key, Report]:
    """Run every scenario of every version with every client; each program has one at a time."""
    reports: dict[Key, Report] = {}

    async def run_all_of(clients: Iterable[Client]) -> None:
        for client in clients:
            here = folder / client.kind.name
            here.mkdir()
            async with running(here / "onemcp.json", NOTHING, patience=math.inf) as gateway:
                for version, names in SCENARIOS.items():
                    runs = {name: _Run(version, name, client, gateway) for name in names}
                    which = ("--suite", "all", "--spec-version", version)
                    await run_suite(npm, which, runs, here / version)
                    for name, run in runs.items():
                        reports[client.kind.name, version, name] = run.report

    async def run_programs() -> None:
        async with trio.open_nursery() as nursery:
            for program in {kind.program for kind in CLIENTS}:
                own = [each for each in clients.values() if each.kind.program == program]
                nursery.start_soon(run_all_of, own)

    with running_clients(CLIENTS, npm) as clients:
        trio.run(run_programs)
    return reports


class _Run(ClientRun):
    """A run in which the official client does what the scenario asks for."""

    async def drive(self, url: str, context: dict[str, Any]) -> None:
        backend = f"{self.version}-{self.name}"
        self.gateway.rewrite(configuration({backend: {"url": url, "prefix": PREFIX}}))
        await self.gateway.ready(backend)
        await SCENARIOS[self.version][self.name](Drive(self.gateway, self.client, backend, context))
