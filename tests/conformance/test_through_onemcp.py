"""The suite passes against onemcp with the reference server behind it.

Each scenario passes directly against that server (`test_reference_directly.py`), which speaks
both eras over stdio and over HTTP; onemcp is a process like any user's.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.conformance.scenarios import SCENARIOS
from tests.support.clients import clients
from tests.support.conformance import Report, run_all
from tests.support.eventually import eventually
from tests.support.processes import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module", params=["stdio", "http"])
def backend(request, reference_command) -> Iterator[dict[str, Any]]:
    """The configuration of the reference server as a backend, over each transport."""
    with ExitStack() as stack:
        if request.param == "stdio":
            program, *arguments = reference_command
            yield {"command": program, "args": [*arguments, "--stdio"]}
        else:
            server = stack.enter_context(serving([*reference_command, "--http", "0"]))
            yield {"url": server.url}


async def wait_until_listed(url: str) -> None:
    """Wait until the backend has come up behind the gateway."""
    async with clients(url) as connected:
        client = connected.modern()

        async def is_listed() -> bool:
            return bool((await client.request("tools/list"))["result"]["tools"])

        await eventually(is_listed, "the reference server is listed")


@pytest.fixture(scope="module")
def reports(npm, backend, tmp_path_factory) -> dict[str, Report]:
    folder = tmp_path_factory.mktemp("through")
    config = folder / "onemcp.json"
    options = {
        # Names stay bare, because the suite knows its fixtures by them.
        "mcpServers": {"ref": {**backend, "prefix": ""}},
        # The suite has no way to send a token.
        "auth": {"mode": "none"},
        # One scenario wants a stream to be closed while its tool is silent, and polls it.
        "server": {"pollAfter": 0.1},
    }
    config.write_text(json.dumps(options))
    command = [sys.executable, "-m", "onemcp", "run", "--config", str(config), "--port", "0"]
    with serving(command) as gateway:
        trio.run(wait_until_listed, gateway.url)
        return run_all(gateway.url, installation=npm, output=folder / "results")


@pytest.mark.parametrize(
    ("version", "scenario"),
    [(version, each) for version, names in SCENARIOS.items() for each in names],
)
def test_scenario_passes(reports, version, scenario):
    assert reports[version].problems(scenario) == []


@pytest.mark.parametrize("version", SCENARIOS)
def test_suite_is_content_as_well(reports, version):
    assert reports[version].exit_code == 0, reports[version].output
