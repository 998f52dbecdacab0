"""The suite passes against the reference server itself.

So whatever it finds wrong with onemcp in front of that server is onemcp's doing.
"""

from __future__ import annotations

import pytest

from tests.conformance.scenarios import SCENARIOS
from tests.support.conformance import Report, run_all
from tests.support.processes import serving

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def reports(npm, reference_command, tmp_path_factory) -> dict[str, Report]:
    with serving([*reference_command, "--http", "0"]) as server:
        output = tmp_path_factory.mktemp("directly")
        return run_all(server.url, installation=npm, output=output)


@pytest.mark.parametrize(
    ("version", "scenario"),
    [(version, each) for version, names in SCENARIOS.items() for each in names],
)
def test_scenario_passes(reports, version, scenario):
    assert reports[version].problems(scenario) == []


@pytest.mark.parametrize("version", SCENARIOS)
def test_suite_has_no_scenario_that_is_unknown_here(reports, version):
    assert set(reports[version].scenarios) == set(SCENARIOS[version])


@pytest.mark.parametrize("version", SCENARIOS)
def test_suite_is_content_as_well(reports, version):
    assert reports[version].exit_code == 0, reports[version].output
