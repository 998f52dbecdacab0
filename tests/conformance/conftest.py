"""Servers to run the conformance suite against, and its reports about them."""

from __future__ import annotations

import sys

import pytest

from tests.support.npm import CHECKOUT, Installation, installed

REFERENCE = CHECKOUT / "tests" / "reference" / "everything.py"


@pytest.fixture(scope="session")
def npm() -> Installation:
    return installed()


@pytest.fixture(scope="session")
def reference_command() -> list[str]:
    """The command line of the reference server, without its transport."""
    return [sys.executable, str(REFERENCE)]
