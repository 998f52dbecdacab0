"""The suite's scenarios of authorization pass with onemcp as the client that logs in.

Where there must be no login, that counts only because there is one where there may be.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conformance.login_runs import run_logins
from tests.conformance.login_scenarios import EXTENSIONS, LOGINS, NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from tests.conformance.client_mode import Report
    from tests.conformance.login_runs import Key

pytestmark = pytest.mark.conformance

RUNS = [(version, name) for version, names in LOGINS.items() for name in names]


@pytest.fixture(scope="module")
def reports(npm, tmp_path_factory) -> dict[Key, Report]:
    return run_logins(npm, tmp_path_factory.mktemp("logins"))


@pytest.mark.requirement("basic/authorization/index#protocol-requirements-1", "basic/index#auth-1")
@pytest.mark.parametrize(("version", "scenario"), RUNS)
def test_login_passes(reports, version, scenario):
    needed = POSITIVE if scenario in NEGATIVE else ()
    problems = [each for name in (*needed, scenario) for each in reports[version, name].problems()]
    assert problems == [], "\n".join(problems)


@pytest.mark.parametrize("version", LOGINS)
def test_suite_has_no_login_that_is_unknown_here(npm, version):
    listing = npm.command("conformance", "list", "--client", "--spec-version", version)
    output = subprocess.run(
        listing, env=npm.environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout
    named = [line.split()[1] for line in output.splitlines() if line.startswith("  - ")]
    assert {each for each in named if each.startswith("auth/")} == set(LOGINS[version]) - EXTENSIONS
