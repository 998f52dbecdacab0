"""The suite passes against each reference server itself, at the revisions that it speaks.

So whatever it finds wrong with onemcp in front of that server is onemcp's doing.
"""

from __future__ import annotations

import pytest

from tests.conformance.scenarios import SCENARIOS
from tests.support.conformance import Report, run_all
from tests.support.processes import serving
from tests.support.references import REFERENCES, Reference

pytestmark = pytest.mark.conformance

RUNS = [(each, version) for each in REFERENCES for version in each.versions]
CASES = [(each, version, name) for each, version in RUNS for name in SCENARIOS[version]]


def named(value: object) -> str:
    return value.name if isinstance(value, Reference) else str(value)


@pytest.fixture(scope="module")
def reports(npm, tmp_path_factory) -> dict[tuple[Reference, str], Report]:
    found = {}
    for reference in REFERENCES:
        output = tmp_path_factory.mktemp(reference.name)
        with serving([*reference.command(npm), "--http", "0"]) as server:
            said = run_all(server.url, reference.versions, installation=npm, output=output)
        found.update({(reference, version): report for version, report in said.items()})
    return found


@pytest.mark.parametrize(("reference", "version", "scenario"), CASES, ids=named)
def test_scenario_passes(reports, reference, version, scenario):
    assert reports[reference, version].problems(scenario) == []


@pytest.mark.parametrize(("reference", "version"), RUNS, ids=named)
def test_suite_has_no_scenario_that_is_unknown_here(reports, reference, version):
    assert set(reports[reference, version].scenarios) == set(SCENARIOS[version])


@pytest.mark.parametrize(("reference", "version"), RUNS, ids=named)
def test_suite_is_content_as_well(reports, reference, version):
    report = reports[reference, version]
    assert report.exit_code == 0, report.output
