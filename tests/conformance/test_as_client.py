"""The suite's scenarios for clients pass with onemcp between its server and official clients.

Clients of both eras, so that most of it is bridged; those of authorization are another matter.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conformance.client_runs import CLIENTS, run_all
from tests.conformance.client_scenarios import EXCEPTIONS, SCENARIOS

if TYPE_CHECKING:
    from tests.conformance.client_mode import Report
    from tests.conformance.client_runs import Key

pytestmark = pytest.mark.conformance

RUNS = [
    (kind.name, version, name)
    for kind in CLIENTS
    for version, names in SCENARIOS.items()
    for name in names
]


@pytest.fixture(scope="module")
def reports(npm, tmp_path_factory) -> dict[Key, Report]:
    return run_all(npm, tmp_path_factory.mktemp("client"))


@pytest.mark.parametrize(("client", "version", "scenario"), RUNS)
def test_scenario_passes(reports, client, version, scenario):
    problems = [*reports[client, version, scenario].problems()]
    assert problems == [], "\n".join(problems)


@pytest.mark.parametrize("scenario", EXCEPTIONS)
def test_nothing_is_an_exception_that_passes(reports, scenario):
    found = [report for (_, _, name), report in reports.items() if name == scenario]
    assert found
    assert set[str]().union(*(report.superfluous() for report in found)) == set()


@pytest.mark.parametrize("version", SCENARIOS)
def test_suite_has_no_scenario_that_is_unknown_here(npm, version):
    listing = npm.command("conformance", "list", "--client", "--spec-version", version)
    output = subprocess.run(
        listing, env=npm.environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    named = [line.split()[1] for line in output.splitlines() if line.startswith("  - ")]
    assert {each for each in named if not each.startswith("auth/")} == set(SCENARIOS[version])
