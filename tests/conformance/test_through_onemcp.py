"""The suite passes against onemcp, whatever the eras of its client and of the server behind it.

Each scenario passes directly against the servers of its era (`test_reference_directly.py`), over
HTTP; onemcp is a process like any user's. What can't pass is in `exceptions.toml`.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.conformance.exceptions import TRANSPORTS, Where, load
from tests.conformance.scenarios import SCENARIOS
from tests.support.clients import clients
from tests.support.conformance import Report, run_all
from tests.support.eventually import eventually
from tests.support.processes import serving
from tests.support.references import ONLY_2025, REFERENCES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.npm import Installation
    from tests.support.references import Reference

pytestmark = pytest.mark.conformance

RUNS = [(reference, transport) for reference in REFERENCES for transport in TRANSPORTS]
CASES = [(version, scenario) for version, names in SCENARIOS.items() for scenario in names]
REASONS = load()


@contextmanager
def backend(reference: Reference, transport: str, npm: Installation) -> Iterator[dict[str, Any]]:
    """Configure a reference server as a backend; over HTTP it runs meanwhile."""
    program, *arguments = reference.command(npm)
    if transport == "stdio":
        yield {"command": program, "args": [*arguments, "--stdio"]}
    else:
        with serving([program, *arguments, "--http", "0"]) as server:
            yield {"url": server.url}


@contextmanager
def gateway(folder: Path, settings: dict[str, Any]) -> Iterator[str]:
    """Run onemcp with one backend, and return its endpoint when that is up."""
    options = {
        # Names stay bare, because the suite knows its fixtures by them.
        "mcpServers": {"ref": {**settings, "prefix": ""}},
        # The suite has no way to send a token.
        "auth": {"mode": "none"},
        # One scenario wants a stream to be closed while its tool is silent, and polls it.
        "server": {"pollAfter": 0.1},
    }
    config = folder / "onemcp.json"
    config.write_text(json.dumps(options))
    command = [sys.executable, "-m", "onemcp", "run", "--config", str(config), "--port", "0"]
    with serving(command) as process:
        trio.run(wait_until_listed, process.url)
        yield process.url


async def wait_until_listed(url: str) -> None:
    """Wait until the backend has come up behind the gateway."""
    async with clients(url) as connected:
        client = connected.modern()

        async def is_listed() -> bool:
            return bool((await client.request("tools/list"))["result"]["tools"])

        await eventually(is_listed, "the reference server is listed")


async def start_another_instance(url: str) -> None:
    """Have the server asked while it is asking, so that it has a process for each, and answer.

    Over stdio a server of 2025 that asks is asked nothing else meanwhile: that takes another
    process of it (docs/explanation/protocol.md, Leases). One of the suite's scenarios begins with
    that, and gives what it calls next half a second, in which a busy machine starts no process.
    """
    question = {"name": "test_elicitation", "arguments": {"message": "Who are you?"}}
    async with clients(url) as connected:
        client = connected.modern(capabilities={"elicitation": {}})
        asked = (await client.request("tools/call", question))["result"]
        await client.call("test_simple_text")
        answers = {key: {"action": "cancel"} for key in asked["inputRequests"]}
        state = {"requestState": asked["requestState"]}
        await client.request("tools/call", {**question, "inputResponses": answers, **state})


class Reports:
    """What the suite has said about onemcp with one server behind it, at each version."""

    def __init__(self, run: tuple[Reference, str], by_version: dict[str, Report]) -> None:
        self.reference, self.transport = run
        self.by_version = by_version

    def where(self, version: str, scenario: str) -> Where:
        return Where(self.reference.name, self.transport, version, scenario)

    def excepted(self, version: str) -> set[str]:
        return {each for each in SCENARIOS[version] if self.where(version, each) in REASONS}


@pytest.fixture(
    scope="module",
    params=RUNS,
    ids=lambda run: f"{run[0].name}-{run[1]}",
)
def reports(request, npm, tmp_path_factory) -> Reports:
    reference, transport = request.param
    folder = tmp_path_factory.mktemp("through")
    with backend(reference, transport, npm) as settings, gateway(folder, settings) as url:

        def prepare() -> None:
            if (reference, transport) == (ONLY_2025, "stdio"):
                trio.run(start_another_instance, url)

        # The oldest first: what parks calls at a legacy backend comes last.
        found = run_all(
            url,
            sorted(SCENARIOS),
            installation=npm,
            output=folder / "results",
            at_once=1,
            prepare=prepare,
        )
    return Reports(request.param, found)


@pytest.mark.parametrize(("version", "scenario"), CASES)
def test_scenario_passes_unless_it_is_excepted(reports, version, scenario):
    problems = reports.by_version[version].problems(scenario)
    reason = REASONS.get(reports.where(version, scenario))
    if reason is None:
        assert problems == []
    else:
        assert problems != [], f"it passes, and is no exception any more: {reason}"


@pytest.mark.parametrize("version", SCENARIOS)
def test_every_scenario_has_run(reports, version):
    assert set(reports.by_version[version].scenarios) == set(SCENARIOS[version])


@pytest.mark.parametrize("version", SCENARIOS)
def test_suite_is_content_as_well(reports, version):
    report = reports.by_version[version]
    assert report.exit_code == 0 or reports.excepted(version), report.output
