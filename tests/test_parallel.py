"""Tests that share what is costly to start are for the same process."""

from __future__ import annotations

import pytest

from tests.support.npm import CHECKOUT
from tests.support.parallel import LONGEST, group_of, turn_of

THROUGH = "tests/conformance/test_through_onemcp.py"


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/state/test_keys.py::test_a[x::y]", "tests/state/test_keys.py"),
        ("tests/interop/test_live.py::test_a", "tests/interop/"),
        ("tests/interop/test_like_direct.py::test_b[sdk1-ref]", "tests/interop/"),
        (f"{THROUGH}::test_a[2025-only-stdio-2026-07-28-ping]", f"{THROUGH} 2025-only-stdio"),
        (f"{THROUGH}::test_b[2025-only-stdio-2026-07-28]", f"{THROUGH} 2025-only-stdio"),
        (f"{THROUGH}::test_b[dual-http-2026-07-28]", f"{THROUGH} dual-http"),
    ],
)
def test_group_of_a_test(nodeid, group):
    assert group_of(nodeid) == group


def test_what_takes_longest_begins_first():
    short = "tests/state/test_keys.py::test_a"
    logins = "tests/conformance/test_logins.py::test_a"
    turns = sorted([short, "tests/soak/test_soak.py::test_gateway", logins], key=turn_of)
    assert turns == [logins, "tests/soak/test_soak.py::test_gateway", short]


@pytest.mark.parametrize("name", LONGEST)
def test_what_takes_longest_is_there(name):
    assert (CHECKOUT / name).exists()
