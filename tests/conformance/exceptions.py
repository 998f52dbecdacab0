"""The scenarios that can't pass through onemcp, each with its reason: `exceptions.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance.scenarios import SCENARIOS
from tests.support.references import REFERENCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE = Path(__file__).with_name("exceptions.toml")
TRANSPORTS = ("stdio", "http")


@dataclass(frozen=True)
class Where:
    """One scenario of one run.

    Attributes:
        reference: The name of the reference server behind onemcp.
        transport: How onemcp talks to it.
        version: The revision that the suite speaks.
        scenario: The suite's name for the scenario.
    """

    reference: str
    transport: str
    version: str
    scenario: str


def everywhere() -> set[Where]:
    """Return every scenario of every run."""
    return {
        Where(reference.name, transport, version, scenario)
        for reference in REFERENCES
        for transport in TRANSPORTS
        for version, scenarios in SCENARIOS.items()
        for scenario in scenarios
    }


def load(path: Path = FILE) -> dict[Where, str]:
    """Read the exceptions.

    Returns:
        The reasons, by what is excepted.

    Raises:
        ValueError: One is about nothing that runs, or is made twice, or has no reason.
    """
    known = everywhere()
    reasons: dict[Where, str] = {}
    for table in tomllib.loads(path.read_text(encoding="utf-8")).get("exception", ()):
        reason = str(table["reason"]).strip()
        for where in _spread(table):
            if where not in known or where in reasons or not reason:
                raise ValueError(f"no run, not the first, or without a reason: {where}")
            reasons[where] = reason
    return reasons


def _spread(table: dict[str, Any]) -> Iterator[Where]:
    """Name all that one table of the file is about; without transports, it is about each."""
    transports: Iterable[str] = table.get("transports", TRANSPORTS)
    for transport in transports:
        for version in table["versions"]:
            for scenario in table["scenarios"]:
                yield Where(table["reference"], transport, version, scenario)
