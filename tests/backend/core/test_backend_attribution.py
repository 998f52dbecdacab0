"""A message that says nothing of its owner reaches the one client it can belong to, or no one."""

from __future__ import annotations

from typing import Any

import pytest

from onemcp.backend import Call, Exchange
from onemcp.backend.attribution import INTERNAL, attribute
from tests.backend.core.fakes import EVERYTHING, caller

ANN = caller("ann", capabilities=EVERYTHING, log_level="info")
ANN_TOO = caller("ann", capabilities={}, log_level=None)
BOB = caller("bob", capabilities=EVERYTHING, log_level="error")
MUTE = caller("mute")
SELF = caller(INTERNAL, capabilities=EVERYTHING, log_level="debug")
ODD = caller("odd", capabilities={"sampling": True, "roots": None})
BROKEN = caller("broken", capabilities=[])

NOBODY = None


@pytest.mark.parametrize(
    ("in_flight", "asks", "expected"),
    [
        pytest.param([], {}, NOBODY, id="nothing in flight"),
        pytest.param([ANN], {}, 0, id="one call"),
        pytest.param([ANN, ANN], {}, 1, id="the youngest of one client"),
        pytest.param([ANN, BOB], {}, NOBODY, id="two clients"),
        pytest.param([ANN, BOB, ANN], {}, NOBODY, id="two clients, interleaved"),
        pytest.param([SELF], {}, NOBODY, id="onemcp alone"),
        pytest.param([SELF, ANN, SELF], {}, 1, id="onemcp doesn't count"),
        pytest.param([ANN], {"level": "info"}, 0, id="a level that is wanted"),
        pytest.param([ANN], {"level": "emergency"}, 0, id="a higher level"),
        pytest.param([ANN], {"level": "debug"}, NOBODY, id="a lower level"),
        pytest.param([MUTE], {"level": "emergency"}, NOBODY, id="no level is wanted"),
        pytest.param([ANN], {"level": "loud"}, NOBODY, id="no such level"),
        pytest.param([ANN, BOB], {"level": "error"}, NOBODY, id="wanted by two"),
    ],
)
def test_one_client_or_no_one(
    in_flight: list[Any], asks: dict[str, str], expected: int | None
) -> None:
    exchanges = [
        Exchange(number, Call("tools/call", {}, who), None)  # type: ignore[arg-type]
        for number, who in enumerate(in_flight)
    ]
    found = attribute(exchanges, **asks)
    assert found is (None if expected is None else exchanges[expected])
