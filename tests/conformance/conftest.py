"""What the suite is run with, and what it has said about the reference servers themselves."""

from __future__ import annotations

import pytest

from tests.support.npm import Installation, installed


@pytest.fixture(scope="session")
def npm() -> Installation:
    return installed()
