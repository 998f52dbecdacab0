"""Results are read strictly: only what was verified, and succeeded, has passed."""

from __future__ import annotations

import json

import pytest

from tests.support import conformance
from tests.support.conformance import Check, Report, Scenario, results_in
from tests.support.npm import Installation

PASSED = Check("tools-list", "SUCCESS", "")
ON_THE_WIRE = Check("wire-schema-valid", "SUCCESS", "")


def problems(*checks: Check) -> list[str]:
    return list(Scenario("tools-list", checks).problems())


def test_scenario_passes_when_all_checks_succeed():
    assert problems(PASSED, ON_THE_WIRE) == []


def test_log_entries_are_no_problem():
    assert problems(PASSED, Check("incoming-response", "INFO", "")) == []


@pytest.mark.parametrize("status", ["FAILURE", "WARNING", "SKIPPED", "INFO", "NEW-FANGLED"])
def test_any_other_status_is_a_problem(status):
    check = Check("server-sse-disconnect-resume", status, "why")
    assert problems(PASSED, check) == [f"{status} server-sse-disconnect-resume: why"]


@pytest.mark.parametrize(
    "checks", [(), (ON_THE_WIRE,), (Check("stream-closed", "INFO", ""), ON_THE_WIRE)]
)
def test_scenario_that_verified_nothing_is_a_problem(checks):
    assert problems(*checks) == ["it verified nothing"]


def test_scenario_that_did_not_run_is_a_problem():
    report = Report("2026-07-28", {}, 1, "Error: no such suite")
    assert report.problems("ping") == [
        "it did not run; the suite exited with 1:\nError: no such suite"
    ]


def test_results_are_read_from_the_folders_of_the_suite(tmp_path):
    done = tmp_path / "server-tools-list-2026-11-22T15-20-05-123Z"
    done.mkdir()
    raw = [{"id": "tools-list", "status": "FAILURE", "errorMessage": "Missing tools array"}]
    (done / "checks.json").write_text(json.dumps(raw))
    broken_off = tmp_path / "server-json-schema-2020-12-2026-11-22T15-20-06-123Z"
    broken_off.mkdir()
    assert results_in(tmp_path) == {
        "tools-list": Scenario(
            "tools-list", (Check("tools-list", "FAILURE", "Missing tools array"),)
        ),
        "json-schema-2020-12": Scenario("json-schema-2020-12", ()),
    }


def test_impatient_scenario_is_run_once_more_and_nothing_else(tmp_path, monkeypatch):
    """Half a second is not enough on a busy machine, whatever is tested."""
    failed = Check("tools-list", "FAILURE", "why")
    runs = [
        {"server-stateless": failed, "tools-list": failed, "ping": PASSED},
        {"server-stateless": PASSED},
    ]
    asked = []
    prepared = []

    def run_suite(url, version, which, installation, output):
        asked.append(which)
        found = {name: Scenario(name, (check,)) for name, check in runs.pop(0).items()}
        return Report(version, found, int("ping" in found), "")

    monkeypatch.setattr(conformance, "_run", run_suite)
    report = conformance.run(
        "",
        "2026-07-28",
        installation=Installation(tmp_path),
        output=tmp_path,
        prepare=lambda: prepared.append(len(asked)),
    )
    passed = [name for name in report.scenarios if not report.problems(name)]
    assert passed == ["server-stateless", "ping"]
    assert report.exit_code == 1
    assert [which[1] for which in asked] == ["all", "server-stateless"]
    assert prepared == [0, 1], "before the suite begins, each time"
