"""The suite's modern version against onemcp, with the reference server spoken to as a legacy one.

Every ``InputRequiredResult`` is onemcp's then. Over HTTP, because over stdio nothing tells whose a
question is while another call is parked.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.conformance.scenarios import SCENARIOS
from tests.conformance.test_through_onemcp import wait_until_listed
from tests.support.conformance import Report, run
from tests.support.processes import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.conformance

VERSION = "2026-07-28"
IMPOSSIBLE = {
    # They know the keys that the modern reference chooses; a legacy server chooses none.
    "input-required-result-basic-elicitation",
    "input-required-result-ignore-extra-params",
    # A legacy server has no error for a capability that one of its many clients lacks.
    "server-stateless",
}


@pytest.fixture(scope="module")
def report(npm, reference_command, tmp_path_factory) -> Iterator[Report]:
    folder = tmp_path_factory.mktemp("legacy")
    with serving([*reference_command, "--http", "0"]) as backend:
        settings = {"url": backend.url, "prefix": "", "protocol": "2025-11-25"}
        config = folder / "onemcp.json"
        config.write_text(json.dumps({"mcpServers": {"ref": settings}, "auth": {"mode": "none"}}))
        command = [sys.executable, "-m", "onemcp", "run", "--config", str(config), "--port", "0"]
        with serving(command) as gateway:
            trio.run(wait_until_listed, gateway.url)
            yield run(gateway.url, VERSION, installation=npm, output=folder / "results")


@pytest.mark.parametrize(
    "scenario", [each for each in SCENARIOS[VERSION] if each not in IMPOSSIBLE]
)
def test_scenario_passes(report: Report, scenario: str):
    assert report.problems(scenario) == []


def test_nothing_is_called_impossible_that_passes(report: Report):
    assert {each for each in IMPOSSIBLE if not report.problems(each)} == set()
