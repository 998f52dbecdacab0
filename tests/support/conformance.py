"""Run the official conformance suite against a server, and read its results strictly.

The suite itself passes a run that has warnings, skipped checks and scenarios which verified
nothing at all. Here each of these is a problem, and so is a scenario that did not run.

Its `server` command can send no credentials of its own, so the server must not ask for any.
"""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.npm import Installation

VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18")
RUN_TIMEOUT = 300
"""Seconds for one version; the suite itself gives each scenario 30."""
AT_ONCE = 2
"""How many versions run at a time; some checks wait only half a second for an answer."""
IMPATIENT = ("server-stateless",)
"""Scenarios that give an answer half a second, however busy the machine is."""
WIRE_SCHEMA = "wire-schema-valid"
LOGGED = {
    "outgoing-request",
    "incoming-request",
    "outgoing-response",
    "outgoing-sse-event",
    "outgoing-stream-close",
    "server-info",
    "incoming-auth-request",
    "outgoing-auth-response",
    "scope-retry-auth-attempt",
    "incoming-response",
    "incoming-sse-event",
    "stream-closed",
    # Answers in JSON where a stream would do as well.
    "server-sse-streams-functional",
}
"""Checks that may be mere information: they log, or the specification leaves a choice."""
RESULT_FOLDER = re.compile(r"(?:server-)?(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")


@dataclass(frozen=True)
class Check:
    """One assertion of a scenario.

    Attributes:
        id: The suite's name for what it asserts; several checks may share it.
        status: SUCCESS, FAILURE, WARNING, SKIPPED or INFO.
        message: What went wrong, if anything did.
        name: What it is about, where several share the id.
    """

    id: str
    status: str
    message: str
    name: str = ""

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Check:
        message = raw.get("errorMessage") or json.dumps(raw.get("details"))
        return cls(raw["id"], raw["status"], message, raw.get("name", ""))

    @property
    def succeeded(self) -> bool:
        return self.status == "SUCCESS"

    @property
    def harmless(self) -> bool:
        return self.succeeded or (self.status == "INFO" and self.id in LOGGED)


@dataclass(frozen=True)
class Scenario:
    """What a scenario found out.

    Attributes:
        name: The suite's name for it.
        checks: Its assertions, in order; empty if it broke off.
    """

    name: str
    checks: tuple[Check, ...]

    def problems(self) -> Iterator[str]:
        """Say what speaks against this scenario having passed."""
        for check in self.checks:
            if not check.harmless:
                yield f"{check.status} {check.id}: {check.message}"
        if not any(check.succeeded and check.id != WIRE_SCHEMA for check in self.checks):
            yield "it verified nothing"


@dataclass(frozen=True)
class Report:
    """What a run of the suite at one version found out.

    Attributes:
        version: The revision that it spoke, or the scenario that it was limited to.
        scenarios: The scenarios that ran, by name.
        exit_code: The exit code of the suite.
        output: What the suite printed.
    """

    version: str
    scenarios: dict[str, Scenario]
    exit_code: int
    output: str

    def problems(self, scenario: str) -> list[str]:
        """Say what speaks against this scenario having passed; nothing does if it has."""
        found = self.scenarios.get(scenario)
        if found is None:
            return [f"it did not run; the suite exited with {self.exit_code}:\n{self.output}"]
        return list(found.problems())

    def has_failed(self, *, besides: str) -> bool:
        """Tell whether the suite is not content with some other scenario."""
        others = (each for name, each in self.scenarios.items() if name != besides)
        return any(check.status == "FAILURE" for each in others for check in each.checks)

    def summary(self) -> str:
        """Count scenarios and checks, for people."""
        checks = [check for each in self.scenarios.values() for check in each.checks]
        passed = [name for name in self.scenarios if not self.problems(name)]
        return (
            f"{self.version}: {len(passed)} of {len(self.scenarios)} scenarios,"
            f" {sum(check.succeeded for check in checks)} checks succeeded"
        )


def run(
    url: str,
    version: str,
    *,
    installation: Installation,
    output: Path,
    prepare: Callable[[], object] = lambda: None,
) -> Report:
    """Run every scenario of a version against a server, one after the other.

    What is impatient, and fails, is run once more.

    Args:
        url: The endpoint, which must be on localhost.
        version: One of `VERSIONS`.
        installation: Where the suite is installed.
        output: An empty folder for what it writes.
        prepare: Called each time before the suite begins.
    """
    of_version = ("--spec-version", version)
    prepare()
    report = _run(url, version, ("--suite", "all", *of_version), installation, output)
    for name in IMPATIENT:
        if name in report.scenarios and report.problems(name):
            prepare()
            again = _run(url, version, ("--scenario", name, *of_version), installation, output)
            report = replace(
                report,
                scenarios={**report.scenarios, name: again.scenarios[name]},
                exit_code=max(again.exit_code, int(report.has_failed(besides=name))),
            )
    return report


def run_scenario(url: str, name: str, *, installation: Installation, output: Path) -> Report:
    """Run one scenario, which may be one of an extension: `run` leaves these out.

    Args:
        url: The endpoint, which must be on localhost.
        name: The scenario.
        installation: Where the suite is installed.
        output: An empty folder for what it writes.
    """
    return _run(url, name, ("--scenario", name), installation, output)


def _run(
    url: str, version: str, which: tuple[str, ...], installation: Installation, output: Path
) -> Report:
    arguments = ("server", "--url", url, *which)
    try:
        result = subprocess.run(
            installation.command("conformance", *arguments, "--output-dir", str(output)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=installation.environment(),
            timeout=RUN_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return Report(version, results_in(output), -1, f"timed out\n{said!r}")
    return Report(version, results_in(output), result.returncode, result.stdout)


def run_all(
    url: str,
    versions: Iterable[str] = VERSIONS,
    *,
    installation: Installation,
    output: Path,
    at_once: int = AT_ONCE,
    prepare: Callable[[], object] = lambda: None,
) -> dict[str, Report]:
    """Run the suite at several versions, some at a time, and return the reports by version."""
    folders = {version: output / version for version in versions}
    with ThreadPoolExecutor(at_once) as pool:
        reports = pool.map(
            lambda item: run(
                url, item[0], installation=installation, output=item[1], prepare=prepare
            ),
            folders.items(),
        )
        return {report.version: report for report in reports}


def results_in(output: Path) -> dict[str, Scenario]:
    """Read the results that the suite has left in its output folder."""
    scenarios = {}
    for folder in sorted(output.iterdir()) if output.exists() else ():
        match = RESULT_FOLDER.fullmatch(folder.name)
        if match is None:
            continue
        results = folder / "checks.json"
        # Without results, it has thrown: the suite then only prints why.
        raw = json.loads(results.read_text()) if results.exists() else []
        checks = tuple(Check.parse(each) for each in raw)
        scenarios[match["scenario"]] = Scenario(match["scenario"], checks)
    return scenarios
