"""Results are read strictly: only what was verified, and succeeded, has passed."""

from __future__ import annotations

import json

import pytest

from tests.support.conformance import Check, Report, Scenario, results_in

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
