"""The benchmark of faults runs, and what it counts is right, whatever the machine is busy with.

What depends on the machine's speed is for `nox -s faults`.
"""

from __future__ import annotations

import pytest

from tests.faults import hostile, recovery, reloads, replicas
from tests.faults.__main__ import MEASURES, ONEMCP
from tests.faults.figures import Figure, not_applicable
from tests.faults.gateways import Kind
from tests.faults.page import write_page

SHARE = 0.002


@pytest.mark.parametrize(
    "measure",
    [
        recovery.under_random_kills,
        recovery.left_behind,
        reloads.under_load,
        replicas.under_kills,
        hostile.fuzzed,
    ],
)
async def test_nothing_is_lost_or_left(measure):
    figure = await measure(ONEMCP, SHARE)
    assert figure.is_met, figure


@pytest.mark.parametrize("name", ["replicas", "failover"])
async def test_what_another_gateway_has_not_got_is_not_applicable(name):
    found = await MEASURES[name](Kind("another"), SHARE)
    for figure in found if isinstance(found, list) else [found]:
        assert (figure.value, figure.is_met) == ("not applicable", None)


def test_the_page_tells_what_was_not_met(tmp_path):
    page = tmp_path / "page.md"
    figures = [
        Figure("a", "1", "0", is_met=False),
        Figure("b", "0", "0", is_met=True),
        not_applicable("c", "it has none"),
    ]
    write_page(page, figures, "this machine", 0.5)
    said = page.read_text(encoding="utf-8")
    assert "| a | 1 | 0 | **not met** |" in said
    assert "| b | 0 | 0 | ✓ |" in said
    assert "| c | not applicable |  |  | it has none |" in said
    assert "this machine; 50% of the full numbers" in said
