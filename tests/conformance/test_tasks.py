"""The suite's scenarios of the tasks extension pass with onemcp in front of a server that has it.

They are not part of any version, so the suite runs each of them on its own. Status notifications
are not among them: the suite skips that scenario, until it listens where they are sent.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.conformance.test_through_onemcp import wait_until_listed
from tests.support.conformance import run_scenario
from tests.support.npm import CHECKOUT
from tests.support.processes import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.conformance

COMMAND = [sys.executable, str(CHECKOUT / "tests" / "reference" / "tasks.py")]
SCENARIOS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-mrtr-input",
    "tasks-mrtr-composition",
    "tasks-request-state-removal",
    "tasks-required-task-error",
)
OF_THE_SDK = {
    # Only onemcp compares the header with the body: the SDK knows nothing of the extension.
    "tasks-request-headers": "sep-2663-server-rejects-mismatched-mcp-name-on-tasks-get",
}
"""What the reference server gets wrong itself, by scenario."""


@pytest.fixture(scope="module")
def reference() -> Iterator[str]:
    with serving([*COMMAND, "--http", "0"]) as server:
        yield server.url


@pytest.fixture(scope="module", params=["stdio", "http"])
def gateway(request, tmp_path_factory) -> Iterator[str]:
    """Onemcp before the reference server, over each transport."""
    with ExitStack() as stack:
        backend: dict[str, Any] = {"command": COMMAND[0], "args": [*COMMAND[1:], "--stdio"]}
        if request.param == "http":
            backend = {"url": stack.enter_context(serving([*COMMAND, "--http", "0"])).url}
        config = tmp_path_factory.mktemp("tasks") / "onemcp.json"
        servers = {"ref": {**backend, "prefix": ""}}
        config.write_text(json.dumps({"mcpServers": servers, "auth": {"mode": "none"}}))
        command = [sys.executable, "-m", "onemcp", "run", "--config", str(config), "--port", "0"]
        served = stack.enter_context(serving(command))
        trio.run(wait_until_listed, served.url)
        yield served.url


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes_through_onemcp(npm, gateway, scenario, tmp_path):
    report = run_scenario(gateway, scenario, installation=npm, output=tmp_path / "results")
    assert report.problems(scenario) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_passes_directly(npm, reference, scenario, tmp_path):
    report = run_scenario(reference, scenario, installation=npm, output=tmp_path / "results")
    known = OF_THE_SDK.get(scenario)
    problems = report.problems(scenario)
    assert len(problems) == (0 if known is None else 1), problems
    assert known is None or known in problems[0]
